"""How like two films are, where a population looks."""

from typing import NamedTuple

import numpy as np


class Likeness(NamedTuple):
    """Correlations of two films over the pixels of a mask; NaN where nothing varies."""

    all: float  # over all pixels and frames together (the one that is published)
    frame: float  # over pixels, mean over frames
    time: float  # over frames, mean over pixels; NaN for pictures


def likeness(a_thwc: np.ndarray, b_thwc: np.ndarray, mask_hw: np.ndarray) -> Likeness:
    """Compare two films; the mask is bool."""
    a, b = (
        np.asarray(x, np.float64)[:, mask_hw].reshape(len(x), -1)
        for x in (a_thwc, b_thwc)
    )
    each = (None, 1, 0)
    values = [_mean(correlation(a, b, axis)) for axis in each]
    return Likeness(*values)


def correlation(a: np.ndarray, b: np.ndarray, axis: int | None) -> np.ndarray:
    """Correlation along an axis, or of everything; NaN where one is constant."""
    a, b = (x - x.mean(axis, keepdims=True) for x in (a, b))
    size = np.sqrt((a**2).sum(axis) * (b**2).sum(axis))
    both = np.asarray((a * b).sum(axis))
    out = np.full(both.shape, np.nan)
    return np.divide(both, size, where=size > 1e-12, out=out)


def _mean(x: np.ndarray) -> float:
    known = x[np.isfinite(x)]
    return float(known.mean()) if known.size else float("nan")
