"""Random draws keyed by what they are for, so any part can be made alone and again."""

import zlib

import numpy as np

FPS = 30  # frames per second of every stimulus and trace


def generator(seed: int, *use: int | str) -> np.random.Generator:
    """A generator that depends on the seed and the named use alone."""
    words = [zlib.crc32(u.encode()) if isinstance(u, str) else int(u) for u in use]
    return np.random.default_rng([int(seed), *words])


def wander(
    rng: np.random.Generator, frames: int, tau: float, channels: int = 1
) -> np.ndarray:
    """Stationary Ornstein-Uhlenbeck walks [frames, channels], SD 1, tau in frames."""
    keep = np.exp(-1 / tau)
    kicks = rng.standard_normal((frames, channels))
    kicks[1:] *= np.sqrt(1 - keep**2)
    for t in range(1, frames):
        kicks[t] += keep * kicks[t - 1]
    return kicks
