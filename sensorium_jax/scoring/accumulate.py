"""Everything that scores need of predicted trials, summed while they stream past.

Twins and files give the same streams, mouse by mouse or mixed. Trials are added a batch
at a time on the device; what is kept of one trial is a few sums per neuron.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.axes import Prediction
from sensorium_jax.data import statistics
from sensorium_jax.data.session import RESPONSES, Session
from sensorium_jax.errors import UserError
from sensorium_jax.metrics import bits, correlation, explained, likelihood, repeats
from sensorium_jax.normalize import at_frames, judged
from sensorium_jax.scoring.resample import Moments
from sensorium_jax.scoring.trials import Planned, Sizes, sizes

Rates = Callable[[Session, int], np.ndarray]  # true rates [t, n] in raw units


class RepeatScores(NamedTuple):
    """What repeats say of each neuron of one mouse."""

    to_average_n: np.ndarray
    feve_n: np.ndarray  # of the neurons that may be judged by it
    ceiling_n: np.ndarray
    normalized_n: np.ndarray
    feve_each_n: np.ndarray  # of every neuron; NaN where it may not be judged by it


class Measured(NamedTuple):
    """Everything that scores need of one mouse on one tier."""

    plan: Planned
    model: Moments  # of its trials in the order of the plan
    null: Moments | None  # of the best constant; None where no constant correlates
    truth: Moments | None  # of the true rates, where they are known
    repeats: Mapping[str | None, RepeatScores]  # by type of stimulus; None for all
    poisson_n: np.ndarray  # loss per bin
    bits_n: np.ndarray  # bits per spike
    linear: Moments | None = None  # of the linear model; None where it is not fitted

    def beside(self, linear: "Measured") -> "Measured":
        """The same with what the linear model says of the same trials."""
        # The responses are the same, so their sums are kept once.
        return self._replace(linear=linear.model.beside(self.model))


def measure(
    predictions: Iterable[Prediction],
    plans: Sequence[Planned],
    *,
    fit: Sizes | None = None,
    truth: Rates | None = None,
    batch: int | None = None,
) -> list[Measured]:
    """Sum the predictions of the planned trials, in whatever order they come.

    fit is what mice are padded to, common to several tiers. truth gives true rates,
    where the recordings are simulated. A mouse's averages over repeats are let go after
    its last trial.
    """
    fit = fit or sizes(plans)
    waiting = {p.session.name: _MouseSums(p, fit, truth, batch) for p in plans}
    done: dict[str, Measured] = {}
    for prediction in predictions:
        if prediction.mouse not in waiting:
            raise UserError(
                f"A prediction is of {prediction.mouse}, of whom no further trial is "
                f"expected; open are {', '.join(waiting) or 'none'}. Predict the "
                "planned trials, each once."
            )
        mouse = waiting[prediction.mouse]
        mouse.add(prediction)
        if not mouse.missing:
            done[prediction.mouse] = mouse.measured()
            del waiting[prediction.mouse]
    if waiting:
        name, mouse = next(iter(waiting.items()))
        rows = sorted(mouse.missing)
        raise UserError(
            f"{len(rows)} trials of {name} were not predicted, the first is "
            f"{mouse.plan.session.files[rows[0]]}. Predict every planned trial."
        )
    return [done[p.session.name] for p in plans]


class _Sums(NamedTuple):
    explained: explained.State | None  # None where nothing is shown twice
    bits: bits.State


class _MouseSums:
    """One mouse while its trials come in."""

    def __init__(
        self, plan: Planned, fit: Sizes, truth: Rates | None, batch: int | None
    ):
        self.plan, self.fit, self.truth = plan, fit, truth
        self.batch = batch or fit.batch
        self.missing = {int(row): i for i, row in enumerate(plan.rows)}
        self.precision_tn = statistics.precision(plan.session)
        self.constant_tn = constant(plan.session, self.precision_tn)
        self.sums: _Sums | None = None
        self.waiting: list[tuple[int, Prediction]] = []
        self.places: list[int] = []  # in the plan, of the trials as they came
        self.moments: dict[str, list[Moments]] = {"model": [], "null": [], "truth": []}

    def add(self, prediction: Prediction) -> None:
        """Take one trial."""
        name, row = self.plan.session.name, prediction.trial
        if row not in self.missing:
            raise UserError(
                f"Trial {self.plan.session.files[row]} of {name} was predicted twice, "
                "or is not planned. Predict the planned trials, each once."
            )
        if prediction.responses_tn is None:
            raise UserError(
                f"The responses of trial {self.plan.session.files[row]} of {name} are "
                "hidden, so nothing can be scored. Score a labelled tier."
            )
        self.waiting.append((self.missing.pop(row), prediction))
        if len(self.waiting) == self.batch:
            self._flush()

    def _flush(self) -> None:
        """Add the waiting trials on the device."""
        if not self.waiting:
            return
        places = [place for place, _ in self.waiting]
        trials = [prediction for _, prediction in self.waiting]
        responses = [np.asarray(p.responses_tn) for p in trials]
        counts = [
            min(len(p.rates_tn), len(y_tn))
            for p, y_tn in zip(trials, responses, strict=True)
        ]
        valid = np.zeros((1, self.batch, self.fit.frames), bool)
        for b, count in enumerate(counts):
            valid[0, b, :count] = True
        slots = np.full((1, self.batch), -1, np.int32)
        slots[0, : len(places)] = self.plan.stimulus_b[places]
        y = self._padded(responses, counts)
        x = self._padded([p.rates_tn for p in trials], counts)
        sums, seen = self.sums or self._zero(), self._observed(trials)
        self.sums, state = _add(sums, x, y, valid, slots, seen)
        self._keep("model", state)
        for name, series in (("null", self._constants), ("truth", self._true)):
            others = series(trials)
            if others is not None:
                self._keep(name, _each(self._padded(others, counts), y, valid, seen))
        self.places += places
        self.waiting = []

    def _keep(self, name: str, state: correlation.State) -> None:
        trials = len(self.waiting)
        moments = Moments.of(state, trials, self.plan.session.neurons)
        self.moments[name].append(moments)

    def _zero(self) -> _Sums:
        some = self.plan.session.missing_rn is not None
        averages = explained.zero(1, *self.fit, some) if self.plan.repeats else None
        zero = _Sums(averages, bits.zero(1, self.fit.neurons, some))
        # Copies, as no two leaves may share an array that is donated.
        return jax.tree.map(jnp.copy, zero)

    def _observed(self, trials: Sequence[Prediction]) -> np.ndarray | None:
        """Of which neurons the responses are known, [1, B, N]; None for all."""
        missing_rn = self.plan.session.missing_rn
        if missing_rn is None:
            return None
        seen = np.zeros((1, self.batch, self.fit.neurons), bool)
        for b, trial in enumerate(trials):
            seen[0, b, : missing_rn.shape[1]] = ~missing_rn[trial.trial]
        return seen

    def _padded(self, series: Sequence[Any], counts: Sequence[int]) -> np.ndarray:
        x = np.zeros((1, self.batch, self.fit.frames, self.fit.neurons), np.float32)
        for b, (x_tn, t) in enumerate(zip(series, counts, strict=True)):
            x[0, b, :t, : x_tn.shape[1]] = x_tn[:t]
        return x

    def _constants(self, trials: Sequence[Prediction]) -> list[np.ndarray] | None:
        if self.constant_tn is None:
            return None
        return [
            at_frames(self.constant_tn, np.arange(p.start, p.start + len(p.rates_tn)))
            for p in trials
        ]

    def _true(self, trials: Sequence[Prediction]) -> list[np.ndarray] | None:
        if self.truth is None:
            return None
        session = self.plan.session
        return [
            judged(self.truth(session, p.trial), self.precision_tn, p.start)
            for p in trials
        ]

    def measured(self) -> Measured:
        """Everything, with the trials in the order of the plan."""
        self._flush()
        order = np.argsort(self.places)
        model = Moments.join(self.moments["model"]).take(order)

        def others(name: str) -> Moments | None:
            if not self.moments[name]:
                return None
            # The responses are the same, so their sums are kept once.
            moments = Moments.join(self.moments[name]).take(order)
            return moments.beside(model)

        assert self.sums is not None
        loss, gain = _likelihoods(self.sums.bits)
        n = self.plan.session.neurons
        return Measured(
            self.plan,
            model,
            others("null"),
            others("truth"),
            repeat_scores(self.plan, self.sums.explained),
            np.asarray(loss[0, :n]),
            np.asarray(gain[0, :n]),
        )


def constant(session: Session, precision_tn: np.ndarray) -> np.ndarray | None:
    """The best constant in the judges' units [t, n]: each neuron's training mean.

    None where it is the same in every frame, so that it correlates with nothing.
    """
    if len(precision_tn) == 1:
        return None
    mean_tn = np.atleast_2d(np.asarray(session.statistics[RESPONSES].mean, np.float64))
    there = np.isfinite(mean_tn)
    mean_n = np.where(there, mean_tn, 0).sum(0) / np.maximum(there.sum(0), 1)
    return mean_n.astype(np.float32) * precision_tn


@partial(jax.jit, donate_argnums=0)
def _add(
    sums: _Sums,
    rates_mbtn: jax.Array,
    responses_mbtn: jax.Array,
    valid_mbt: jax.Array,
    stimulus_mb: jax.Array,
    observed_mbn: jax.Array | None,
) -> tuple[_Sums, correlation.State]:
    trials = (rates_mbtn, responses_mbtn, valid_mbt)
    averages = sums.explained
    if averages is not None:
        averages = explained.update(averages, *trials, stimulus_mb, observed_mbn)
    gains = bits.update(sums.bits, *trials, observed_mbn)
    return _Sums(averages, gains), _each(*trials, observed_mbn)


@jax.jit
def _each(
    rates_mbtn: jax.Array,
    responses_mbtn: jax.Array,
    valid_mbt: jax.Array,
    observed_mbn: jax.Array | None,
) -> correlation.State:
    """The moments of every trial by itself: trials take the place of mice."""
    x, y, valid = (a[0][:, None] for a in (rates_mbtn, responses_mbtn, valid_mbt))
    seen = None if observed_mbn is None else observed_mbn[0][:, None]
    zero = correlation.zero(len(x), x.shape[-1], seen is not None)
    return correlation.update(zero, x, y, valid, seen)


def repeat_scores(
    plan: Planned, state: explained.State | None
) -> dict[str | None, RepeatScores]:
    """Scores over repeats of all stimuli, and of each type that is shown again."""
    if state is None:
        return {}
    kinds = np.array(plan.kinds)
    shown = np.bincount(plan.stimulus_b, minlength=len(kinds))
    scores = {}
    for kind in (None, *dict.fromkeys(plan.kinds)):
        chosen_s = np.ones(len(kinds), bool) if kind is None else kinds == kind
        if shown[chosen_s].max() > 1:
            scores[kind] = _repeat_scores(state, chosen_s, plan.session.neurons)
    return scores


def _repeat_scores(
    state: explained.State, chosen_s: np.ndarray, neurons: int
) -> RepeatScores:
    slots = np.zeros((1, state.bad_msn.shape[1]), bool)
    slots[0, : len(chosen_s)] = chosen_s
    found, ceilings, bad_mn = _value(state, slots)

    def cut(x_mn: Any) -> np.ndarray:
        return np.asarray(x_mn[0, :neurons])

    judged_n = (cut(found.fev.per_neuron_mn) >= explained.THRESHOLD) & ~cut(bad_mn)
    return RepeatScores(
        cut(found.to_average.per_neuron_mn),
        cut(found.feve.per_neuron_mn)[judged_n],
        cut(ceilings.ceiling.per_neuron_mn),
        cut(found.normalized.per_neuron_mn),
        np.where(judged_n, cut(found.feve.per_neuron_mn), np.nan),
    )


@jax.jit
def _value(state: explained.State, chosen_ms: jax.Array) -> tuple[Any, Any, jax.Array]:
    part = explained.only(state, chosen_ms)
    bad_mn = part.bad_msn.any(1)  # predicted as NaN or infinity
    return explained.value(part), repeats.value(part.responses), bad_mn


@jax.jit
def _likelihoods(state: bits.State) -> tuple[jax.Array, jax.Array]:
    """Poisson loss per bin and bits per spike of each neuron."""
    return likelihood.value(state.loss).per_neuron_mn, bits.value(state).per_neuron_mn
