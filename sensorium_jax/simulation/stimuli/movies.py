"""Natural-like movies: textures that move and occlude, a moving camera, scene cuts."""

import numpy as np

from sensorium_jax.simulation.draws import wander
from sensorium_jax.simulation.stimuli.textures import slide

MARGIN = 32  # room around the frame in which occluders may lie
SHORTEST, MEAN = 20, 90  # frames of a scene
CAMERA_SPEEDS = (0.15, 0.5, 1.0)  # SD in pixels per frame


def movie(
    rng: np.random.Generator,
    pool: np.ndarray,
    frames: int,
    height: int = 36,
    width: int = 64,
) -> tuple[np.ndarray, dict]:
    """One movie [T, H, W] uint8 and the frames at which its scenes begin."""
    cuts, at = [], 0
    while at < frames:
        cuts.append(at)
        at += max(SHORTEST, round(rng.exponential(MEAN)))
    # A scene cut short at the end joins the one before.
    if len(cuts) > 1 and frames - cuts[-1] < SHORTEST:
        cuts.pop()
    lengths = np.diff([*cuts, frames])
    scenes = [_scene(rng, pool, int(n), height, width) for n in lengths]
    video = np.concatenate(scenes)
    return np.clip(np.rint(video), 0, 255).astype(np.uint8), {"cuts": cuts}


def _scene(rng, pool, frames, height, width):
    speed = rng.choice(CAMERA_SPEEDS)
    camera = np.cumsum(speed * wander(rng, frames, 20.0, 2), axis=0)
    start = rng.uniform(0, pool.shape[1], 2)
    y_t, x_t = (start + camera).T
    background = slide(pool[rng.integers(len(pool))], y_t, x_t, height, width)
    mean, contrast = rng.uniform(40, 120), rng.uniform(20, 50)
    canvas = np.zeros(
        (frames, height + 2 * MARGIN, width + 2 * MARGIN), dtype=np.float32
    )
    inner = canvas[:, MARGIN : MARGIN + height, MARGIN : MARGIN + width]
    inner[...] = mean + contrast * background
    for _ in range(rng.integers(1, 6)):
        _occlude(rng, pool, canvas, camera)
    return inner


def _occlude(rng, pool, canvas, camera):
    """Draw one elliptical object over the canvas, following the camera in part."""
    frames, height, width = canvas.shape
    radii = rng.uniform(3, 13, 2)
    velocity = rng.normal(0, 0.35, 2)
    inside = np.array([height, width]) - 2 * MARGIN
    path = rng.uniform(0, inside) + np.arange(frames)[:, None] * velocity
    path = path - rng.uniform(0.8, 1.3) * camera + 0.5 * wander(rng, frames, 30.0, 2)
    # An object that has left comes back on the other side.
    path = (path + radii) % (inside + 2 * radii) - radii
    half = np.ceil(radii).astype(int) + 1
    corner = np.floor(path).astype(int) - half
    rows = corner[:, :1] + np.arange(2 * half[0] + 2)
    columns = corner[:, 1:] + np.arange(2 * half[1] + 2)
    away = np.sqrt(
        (((rows - path[:, :1]) / radii[0]) ** 2)[:, :, None]
        + (((columns - path[:, 1:]) / radii[1]) ** 2)[:, None, :]
    )
    alpha = np.clip((1 - away) * radii.min() + 0.5, 0, 1).astype(np.float32)
    surface = slide(
        pool[rng.integers(len(pool))],
        np.full(frames, rng.uniform(0, pool.shape[1])) + 0.1 * path[:, 0],
        np.full(frames, rng.uniform(0, pool.shape[2])) + 0.1 * path[:, 1],
        rows.shape[1],
        columns.shape[1],
    )
    colour = rng.uniform(5, 210) + rng.uniform(8, 35) * surface
    index = (
        np.arange(frames)[:, None, None] * (height * width)
        + (rows + MARGIN)[:, :, None] * width
        + (columns + MARGIN)[:, None, :]
    )
    flat = canvas.reshape(-1)
    under = flat.take(index)
    flat[index] = under + alpha * (colour - under)
