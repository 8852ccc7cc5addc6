"""Whether one model beats another: the same trials resampled for both."""

from collections.abc import Sequence

import numpy as np

from sensorium_jax.errors import UserError
from sensorium_jax.scoring import resample
from sensorium_jax.scoring.accumulate import Measured
from sensorium_jax.scoring.suites import DRAWS, part
from sensorium_jax.scoring.tables import Comparison, Difference


def compare(
    first: Sequence[Measured],
    second: Sequence[Measured],
    *,
    model: str = "",
    draws: int = DRAWS,
) -> Comparison:
    """Single-trial correlation of the first model less that of the second.

    Trials are resampled together for both, so what makes a trial hard for each cancels.
    model names the second.
    """
    names = [[m.plan.session.name for m in mice] for mice in (first, second)]
    if names[0] != names[1]:
        raise UserError(
            f"The first model answers for {', '.join(names[0])}, the second for "
            f"{', '.join(names[1])}. Compare models of the same mice."
        )
    both = [
        (part(a, draws=draws), part(b, draws=draws))
        for a, b in zip(first, second, strict=True)
    ]
    pairs = [(a, b) for a, b in both if a is not None and b is not None]
    apart = [a.single_n - b.single_n for a, b in pairs]
    neurons = np.array([len(d) for d in apart])
    draws_mw = np.stack([a.draws_w - b.draws_w for a, b in pairs])
    every = np.concatenate(apart)
    whole = _difference(every, neurons @ draws_mw / neurons.sum())
    return Comparison(
        model,
        float(np.concatenate([b.single_n for _, b in pairs]).mean()),
        *whole,
        neurons_better=float((every > 0).mean()),
        mice={
            name: _difference(d, w)
            for name, d, w in zip(names[0], apart, draws_mw, strict=True)
        },
    )


def _difference(apart_n: np.ndarray, draws_w: np.ndarray) -> Difference:
    return Difference(
        float(apart_n.mean()), resample.interval(draws_w), resample.two_sided(draws_w)
    )
