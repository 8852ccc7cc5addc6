"""Dead leaves: discs that hide each other, as objects do, and the eye's way over them.

Sizes follow a power law, which gives the edges and the spectrum of natural scenes (Lee,
Mumford & Huang 2001). Nothing is shared with the simulated cortex's textures.
"""

from functools import cache

import numpy as np

from sensorium_jax.simulation.draws import generator, wander
from sensorium_jax.simulation.stimuli.textures import slide
from sensorium_jax.simulation.worlds.noise import to_bytes

SCENES = 6  # that films of one seed wander over
BARE = 0.02  # share of a scene that may stay grey
TOGETHER = 256  # leaves drawn at a time


def scene(rng: np.random.Generator, height: int, width: int, smallest: float = 1.0):
    """One picture [H, W] of grey levels 0..1; `smallest` is the least radius."""
    image = np.full((height, width), 0.5, np.float32)
    # From front to back: a pixel keeps the first leaf that covers it.
    left = np.ones((height, width), bool)
    while left.mean() > BARE:
        for leaf in _leaves(rng, height, width, smallest):
            _lay(image, left, *leaf)
    return np.clip(image, 0, 1)


def _leaves(rng: np.random.Generator, height: int, width: int, smallest: float):
    """Some leaves: center, radius, squash, angle, grey level and slope of each."""
    largest = max(height, width) / 3
    # A density r^-3 between the smallest and the largest radius, inverted.
    share = rng.random(TOGETHER) * (1 - (smallest / largest) ** 2)
    radius = smallest / np.sqrt(1 - share)
    at = rng.uniform(size=(2, TOGETHER)) * (np.array([[height], [width]]) + 2 * radius)
    return zip(
        *(at - radius),
        radius,
        rng.uniform(0.5, 1.0, TOGETHER),
        rng.uniform(0, np.pi, TOGETHER),
        rng.beta(1.3, 1.7, TOGETHER),
        rng.normal(0, 0.25, TOGETHER),
        strict=True,
    )


def _lay(image, left, cy, cx, radius, squash, angle, grey, slope) -> None:
    """Put one leaf behind those that lie there already."""
    rows = slice(max(0, int(cy - radius)), max(0, int(cy + radius) + 2))
    columns = slice(max(0, int(cx - radius)), max(0, int(cx + radius) + 2))
    free = left[rows, columns]
    if not free.any():
        return
    height, width = free.shape
    y = (np.arange(rows.start, rows.start + height) - cy)[:, None] / radius
    x = (np.arange(columns.start, columns.start + width) - cx)[None] / radius
    along = np.cos(angle) * x + np.sin(angle) * y
    across = (np.cos(angle) * y - np.sin(angle) * x) / squash
    inside = free & (along**2 + across**2 < 1)
    image[rows, columns][inside] = (grey + slope * along)[inside]
    free[inside] = False


@cache
def scenes(seed: int, height: int, width: int, smallest: float) -> np.ndarray:
    """The scenes of a seed, [SCENES, H, W]."""
    return np.stack(
        [
            scene(generator(seed, "leaves", i), height, width, smallest)
            for i in range(SCENES)
        ]
    ).astype(np.float32)


def film(
    rng: np.random.Generator,
    scenes: np.ndarray,
    frames: int,
    height: int,
    width: int,
    *,
    jump: float,
    drift: float,
):
    """The eye over scenes, [T, H, W] uint8: a saccade every `jump` frames, then drift.

    drift is the SD of its speed in pixels per frame.
    """
    cuts = np.flatnonzero(rng.random(frames) < 1 / jump)
    starts = [0, *(int(c) for c in cuts if c > 2)]
    video = np.empty((frames, height, width), np.float32)
    for start, stop in zip(starts, [*starts[1:], frames], strict=True):
        way = np.cumsum(drift * wander(rng, stop - start, 12.0, 2), axis=0)
        y, x = (rng.uniform(0, scenes.shape[1], 2) + way).T
        seen = slide(scenes[rng.integers(len(scenes))], y, x, height, width)
        video[start:stop] = seen * rng.uniform(0.6, 1.0)
    return to_bytes(255 * video)


def picture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """One still picture [H, W] uint8, its contrast spread out."""
    image = scene(rng, height, width)
    image = (image - image.mean()) / max(image.std(), 1e-6)
    return to_bytes(rng.uniform(90, 150) + rng.uniform(30, 60) * image)
