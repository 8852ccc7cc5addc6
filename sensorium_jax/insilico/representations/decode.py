"""Linear probes: can a label be read from a representation, by ridge regression.

Labels are regressed as columns of 0 and 1, each less its mean and by its SD, and the
largest prediction is the answer: how frequent a class was does not count, as a fold
that has more of it is learned from less. The ridge follows from generalized
cross-validation (Golub, Heath & Wahba 1979) on each training part, for the true labels
and for every permutation of them alike.
"""

from typing import NamedTuple

import numpy as np

from sensorium_jax.errors import UserError

RIDGES = 10.0 ** np.arange(-4, 4)  # of the mean eigenvalue
TINY = 1e-12


class Decoded(NamedTuple):
    """How well labels are told, as the mean over classes of the share that is right."""

    accuracy: float
    chance: float  # one by the number of classes
    null: float  # mean over permutations of the labels
    null_high: float  # 95 % of permutations are below
    p: float  # share of permutations as good, the true labels counted among them
    classes: int
    samples: int


def decode(
    x_sd: np.ndarray,
    label_s: np.ndarray,
    group_s: np.ndarray | None = None,
    *,
    folds: int = 5,
    draws: int = 200,
    seed: int = 0,
) -> Decoded:
    """Tell labels from rows that were not learned from; groups stay in one fold.

    Classes whose rows all lie in one fold are left out: nobody could learn them.
    Permutations move labels between groups where all rows of a group have one label,
    and otherwise within groups.
    """
    groups = np.arange(len(label_s)) if group_s is None else group_s
    _, y_s = np.unique(label_s, return_inverse=True)
    _, g_s = np.unique(groups, return_inverse=True)
    fold_s = _folds(y_s, g_s, folds, np.random.default_rng([seed, 5]))
    kept = _in_several_folds(y_s, fold_s)
    _check(label_s, label_s[kept])
    x_sd, fold_s, rows = x_sd[kept], fold_s[kept], int(kept.sum())
    classes, y_s = np.unique(label_s[kept], return_inverse=True)
    _, g_s = np.unique(g_s[kept], return_inverse=True)
    rng = np.random.default_rng([seed, 6])
    every = [y_s, *(_permuted(y_s, g_s, rng) for _ in range(draws))]
    labels_sp = np.stack(every, 1)
    one_spc = np.eye(len(classes))[labels_sp]
    right_pc = np.zeros(one_spc.shape[1:])
    for fold in np.unique(fold_s):
        test = fold_s == fold
        guess_spc = _predicted(x_sd[~test], one_spc[~test], x_sd[test])
        right = guess_spc.argmax(2) == labels_sp[test]
        right_pc += (right[..., None] * one_spc[test]).sum(0)
    accuracy_p = (right_pc / np.maximum(one_spc.sum(0), 1)).mean(1)
    best, null = float(accuracy_p[0]), accuracy_p[1:]
    if not draws:
        null = np.array([np.nan])
    as_good = float((1 + (null >= best - TINY).sum()) / (1 + draws))
    high = float(np.quantile(null, 0.95))
    rest = (float(null.mean()), high, as_good, len(classes), rows)
    return Decoded(best, 1 / len(classes), *rest)


def _predicted(x_nd, one_npc, x_md) -> np.ndarray:
    """Predictions [m, P, C] for rows x_md, learned from rows x_nd and their labels."""
    mean, spread = x_nd.mean(0), x_nd.std(0)
    scale = np.where(spread > TINY * (1 + np.abs(mean)), spread, np.inf)
    a, b = ((np.asarray(x, np.float64) - mean) / scale for x in (x_nd, x_md))
    y = one_npc.reshape(len(a), -1)
    y = (y - y.mean(0)) / np.maximum(y.std(0), TINY)
    values, vectors = np.linalg.eigh(a @ a.T)
    values = np.maximum(values, 0)
    size = max(values.mean(), TINY)
    seen = vectors.T @ y  # [n, P * C]
    shape = one_npc.shape[1:]
    ridges = size * RIDGES
    left = ridges[:, None] / (values[None] + ridges[:, None])  # [ridges, n]
    missed = np.einsum("rn,nk->rk", left**2, seen**2).reshape(len(ridges), *shape)
    lost_rp = missed.sum(2) / left.sum(1)[:, None] ** 2
    ridge_p = ridges[lost_rp.argmin(0)]
    ridge = np.repeat(ridge_p, shape[1])  # [P * C]
    weight = seen / (values[:, None] + ridge[None])
    return ((b @ a.T) @ (vectors @ weight)).reshape(len(b), *shape)


def _folds(y_s, g_s, folds: int, rng: np.random.Generator) -> np.ndarray:
    """A fold for each row: groups of a class are dealt out in a random order."""
    count = int(g_s.max()) + 1
    first = np.unique(g_s, return_index=True)[1]
    kind_g = y_s[first]
    order = np.lexsort((rng.random(count), kind_g))
    fold_g = np.empty(count, int)
    fold_g[order] = np.arange(count) % min(folds, count)
    return fold_g[g_s]


def _permuted(y_s, g_s, rng: np.random.Generator) -> np.ndarray:
    first = np.unique(g_s, return_index=True)[1]
    if (y_s == y_s[first][g_s]).all():
        return y_s[first][rng.permutation(len(first))][g_s]
    order = np.lexsort((rng.random(len(y_s)), g_s))
    out = np.empty_like(y_s)
    out[np.argsort(g_s, kind="stable")] = y_s[order]
    return out


def _in_several_folds(y_s: np.ndarray, fold_s: np.ndarray) -> np.ndarray:
    """Which rows belong to a class that at least two folds have."""
    pairs = np.unique(np.stack([y_s, fold_s]), axis=1)
    return np.bincount(pairs[0], minlength=int(y_s.max()) + 1)[y_s] > 1


def _check(label_s: np.ndarray, kept_s: np.ndarray) -> None:
    if len(np.unique(kept_s)) > 1:
        return
    names, count = np.unique(label_s, return_counts=True)
    pairs = zip(names[:12], count[:12], strict=True)
    words = ", ".join(f"{name} ({n} rows)" for name, n in pairs)
    raise UserError(
        f"Of {words}, fewer than two classes are shown by two different films or "
        "more, so nothing can be told apart that was not learned from. Take more "
        "trials of different stimuli (--tier)."
    )
