"""Every number that a model is judged by: per tier, mouse, type of stimulus and depth.

All of them follow from what was summed while the predictions streamed past: neither
intervals nor types of stimulus nor comparisons cost another prediction.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax.scoring import depths, resample
from sensorium_jax.scoring.accumulate import Measured
from sensorium_jax.scoring.tables import Scores, TierScores

DRAWS = 200  # resamples of trials
TRUTH, REPEATS = "truth", "repeats"


class Part(NamedTuple):
    """Scores of the neurons of one mouse over some of its trials."""

    single_n: np.ndarray
    draws_w: np.ndarray  # its mean over neurons, by resample
    undefined: int
    null_n: np.ndarray  # of the best constant
    null_w: np.ndarray | None  # None where a constant has no correlation
    linear_n: np.ndarray | None  # of the linear model, where it is fitted
    linear_w: np.ndarray | None
    ceiling_n: np.ndarray | None
    ceiling_w: np.ndarray | None  # None where the ceiling was not resampled
    estimated_n: np.ndarray | None  # ceiling from repeats, also where truth is known
    to_average_n: np.ndarray | None
    feve_n: np.ndarray | None  # of the neurons that may be judged by it
    trials: int
    stimuli: int


def part(
    mouse: Measured, kind: str | None = None, *, draws: int = DRAWS
) -> Part | None:
    """Scores over the stimuli of one type, or over all; None where there are none."""
    plan = mouse.plan
    chosen = [s for s, k in enumerate(plan.kinds) if kind in (None, k)]
    in_b = np.isin(plan.stimulus_b, chosen)
    if not in_b.any():
        return None
    count = int(in_b.sum())
    # The same trials are drawn for every model, for the null and for the ceiling.
    seed = (count, *plan.session.name.encode())
    drawn_wb = resample.resamples(count, draws, seed)
    weights_wb = np.concatenate([np.ones((1, count)), drawn_wb])

    def correlate(moments: resample.Moments) -> np.ndarray:
        return resample.correlations(moments.take(in_b), weights_wb)

    single_wn = correlate(mouse.model)
    undefined = int(np.isnan(single_wn[0]).sum())
    single_wn = np.nan_to_num(single_wn)
    null_n, null_w = np.zeros(plan.session.neurons), None
    if mouse.null is not None:
        null_wn = np.nan_to_num(correlate(mouse.null))
        null_n, null_w = null_wn[0], null_wn[1:].mean(1)
    linear_n = linear_w = None
    if mouse.linear is not None:
        linear_wn = np.nan_to_num(correlate(mouse.linear))
        linear_n, linear_w = linear_wn[0], linear_wn[1:].mean(1)
    again = mouse.repeats.get(kind)
    ceiling_n = estimated = None if again is None else again.ceiling_n
    ceiling_w = None
    if mouse.truth is not None:
        ceiling_wn = np.nan_to_num(correlate(mouse.truth))
        ceiling_n, ceiling_w = ceiling_wn[0], ceiling_wn[1:].mean(1)
    return Part(
        single_wn[0],
        single_wn[1:].mean(1),
        undefined,
        null_n,
        null_w,
        linear_n,
        linear_w,
        ceiling_n,
        ceiling_w,
        estimated,
        None if again is None else again.to_average_n,
        None if again is None else again.feve_n,
        count,
        len(chosen),
    )


def summary(parts: Sequence[Part]) -> Scores:
    """The numbers of several mice together; None where they cannot be known."""
    neurons = np.array([len(p.single_n) for p in parts])

    def over_neurons(draws_mw: Sequence[np.ndarray]) -> np.ndarray:
        return neurons @ np.stack(draws_mw) / neurons.sum()

    draws_mw = [p.draws_w for p in parts]
    single, single_m = _both([p.single_n for p in parts])
    null, _ = _both([p.null_n for p in parts])
    nulls_w = [0 * p.draws_w if p.null_w is None else p.null_w for p in parts]
    constant = all(p.null_w is None for p in parts)
    ceiling, ceiling_m = _both([p.ceiling_n for p in parts])
    average, average_m = _both([p.to_average_n for p in parts])
    ceilings_w = [p.ceiling_w for p in parts if p.ceiling_w is not None]
    known = len(ceilings_w) == len(parts)
    fraction = between = None
    if ceiling and ceiling > 0:
        fraction = single / ceiling
        below = over_neurons(ceilings_w) if known else ceiling
        between = resample.interval(over_neurons(draws_mw) / np.maximum(below, 1e-9))
    # Of the mice that have any neuron that may be judged by it.
    judged = [p.feve_n for p in parts if p.feve_n is not None and p.feve_n.size]
    linear = _both([p.linear_n for p in parts])[0]
    linears_w = [p.linear_w for p in parts if p.linear_w is not None]
    lines: dict[str, Any] = {}
    if linear is not None:
        line_w = over_neurons(linears_w)
        lines["linear_interval"] = resample.interval(line_w)
        lines["over_linear"] = single - linear
        ahead_w = over_neurons(draws_mw) - line_w
        lines["over_linear_interval"] = resample.interval(ahead_w)
    return Scores(
        single_trial=single,
        single_trial_interval=resample.interval(over_neurons(draws_mw)),
        single_trial_over_mice=single_m,
        single_trial_over_mice_interval=resample.interval(np.mean(draws_mw, 0)),
        null=null,
        null_interval=None if constant else resample.interval(over_neurons(nulls_w)),
        to_average=average,
        to_average_over_mice=average_m,
        ceiling=ceiling,
        ceiling_over_mice=ceiling_m,
        ceiling_from=None if ceiling is None else TRUTH if known else REPEATS,
        ceiling_from_repeats=_both([p.estimated_n for p in parts])[0],
        fraction_of_ceiling=fraction,
        fraction_of_ceiling_interval=between,
        feve=_both(judged)[0] if judged else None,
        feve_median=_median(judged) if judged else None,
        feve_mice=len(judged),
        neurons=int(neurons.sum()),
        undefined=sum(p.undefined for p in parts),
        trials=sum(p.trials for p in parts),
        stimuli_shown=max(p.stimuli for p in parts),
        linear=linear,
        single_trial_median=_median([p.single_n for p in parts]),
        null_median=_median([p.null_n for p in parts]),
        linear_median=_median([p.linear_n for p in parts]),
        to_average_median=_median([p.to_average_n for p in parts]),
        ceiling_median=_median([p.ceiling_n for p in parts]),
        **lines,
    )


def _median(values: Sequence[np.ndarray | None]) -> float | None:
    """Median over all neurons, which a few that hardly respond do not carry away."""
    there = [v for v in values if v is not None and v.size]
    if len(there) < len(values):
        return None
    return float(np.median(np.concatenate(there)))


def _both(values: Sequence[np.ndarray | None]) -> tuple[Any, Any]:
    """Mean over all neurons and mean over mice; None unless every mouse has any."""
    there = [v.astype(np.float64) for v in values if v is not None and v.size]
    if len(there) < len(values):
        return None, None
    return float(np.concatenate(there).mean()), float(
        np.mean([v.mean() for v in there])
    )


def report(mice: Sequence[Measured], *, draws: int = DRAWS) -> TierScores:
    """All numbers of one tier."""
    whole = [(m, p) for m in mice if (p := part(m, draws=draws)) is not None]
    gains = [m.bits_n for m in mice]
    return TierScores(
        all=summary([p for _, p in whole]),
        poisson=_both([m.poisson_n for m in mice])[0],
        poisson_median=_median([m.poisson_n for m in mice]),
        bits_per_spike=_both(gains)[0],
        bits_per_spike_median=_median(gains),
        mice={m.plan.session.name: summary([p]) for m, p in whole},
        stimuli=by_kind(mice, draws=draws),
        depths=depths.depths(
            [
                depths.Placed(
                    m.plan.session.coordinates_n3, p.single_n, p.null_n, p.ceiling_n
                )
                for m, p in whole
            ]
        ),
    )


def by_kind(mice: Sequence[Measured], *, draws: int = DRAWS) -> dict[str, Scores]:
    """Scores by type of stimulus; a mouse may be there once per tier."""
    names = sorted({k for m in mice for k in m.plan.kinds})
    return {
        name: summary(
            [p for m in mice if (p := part(m, name, draws=draws)) is not None]
        )
        for name in names
    }
