"""What becomes of rates on the way to the disk: counts, fluorescence, events."""

import numpy as np

from sensorium_jax.simulation.draws import wander


def shared_gain(rng, frames: int, scatter: float, memory: float) -> np.ndarray:
    """A gain [T, 1] of mean 1 that all cells of a trial share."""
    return np.exp(scatter * wander(rng, frames, memory) - scatter**2 / 2)


def counts(rng, rates_tn: np.ndarray, scatter: float = 0.0) -> np.ndarray:
    """Spike counts [T, N], Poisson under a shared gain."""
    gain = shared_gain(rng, len(rates_tn), scatter, 40.0) if scatter else 1.0
    return rng.poisson(rates_tn * gain).astype(np.float32)


def decaying(rates_tn: np.ndarray, rise: float, decay: float) -> np.ndarray:
    """Events seen through an indicator that rises and decays, in frames; [T, N]."""
    fast = np.exp(-1 / rise) if rise > 0 else 0.0
    keep, up = np.exp(-1 / decay), np.zeros(rates_tn.shape[1])
    level, out = np.zeros(rates_tn.shape[1]), np.empty_like(rates_tn)
    for t, now in enumerate(rates_tn):
        up = fast * up + (1 - fast) * now
        level = keep * level + up
        out[t] = level
    return out


def smeared(rates_tn: np.ndarray, over: int) -> np.ndarray:
    """Events spread over the next frames evenly, as a deconvolution leaves them."""
    out = np.zeros_like(rates_tn)
    for lag in range(over):
        out[lag:] += rates_tn[: len(rates_tn) - lag] / over
    return out


def events(rng, rates_tn: np.ndarray, shape: float) -> np.ndarray:
    """Counts whose sizes vary: gamma of mean 1, `shape` of each."""
    n = rng.poisson(rates_tn)
    out = np.zeros(n.shape)
    out[n > 0] = rng.standard_gamma(shape * n[n > 0]) / shape
    return out
