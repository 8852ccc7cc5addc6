"""Every score of every neuron, as rows of a csv."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from sensorium_jax.scoring import resample
from sensorium_jax.scoring.accumulate import Measured
from sensorium_jax.scoring.suites import part


def rows(tier: str, mouse: Measured) -> Iterator[dict[str, Any]]:
    """A row for each neuron of a mouse; what is not defined of it is left empty.

    `trials` are those in which its responses are known.
    """
    plan, scores = mouse.plan, part(mouse, draws=1)
    if scores is None:
        return
    session, again = plan.session, mouse.repeats.get(None)
    one = np.ones((1, len(plan.rows)))
    columns: dict[str, np.ndarray | None] = {
        "single_trial": resample.correlations(mouse.model, one)[0],
        "null": scores.null_n,
        "linear": scores.linear_n,
        "ceiling": scores.ceiling_n,
        "ceiling_from_repeats": scores.estimated_n,
        "to_average": scores.to_average_n,
        "cc_norm": None if again is None else again.normalized_n,
        "feve": None if again is None else again.feve_each_n,
        "poisson": mouse.poisson_n,
        "bits_per_spike": mouse.bits_n,
    }
    trials_n = np.full(session.neurons, len(plan.rows))
    if session.missing_rn is not None:
        trials_n = (~session.missing_rn[plan.rows]).sum(0)
    names = {"tier": tier, "mouse": session.name}
    for n, unit in enumerate(session.unit_ids_n.tolist()):
        yield {
            **names,
            "unit_id": unit,
            **{k: _number(x_n, n) for k, x_n in columns.items()},
            "trials": int(trials_n[n]),
        }


def _number(x_n: np.ndarray | None, n: int) -> float | None:
    if x_n is None or not np.isfinite(x_n[n]):
        return None
    return float(x_n[n])
