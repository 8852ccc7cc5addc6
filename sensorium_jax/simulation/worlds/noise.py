"""Stimuli without objects: checkers, clouds in space and time, gratings, squares."""

import numpy as np

GREY = 127.0


def to_bytes(video: np.ndarray) -> np.ndarray:
    """Grey levels of a screen, [...] uint8."""
    return np.clip(np.rint(video), 0, 255).astype(np.uint8)


def checkers(
    rng, frames: int, height: int, width: int, *, hold: int = 1, side: int = 1
):
    """Black and white checkers [T, H, W], drawn anew every `hold` frames."""
    shape = (-(-frames // hold), -(-height // side), -(-width // side))
    fields = rng.integers(0, 2, shape).astype(np.uint8)
    video = fields.repeat(hold, 0).repeat(side, 1).repeat(side, 2)
    return (30 + 195 * video[:frames, :height, :width]).astype(np.uint8)


def clouds(rng, frames: int, height: int, width: int, *, scale: float, slowness: float):
    """Gaussian clouds [T, H, W]: `scale` pixels wide, changing over `slowness` frames.

    Their contrast changes too, slowly, as a scene's does.
    """
    y, x = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    smooth = np.exp(-2 * (np.pi * scale) ** 2 * (y**2 + x**2))
    keep = np.exp(-1 / slowness)
    state = np.fft.rfft2(rng.standard_normal((height, width)))
    level, video = rng.standard_normal(), np.empty((frames, height, width))
    for t in range(frames):
        fresh = np.fft.rfft2(rng.standard_normal((height, width)))
        state = keep * state + np.sqrt(1 - keep**2) * fresh
        level = 0.985 * level + np.sqrt(1 - 0.985**2) * rng.standard_normal()
        field = np.fft.irfft2(state * smooth, (height, width))
        video[t] = field * np.exp(0.4 * level)
    return to_bytes(GREY + 42 * video / video.std())


def squares(rng, frames: int, height: int, width: int, *, count: int, hold: int):
    """A few black and white squares on grey, placed anew every `hold` frames."""
    video = np.full((frames, height, width), GREY)
    for start in range(0, frames, hold):
        for _ in range(count):
            side = int(rng.integers(2, max(3, min(height, width) // 3)))
            top = int(rng.integers(1 - side, height))
            left = int(rng.integers(1 - side, width))
            rows = slice(max(top, 0), max(top + side, 0))
            columns = slice(max(left, 0), max(left + side, 0))
            video[start : start + hold, rows, columns] = rng.choice([10.0, 245.0])
    return to_bytes(video)


def gratings(rng, frames: int, height: int, width: int, *, hold: int):
    """Gratings over the whole frame that drift, or flicker, for `hold` frames each."""
    y, x = np.mgrid[:height, :width].astype(float)
    video = np.empty((frames, height, width))
    for start in range(0, frames, hold):
        angle, cycles = rng.uniform(0, 2 * np.pi), rng.uniform(1, 5)
        speed, contrast = rng.uniform(-0.15, 0.15), rng.uniform(0.1, 1.0)
        across = (np.cos(angle) * x + np.sin(angle) * y) * cycles / max(height, width)
        t = np.arange(min(hold, frames - start))[:, None, None]
        wave = np.sin(2 * np.pi * (across[None] - speed * t + rng.random()))
        video[start : start + hold] = GREY * (1 + contrast * wave)
    return to_bytes(video)
