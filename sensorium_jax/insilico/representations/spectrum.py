"""How variance over stimuli falls with dimension, and its power law.

Stringer, Pachitariu et al. 2019: eigenvalues of principal components fall as a power of
their rank; noise of single trials is left out by asking a second repeat how much of
each component it shares (cross-validated PCA).
"""

from typing import NamedTuple

import numpy as np


class Spectrum(NamedTuple):
    """Eigenvalues, the largest first, and the exponent of their fall."""

    values: np.ndarray
    exponent: float  # NaN where too few are above zero
    dimensions: float  # (sum)^2 / sum of squares: how many share the variance
    ranks: tuple[int, int]  # from, to: where the exponent was fitted


def spectrum(x_sd: np.ndarray, again_sd: np.ndarray | None = None) -> Spectrum:
    """Of responses to S stimuli; again: of a second repeat, with noise of its own."""
    a = np.asarray(x_sd, np.float64)
    a = a - a.mean(0)
    _, size, axes = np.linalg.svd(a, full_matrices=False)
    rank = min(len(a) - 1, a.shape[1])
    if again_sd is None:
        values = size[:rank] ** 2 / len(a)
    else:
        b = np.asarray(again_sd, np.float64)
        b = b - b.mean(0)
        values = ((a @ axes.T) * (b @ axes.T)).mean(0)[:rank]
    known = np.maximum(values, 0)
    total = known.sum() ** 2 / max((known**2).sum(), 1e-300)
    ranks = fitted_ranks(rank)
    return Spectrum(values, exponent(values, ranks), float(total), ranks)


def fitted_ranks(count: int) -> tuple[int, int]:
    """Ranks 11 to 500 where there are so many, else the middle of what is there."""
    return max(2, min(11, count // 10)), max(min(500, count // 2), 3)


def exponent(values: np.ndarray, ranks: tuple[int, int]) -> float:
    """Minus the slope of log values over log ranks, each rank weighed by 1 / rank."""
    at = np.arange(ranks[0], min(ranks[1], len(values)) + 1)
    y = values[at - 1]
    at, y = at[y > 0], y[y > 0]
    if len(at) < 3:
        return float("nan")
    u, v, weight = np.log(at), np.log(y), 1 / at
    u = u - np.average(u, weights=weight)
    slope = (weight * u * v).sum() / (weight * u * u).sum()
    return float(-slope)
