"""Every number that a model is judged by: per tier, mouse, type of stimulus and depth.

Means are named by what they are over: `single_trial` and the like are means over the
neurons of all mice together, as the official library averages; `..._over_mice` are
means over mice of their means, as many participants report.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax.scoring import accumulate, depths, resample
from sensorium_jax.scoring.accumulate import Measured, Rates, Sizes
from sensorium_jax.scoring.answers import Twin
from sensorium_jax.scoring.trials import Planned

DRAWS = 200  # resamples of trials
TRUTH, REPEATS = "truth", "repeats"


class Part(NamedTuple):
    """Scores of the neurons of one mouse over some of its trials."""

    single_n: np.ndarray
    draws_w: np.ndarray  # its mean over neurons, by resample
    undefined: int
    ceiling_n: np.ndarray | None
    ceiling_w: np.ndarray | None  # None where the ceiling was not resampled
    estimated_n: np.ndarray | None  # ceiling from repeats, also where truth is known
    to_average_n: np.ndarray | None
    feve_n: np.ndarray | None  # of the neurons that may be judged by it
    trials: int
    stimuli: int


class Mouse(NamedTuple):
    """One mouse on one tier."""

    plan: Planned
    measured: Measured
    draws: int  # resamples


def measured(
    twin: Twin,
    mice: Sequence[Planned],
    fit: Sizes,
    *,
    truth: Rates | None = None,
    draws: int = DRAWS,
    batch: int | None = None,
    seen: Callable[[], Any] = lambda: None,
) -> list[Mouse]:
    """Predict a tier of every mouse; see measure."""
    options = {"truth": truth, "batch": batch, "seen": seen}
    return [
        Mouse(
            p,
            accumulate.measure(twin, p.session, p.rows, p.stimulus_b, fit, **options),
            draws,
        )
        for p in mice
    ]


def part(mouse: Mouse, kind: str | None = None) -> Part | None:
    """Scores over the stimuli of one type, or over all; None where there are none."""
    m = mouse.measured
    chosen = [s for s, k in enumerate(mouse.plan.kinds) if kind in (None, k)]
    in_b = np.isin(m.stimulus_b, chosen)
    if not in_b.any():
        return None
    trials = int(in_b.sum())
    seed = (trials, *mouse.plan.session.name.encode())  # the same for every model
    drawn_wb = resample.resamples(trials, mouse.draws, seed)
    weights_wb = np.concatenate([np.ones((1, trials)), drawn_wb])
    single_wn = resample.correlations(m.model.take(in_b), weights_wb)
    undefined = int(np.isnan(single_wn[0]).sum())
    single_wn = np.nan_to_num(single_wn)
    counts = np.bincount(m.stimulus_b[in_b])
    again = accumulate.repeated(m, np.array(chosen)) if counts.max() > 1 else None
    ceiling_n = estimated = None if again is None else again.ceiling_n
    ceiling_w = None
    if m.truth is not None:
        ceiling_wn = np.nan_to_num(
            resample.correlations(m.truth.take(in_b), weights_wb)
        )
        ceiling_n, ceiling_w = ceiling_wn[0], ceiling_wn[1:].mean(1)
    return Part(
        single_wn[0],
        single_wn[1:].mean(1),
        undefined,
        ceiling_n,
        ceiling_w,
        estimated,
        None if again is None else again.to_average_n,
        None if again is None else again.feve_n[again.chosen_n],
        trials,
        len(chosen),
    )


def summary(parts: Sequence[Part]) -> dict[str, Any]:
    """The numbers of several mice together; None where they cannot be known."""
    neurons = np.array([len(p.single_n) for p in parts])
    draws_mw = np.stack([p.draws_w for p in parts])
    over_neurons_w = neurons @ draws_mw / neurons.sum()
    single, single_m = _both([p.single_n for p in parts])
    ceiling, ceiling_m = _both([p.ceiling_n for p in parts])
    average, average_m = _both([p.to_average_n for p in parts])
    ceilings_w = [p.ceiling_w for p in parts if p.ceiling_w is not None]
    known = len(ceilings_w) == len(parts)
    fraction = between = None
    if ceiling and ceiling > 0:
        fraction = single / ceiling
        below = neurons @ np.stack(ceilings_w) / neurons.sum() if known else ceiling
        between = list(resample.interval(over_neurons_w / np.maximum(below, 1e-9)))
    feves = [p.feve_n for p in parts]
    return {
        "single_trial": single,
        "single_trial_interval": list(resample.interval(over_neurons_w)),
        "single_trial_over_mice": single_m,
        "single_trial_over_mice_interval": list(resample.interval(draws_mw.mean(0))),
        "to_average": average,
        "to_average_over_mice": average_m,
        "ceiling": ceiling,
        "ceiling_over_mice": ceiling_m,
        "ceiling_from": None if ceiling is None else TRUTH if known else REPEATS,
        "ceiling_from_repeats": _both([p.estimated_n for p in parts])[0],
        "fraction_of_ceiling": fraction,
        "fraction_of_ceiling_interval": between,
        "feve": _both(feves)[0],
        "feve_median": _median(feves),
        "neurons": int(neurons.sum()),
        "undefined": sum(p.undefined for p in parts),
        "trials": sum(p.trials for p in parts),
        "stimuli_shown": max(p.stimuli for p in parts),
    }


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


def report(mice: Sequence[Mouse]) -> dict[str, Any]:
    """All numbers of one tier."""
    whole = [(m, p) for m in mice if (p := part(m)) is not None]
    found = summary([p for _, p in whole])
    losses = [accumulate.likelihoods(m.measured) for m in mice]
    found["poisson"], _ = _both([loss for loss, _ in losses])
    gains = [gain for _, gain in losses]
    found["bits_per_spike"] = _both(gains)[0]
    found["bits_per_spike_median"] = _median(gains)
    found["mice"] = {m.plan.session.name: summary([p]) for m, p in whole}
    found["stimuli"] = by_kind(mice)
    found["depths"] = depths.depths(
        [(m.plan.session.coordinates_n3, p.single_n, p.ceiling_n) for m, p in whole]
    )
    return found


def by_kind(mice: Sequence[Mouse]) -> dict[str, dict[str, Any]]:
    """Scores by type of stimulus; a mouse may be there once per tier."""
    names = sorted({k for m in mice for k in m.plan.kinds})
    return {
        name: summary([p for m in mice if (p := part(m, name)) is not None])
        for name in names
    }
