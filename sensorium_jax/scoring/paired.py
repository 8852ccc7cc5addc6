"""Whether one model beats another: the same trials resampled for both."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sensorium_jax.errors import UserError
from sensorium_jax.scoring import resample
from sensorium_jax.scoring.suites import Mouse, part


def compare(first: Sequence[Mouse], second: Sequence[Mouse]) -> dict[str, Any]:
    """Single-trial correlation of the first model less that of the second.

    Trials are resampled together for both, so what makes a trial hard for each cancels.
    p is two-sided; neurons_better is the share of neurons that the first predicts
    better.
    """
    names = [[m.plan.session.name for m in mice] for mice in (first, second)]
    if names[0] != names[1]:
        raise UserError(
            f"The first model answers for {', '.join(names[0])}, the second for "
            f"{', '.join(names[1])}. Compare models of the same mice."
        )
    pairs = [(part(a), part(b)) for a, b in zip(first, second, strict=True)]
    found = [(a, b) for a, b in pairs if a is not None and b is not None]
    apart = [a.single_n - b.single_n for a, b in found]
    neurons = np.array([len(d) for d in apart])
    draws_mw = np.stack([a.draws_w - b.draws_w for a, b in found])
    draws_w = neurons @ draws_mw / neurons.sum()
    every = np.concatenate(apart)
    return {
        "single_trial": float(np.concatenate([b.single_n for _, b in found]).mean()),
        "difference": float(every.mean()),
        "difference_interval": list(resample.interval(draws_w)),
        "p": resample.two_sided(draws_w),
        "neurons_better": float((every > 0).mean()),
        "mice": {
            name: {
                "difference": float(d.mean()),
                "difference_interval": list(resample.interval(w)),
                "p": resample.two_sided(w),
            }
            for name, d, w in zip(names[0], apart, draws_mw, strict=True)
        },
    }
