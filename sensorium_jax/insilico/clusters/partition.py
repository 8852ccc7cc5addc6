"""Partitions of neurons: random ones, moves to the best cluster, how alike two are."""

import numpy as np


def random_groups(rng: np.random.Generator, neurons: int, clusters: int) -> np.ndarray:
    """Labels [N] of random clusters of equal size, as far as that goes."""
    order = rng.permutation(neurons)
    labels_n = np.empty(neurons, int)
    labels_n[order] = np.arange(neurons) * clusters // neurons
    return labels_n


def reassigned(rates_kn: np.ndarray) -> np.ndarray:
    """Each neuron's cluster: whose stimulus drives it most; of equals the first."""
    return np.asarray(rates_kn).argmax(0)


def used(labels_n: np.ndarray) -> np.ndarray:
    """Clusters that have neurons, in order."""
    return np.unique(labels_n)


def compact(labels_n: np.ndarray) -> np.ndarray:
    """Labels without gaps, in the same order."""
    return np.unique(labels_n, return_inverse=True)[1]


def rand_index(one_n: np.ndarray, other_n: np.ndarray) -> float:
    """Adjusted Rand index of two partitions (Hubert & Arabie 1985): 1 for the same."""
    one, other = compact(np.asarray(one_n)), compact(np.asarray(other_n))
    if not one.size:
        return 1.0
    table = np.zeros((one.max() + 1, other.max() + 1))
    np.add.at(table, (one, other), 1)

    def pairs(count):
        return float((count * (count - 1) / 2).sum())

    both, rows, columns = pairs(table), pairs(table.sum(1)), pairs(table.sum(0))
    total = len(one) * (len(one) - 1) / 2
    expected = rows * columns / max(total, 1)
    most = (rows + columns) / 2
    return 1.0 if most == expected else (both - expected) / (most - expected)


def agreement(labels_sn: np.ndarray) -> np.ndarray:
    """Adjusted Rand indices [S, S] of several partitions."""
    return np.array([[rand_index(a, b) for b in labels_sn] for a in labels_sn])
