"""How well any model could predict single neurons: the spread of their ceilings."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax.scoring.accumulate import Measured
from sensorium_jax.scoring.suites import Part, part
from sensorium_jax.scoring.tables import plain

AT = (10, 25, 50, 75, 90)


class Spread(NamedTuple):
    """Mean and percentiles over neurons."""

    mean: float
    percentiles: Mapping[str, float]  # by their number

    def as_dict(self) -> dict[str, Any]:
        """The numbers under the names that JSON has."""
        return plain(self._asdict())

    def __str__(self) -> str:
        """What is printed."""
        at = self.percentiles
        return (
            f"mean {self.mean:.3f}, 10/50/90 % of neurons "
            f"{at['10']:.2f}/{at['50']:.2f}/{at['90']:.2f}"
        )


class Limits(NamedTuple):
    """Ceilings over neurons: from repeats, and from true rates where they are known.

    The estimate holds for what the stimulus explains; where the animal behaves freely,
    a model that sees its behavior may exceed it.
    """

    from_repeats: Spread | None
    from_truth: Spread | None
    bias: float | None  # mean of the estimate less the truth
    agreement: float | None  # correlation over neurons between the two

    def as_dict(self) -> dict[str, Any]:
        """The numbers under the names that JSON has."""
        found = plain(self._asdict())
        if self.bias is None:
            del found["bias"], found["agreement"]
        return found


def limits(mice: Sequence[Measured]) -> Limits:
    """Ceilings of the neurons of all mice together."""
    parts = [p for m in mice if (p := part(m, draws=1)) is not None]
    estimated = _together(parts, "estimated_n")
    true = None
    if all(p.ceiling_w is not None for p in parts):
        true = _together(parts, "ceiling_n")
    bias = agreement = None
    if estimated is not None and true is not None:
        bias = float((estimated - true).mean())
        agreement = float(np.corrcoef(estimated, true)[0, 1])
    return Limits(
        None if estimated is None else spread(estimated),
        None if true is None else spread(true),
        bias,
        agreement,
    )


def _together(parts: Sequence[Part], name: str) -> np.ndarray | None:
    values = [getattr(p, name) for p in parts]
    return None if any(v is None for v in values) else np.concatenate(values)


def spread(values_n: np.ndarray) -> Spread:
    """Mean and percentiles over neurons."""
    at = np.percentile(values_n, AT)
    percentiles = {str(q): float(v) for q, v in zip(AT, at, strict=True)}
    return Spread(float(values_n.mean()), percentiles)
