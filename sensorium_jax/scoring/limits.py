"""How well any model could predict single neurons: the spread of their ceilings."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sensorium_jax.scoring.suites import Mouse, Part, part

AT = (10, 25, 50, 75, 90)


def limits(mice: Sequence[Mouse]) -> dict[str, Any]:
    """Ceilings over neurons: from repeats, and from true rates where they are known.

    agreement is the correlation over neurons between the two, bias the mean of the
    estimate less the truth. The estimate holds for what the stimulus explains; where
    the animal behaves freely, a model that sees its behavior may exceed it.
    """
    parts = [p for m in mice if (p := part(m)) is not None]
    estimated = _together(parts, "estimated_n")
    true = None
    if all(p.ceiling_w is not None for p in parts):
        true = _together(parts, "ceiling_n")
    found: dict[str, Any] = {
        "from_repeats": None if estimated is None else spread(estimated),
        "from_truth": None if true is None else spread(true),
    }
    if estimated is not None and true is not None:
        found["bias"] = float((estimated - true).mean())
        found["agreement"] = float(np.corrcoef(estimated, true)[0, 1])
    return found


def _together(parts: Sequence[Part], name: str) -> np.ndarray | None:
    values = [getattr(p, name) for p in parts]
    return None if any(v is None for v in values) else np.concatenate(values)


def spread(values_n: np.ndarray) -> dict[str, Any]:
    """Mean and percentiles over neurons."""
    at = np.percentile(values_n, AT)
    percentiles = {str(q): float(v) for q, v in zip(AT, at, strict=True)}
    return {"mean": float(values_n.mean()), "percentiles": percentiles}
