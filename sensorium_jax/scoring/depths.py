"""Scores by cortical depth."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sensorium_jax.scoring.tables import Depth

DISTINCT = 10  # more distinct depths than these are gathered into five groups


class Placed(NamedTuple):
    """The scores of one mouse's neurons, and where they lie."""

    coordinates_n3: np.ndarray | None
    single_n: np.ndarray
    null_n: np.ndarray
    ceiling_n: np.ndarray | None


def depths(mice: Sequence[Placed]) -> list[Depth]:
    """Mean scores of neurons by depth (z, micrometres), shallow first.

    Mice without coordinates are left out.
    """
    known = [m for m in mice if m.coordinates_n3 is not None]
    if not known:
        return []
    z_n = np.concatenate([np.asarray(m.coordinates_n3)[:, 2] for m in known])
    single_n = np.concatenate([m.single_n for m in known])
    null_n = np.concatenate([m.null_n for m in known])
    tops = [m.ceiling_n for m in known if m.ceiling_n is not None]
    ceiling_n = np.concatenate(tops) if len(tops) == len(known) else None
    return [
        Depth(
            float(z_n[group].mean()),
            float(z_n[group].min()),
            float(z_n[group].max()),
            int(group.sum()),
            float(single_n[group].mean()),
            float(null_n[group].mean()),
            None if ceiling_n is None else float(ceiling_n[group].mean()),
        )
        for group in _groups(z_n)
    ]


def _groups(z_n: np.ndarray) -> list[np.ndarray]:
    layers = np.unique(z_n)
    if len(layers) <= DISTINCT:
        return [z_n == z for z in layers]
    edges = np.quantile(z_n, np.linspace(0, 1, 6))
    at = np.clip(np.searchsorted(edges, z_n, "right") - 1, 0, 4)
    return [at == i for i in range(5) if (at == i).any()]
