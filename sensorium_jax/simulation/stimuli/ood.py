"""The five out-of-domain stimuli of the 2023 release, parameters drawn per clip."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sensorium_jax.simulation.draws import FPS
from sensorium_jax.simulation.stimuli.pictures import picture, shrink
from sensorium_jax.simulation.stimuli.textures import colored, slide, spectrum

GREY = 127.0
DIRECTIONS = (
    np.arange(8) * np.pi / 4
)  # radians, rightwards and then clockwise on screen


def _blocks(rng, frames: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Direction of each frame, all eight in random order, and the block of each."""
    count = -(-frames // length)
    rounds = -(-count // len(DIRECTIONS))
    order = np.concatenate([rng.permutation(DIRECTIONS) for _ in range(rounds)])
    block = np.arange(frames) // length
    return order[block], block


def _bytes(video: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(video), 0, 255).astype(np.uint8)


def gabors(rng: np.random.Generator, frames: int, height: int, width: int):
    """A drifting Gabor patch whose direction changes every 25 frames."""
    direction, block = _blocks(rng, frames, 25)
    wavelength = rng.uniform(7, 20)
    sigma = rng.uniform(7, 14)
    hertz = rng.choice([1.0, 2.0, 4.0], block[-1] + 1)[block]
    contrast = rng.uniform(0.5, 1.0)
    center = np.array([height, width]) / 2 + rng.uniform(-1, 1, 2) * [5, 12]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    y, x = y - center[0], x - center[1]
    envelope = np.exp(-(y**2 + x**2) / (2 * sigma**2))
    across = (
        np.cos(direction)[:, None, None] * x + np.sin(direction)[:, None, None] * y
    ) / wavelength
    phase = (
        2 * np.pi * (across - (hertz * (np.arange(frames) % 25) / FPS)[:, None, None])
    )
    video = GREY * (1 + contrast * envelope * np.cos(phase))
    facts = {"wavelength": wavelength, "sigma": sigma, "contrast": contrast}
    return _bytes(video), facts | {
        "directions": np.degrees(direction[::25]).round().tolist(),
        "hertz": hertz[::25].tolist(),
    }


def pink_noise(rng: np.random.Generator, frames: int, height: int, width: int):
    """Oriented 1/f noise that drifts across its stripes; a new field every block."""
    length = int(rng.choice([25, 30, 50]))
    direction, block = _blocks(rng, frames, length)
    speed, contrast = rng.uniform(0.4, 1.5), rng.uniform(25, 50)
    spread = rng.uniform(8, 25)
    side = 128
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :]
    angle = np.arctan2(fy, fx)
    videos = []
    for number in range(block[-1] + 1):
        toward = direction[block == number]
        tuned = np.exp(spread / 2 * (np.cos(2 * (angle - toward[0])) - 1))
        field = colored(rng, side, side, spectrum(side, side, 1.0) * tuned)
        steps = -speed * np.arange(len(toward))
        y, x = steps * np.sin(toward[0]), steps * np.cos(toward[0])
        videos.append(slide(field.astype(np.float32), y, x, height, width))
    video = GREY + contrast * np.concatenate(videos)
    facts = {"speed": speed, "contrast": contrast, "concentration": spread}
    directions = np.degrees(direction[::length]).round().tolist()
    return _bytes(video), facts | {"block": length, "directions": directions}


def _gaussians(shape, y, x, shade, sigma):
    """A sum of Gaussian dots [H, W] at the given centers."""
    gy = np.exp(-((np.arange(shape[0])[:, None] - y) ** 2) / (2 * sigma**2))
    gx = np.exp(-((np.arange(shape[1])[:, None] - x) ** 2) / (2 * sigma**2))
    return (gy * shade) @ gx.T


def _discs(shape, y_td, x_td, shade, radius):
    """Discs of soft edge [T, H, W] at the given centers; overlapping ones add up."""
    height, width = shape
    reach = int(np.ceil(radius)) + 1
    offset = np.arange(-reach, reach + 1)
    rows = np.floor(y_td).astype(int)[..., None] + offset
    columns = np.floor(x_td).astype(int)[..., None] + offset
    away = np.sqrt(
        ((rows - y_td[..., None]) ** 2)[..., :, None]
        + ((columns - x_td[..., None]) ** 2)[..., None, :]
    )
    weight = np.clip(radius - away + 0.5, 0, 1) * shade[None, :, None, None]
    inside = ((rows >= 0) & (rows < height))[..., :, None]
    inside = inside & ((columns >= 0) & (columns < width))[..., None, :]
    frame = np.arange(len(y_td))[:, None, None, None] * height
    index = (frame + rows[..., :, None]) * width + columns[..., None, :]
    size = len(y_td) * height * width
    video = np.bincount(index[inside], weights=weight[inside], minlength=size)
    return video.reshape(-1, height, width)


def random_dots(rng: np.random.Generator, frames: int, height: int, width: int):
    """A random-dot kinematogram: some dots move together, the rest at random."""
    direction, _ = _blocks(rng, frames, 50)
    count, radius = int(rng.integers(40, 81)), rng.uniform(0.9, 1.8)
    coherence = float(rng.choice([0.5, 1.0]))
    speed, contrast = rng.uniform(0.7, 1.4), rng.uniform(60, 120)
    box = np.array([height, width]) + 4
    position = rng.uniform(0, box, (count, 2))
    shade = contrast * rng.choice([-1.0, 1.0], count)
    path = np.empty((frames, count, 2))
    for t in range(frames):
        follows = rng.random(count) < coherence
        heading = np.where(follows, direction[t], rng.uniform(0, 2 * np.pi, count))
        position += speed * np.stack([np.sin(heading), np.cos(heading)], 1)
        reborn = rng.random(count) < 1 / 60
        position[reborn] = rng.uniform(0, box, (int(reborn.sum()), 2))
        path[t] = position % box - 2
    video = GREY + _discs((height, width), path[..., 0], path[..., 1], shade, radius)
    facts = {"dots": count, "coherence": coherence, "speed": speed, "radius": radius}
    directions = np.degrees(direction[::50]).round().tolist()
    return _bytes(video), facts | {"contrast": contrast, "directions": directions}


def gaussian_dots(rng: np.random.Generator, frames: int, height: int, width: int):
    """A few black and white Gaussian dots, placed anew every 8 frames."""
    count, sigma = int(rng.integers(1, 6)), rng.uniform(1.8, 4.0)
    contrast = rng.uniform(70, 127)
    video = np.empty((frames, height, width), np.float32)
    for start in range(0, frames, 8):
        y, x = rng.uniform(0, [height, width], (count, 2)).T
        shade = contrast * rng.choice([-1.0, 1.0], count)
        dots = _gaussians((height, width), y, x, shade, sigma)
        video[start : start + 8] = GREY + dots
    return _bytes(video), {"dots": count, "sigma": sigma, "contrast": contrast}


def natural_images(rng: np.random.Generator, frames: int, height: int, width: int):
    """Flashed pictures, 15 frames each with 15 frames of grey between them."""
    video = np.full((frames, height, width), rng.uniform(100, 135), np.float32)
    for start in range(0, frames, 30):
        image = shrink(picture(rng, 4 * height, 4 * width), 4)
        video[start + 15 : start + 30] = image
    return _bytes(video), {"pictures": -(-(frames - 15) // 30), "on": 15, "off": 15}


def heading(kind: str, facts: Mapping[str, Any], frames: int) -> np.ndarray | None:
    """Degrees that a clip drifts to in every frame, from what its maker said of it.

    None where nothing drifts one way.
    """
    length = {"drifting_gabor": 25, "random_dots": 50}.get(kind, facts.get("block"))
    if length is None or "directions" not in facts:
        return None
    each = np.repeat(np.asarray(facts["directions"], float), int(length))
    return each[:frames] if len(each) >= frames else None
