"""Confusion matrices: what the stimulus of each cluster does to each cluster."""

import numpy as np

from sensorium_jax.errors import unknown

LEAST = 1e-8  # smallest divisor
DIVISORS = {
    "none": lambda m: np.ones((1, 1)),
    "row": lambda m: m.max(1, keepdims=True),
    "column": lambda m: m.max(0, keepdims=True),
    "row_diagonal": lambda m: np.diagonal(m)[:, None],
    "column_diagonal": lambda m: np.diagonal(m)[None],
    "row_l1": lambda m: np.abs(m).sum(1, keepdims=True),
    "column_l1": lambda m: np.abs(m).sum(0, keepdims=True),
}
USUAL = "column_diagonal"


def confusion(rates_kn: np.ndarray, labels_n: np.ndarray) -> np.ndarray:
    """Mean normalized rates [stimulus, cluster]."""
    clusters = range(len(rates_kn))
    return np.stack([rates_kn[:, labels_n == k].mean(1) for k in clusters], axis=1)


def normalized(matrix_kk: np.ndarray, by: str = USUAL) -> np.ndarray:
    """The matrix divided by the largest, the diagonal or the sum of rows or columns."""
    if by not in DIVISORS:
        raise unknown("normalization", by, DIVISORS)
    return matrix_kk / np.maximum(DIVISORS[by](matrix_kk), LEAST)


def order(matrix_kk: np.ndarray) -> np.ndarray:
    """An order in which clusters that are driven alike are neighbours, [K].

    Leaves of average linkage over the correlation distance of columns.
    """
    k = matrix_kk.shape[1]
    x = matrix_kk.T - matrix_kk.T.mean(1, keepdims=True)
    size = np.linalg.norm(x, axis=1, keepdims=True)
    x = x / np.where(size > 0, size, 1)
    apart = np.full((2 * k, 2 * k), np.inf)
    apart[:k, :k] = 1 - x @ x.T
    np.fill_diagonal(apart, np.inf)
    leaves: dict[int, list[int]] = {i: [i] for i in range(k)}
    for new in range(k, 2 * k - 1):
        live = sorted(leaves)
        near = apart[np.ix_(live, live)]
        i, j = sorted(live[a] for a in np.unravel_index(near.argmin(), near.shape))
        a, b = len(leaves[i]), len(leaves[j])
        apart[new, :new] = (a * apart[i, :new] + b * apart[j, :new]) / (a + b)
        apart[:new, new] = apart[new, :new]
        apart[new, new] = np.inf
        leaves[new] = leaves.pop(i) + leaves.pop(j)
    return np.array(leaves[max(leaves)]) if k else np.zeros(0, int)
