"""Scores by cortical depth."""

from collections.abc import Sequence
from typing import Any

import numpy as np

DISTINCT = 10  # more distinct depths than these are gathered into five groups
Mouse = tuple[np.ndarray | None, np.ndarray, np.ndarray | None]


def depths(mice: Sequence[Mouse]) -> list[dict[str, Any]]:
    """Mean scores of neurons by depth (z, micrometres), shallow first.

    Of each mouse its coordinates [N, 3], correlations and ceilings; mice without
    coordinates are left out.
    """
    known = [(xyz[:, 2], single, top) for xyz, single, top in mice if xyz is not None]
    if not known:
        return []
    z_n = np.concatenate([z for z, _, _ in known])
    single_n = np.concatenate([single for _, single, _ in known])
    tops = [top for _, _, top in known if top is not None]
    ceiling_n = np.concatenate(tops) if len(tops) == len(known) else None
    found = []
    for group in _groups(z_n):
        mean = None if ceiling_n is None else float(ceiling_n[group].mean())
        one = {
            "depth": float(z_n[group].mean()),
            "from": float(z_n[group].min()),
            "to": float(z_n[group].max()),
            "neurons": int(group.sum()),
            "single_trial": float(single_n[group].mean()),
            "ceiling": mean,
        }
        found.append(one)
    return found


def _groups(z_n: np.ndarray) -> list[np.ndarray]:
    layers = np.unique(z_n)
    if len(layers) <= DISTINCT:
        return [z_n == z for z in layers]
    edges = np.quantile(z_n, np.linspace(0, 1, 6))
    at = np.clip(np.searchsorted(edges, z_n, "right") - 1, 0, 4)
    return [at == i for i in range(5) if (at == i).any()]
