"""Textures with the power spectrum of natural scenes, and windows sliding over them."""

import numpy as np

SIDE, COUNT = 192, 48


def spectrum(height: int, width: int, exponent: float) -> np.ndarray:
    """Amplitude 1/f^exponent of a wrapped field [height, width // 2 + 1], no mean."""
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    radius = np.hypot(fy, fx)
    radius[0, 0] = np.inf
    return radius**-exponent


def colored(rng: np.random.Generator, height: int, width: int, amplitude) -> np.ndarray:
    """Gaussian noise [height, width] of the given amplitude spectrum, SD 1."""
    noise = np.fft.rfft2(rng.standard_normal((height, width)))
    field = np.fft.irfft2(noise * amplitude, (height, width))
    return field / field.std()


def texture(rng: np.random.Generator, height: int = SIDE, width: int = SIDE):
    """One wrapped texture, mean 0 and SD 1, with 1/f amplitude and heavy tails."""
    amplitude = spectrum(height, width, rng.uniform(0.9, 1.3))
    field = colored(rng, height, width, amplitude)
    field = np.sign(field) * np.abs(field) ** 1.2
    return ((field - field.mean()) / field.std()).astype(np.float32)


def pool(rng: np.random.Generator, count: int = COUNT) -> np.ndarray:
    """The textures movies are made of, [count, SIDE, SIDE]."""
    return np.stack([texture(rng) for _ in range(count)])


def slide(field: np.ndarray, y_t: np.ndarray, x_t: np.ndarray, height: int, width: int):
    """Windows [T, height, width] into a wrapped field, corners at fractional (y, x)."""
    y0, x0 = np.floor(y_t).astype(np.int64), np.floor(x_t).astype(np.int64)
    rows = (y0[:, None] + np.arange(height + 1)) % field.shape[0]
    columns = (x0[:, None] + np.arange(width + 1)) % field.shape[1]
    index = rows[:, :, None] * field.shape[1] + columns[:, None, :]
    patch = field.ravel().take(index)
    fy = (y_t - y0).astype(np.float32)[:, None, None]
    fx = (x_t - x0).astype(np.float32)[:, None, None]
    patch = patch[:, :-1] + fy * (patch[:, 1:] - patch[:, :-1])
    return patch[:, :, :-1] + fx * (patch[:, :, 1:] - patch[:, :, :-1])
