"""How alike two representations of the same stimuli are, whatever their neurons.

Two measures: linear centered kernel alignment (Kornblith et al. 2019) with the unbiased
estimate of Song et al. 2012, since few stimuli make any two alike; and the rank
correlation of matrices of dissimilarity (Kriegeskorte et al. 2008).
"""

from collections.abc import Sequence

import numpy as np

from sensorium_jax.errors import UserError


def alignment(x_sd: np.ndarray, y_sd: np.ndarray) -> float:
    """Linear CKA of two representations of S stimuli; 1 for a rotation, 0 by chance."""
    _same(x_sd, y_sd)
    k, m = _kernel(x_sd), _kernel(y_sd)
    size = _dependence(k, k) * _dependence(m, m)
    return float(_dependence(k, m) / np.sqrt(size)) if size > 0 else float("nan")


def dissimilarity(x_sd: np.ndarray) -> np.ndarray:
    """1 less the correlation of the patterns of two stimuli, [S, S].

    Every neuron's mean over the stimuli is taken away before, else all are alike.
    """
    x = np.asarray(x_sd, np.float64)
    x = x - x.mean(0)
    x = x - x.mean(1, keepdims=True)
    size = np.sqrt((x**2).sum(1, keepdims=True))
    x = x / np.where(size > 0, size, 1)
    return 1 - x @ x.T


def rank_correlation(a_ss: np.ndarray, b_ss: np.ndarray) -> float:
    """Spearman's, of what two matrices of dissimilarity say of pairs of stimuli."""
    pairs = np.tril_indices(len(a_ss), -1)
    a, b = (_ranks(m[pairs]) for m in (a_ss, b_ss))
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / size) if size > 0 else float("nan")


def every_pair(
    several: Sequence[np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Alignments and rank correlations [R, R] of all pairs, and the matrices [R, S, S].

    1 on the diagonals.
    """
    matrices = np.stack([dissimilarity(x) for x in several])
    cka, rsa = np.eye(len(several)), np.eye(len(several))
    for i, x in enumerate(several):
        for j in range(i):
            cka[i, j] = cka[j, i] = alignment(x, several[j])
            rsa[i, j] = rsa[j, i] = rank_correlation(matrices[i], matrices[j])
    return cka, rsa, matrices


def _kernel(x_sd: np.ndarray) -> np.ndarray:
    """Inner products of stimuli, nothing on the diagonal."""
    x = np.asarray(x_sd, np.float64)
    x = x - x.mean(0)
    k = x @ x.T
    np.fill_diagonal(k, 0)
    return k


def _dependence(k: np.ndarray, m: np.ndarray) -> float:
    """The unbiased Hilbert-Schmidt criterion, but for a factor of S alone."""
    s = len(k)
    crossed = k.sum() * m.sum() / ((s - 1) * (s - 2))
    rows = 2 * (k.sum(0) @ m.sum(0)) / (s - 2)
    return float((k * m).sum() + crossed - rows)


def _ranks(x: np.ndarray) -> np.ndarray:
    """Ranks, equal ones at their mean."""
    _, place, count = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[place]


def _same(x_sd: np.ndarray, y_sd: np.ndarray) -> None:
    if len(x_sd) != len(y_sd) or len(x_sd) < 4:
        raise UserError(
            f"Two representations of {len(x_sd)} and {len(y_sd)} stimuli are to be "
            "compared. Show both the same ones, at least 4."
        )
