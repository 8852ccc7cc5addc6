"""Correlations and explained variance of predicted trials, as they stream past."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from sensorium_jax.metrics import correlation, explained

BUCKET = 50  # frames are padded to a multiple of it, so that few lengths are compiled
TOGETHER = 64  # pictures that are added at a time
_add = jax.jit(correlation.update)
_value = jax.jit(correlation.value)
_explain = jax.jit(lambda *trials: explained.value(explained.update(*trials)))
Trial = tuple[str, Any, np.ndarray, np.ndarray]  # mouse, trial, prediction, responses


class Scores(NamedTuple):
    """The numbers of one mouse; None where no stimulus is shown twice."""

    single_trial_n: np.ndarray
    to_average_n: np.ndarray | None
    feve: float | None
    undefined: int
    trials: int
    stimuli: int

    def summary(self) -> dict[str, Any]:
        """Means over neurons."""
        average = self.to_average_n
        return {
            "single_trial": float(self.single_trial_n.mean()),
            "to_average": None if average is None else float(average.mean()),
            "feve": self.feve,
            "neurons": len(self.single_trial_n),
            "undefined": self.undefined,
            "trials": self.trials,
            "stimuli": self.stimuli,
        }


def judge(
    trials: Iterable[Trial],
    order: Sequence[str],
    shown: Mapping[str, Mapping[Any, int]],
) -> dict[str, Scores]:
    """Score trials mouse by mouse.

    trials come with predictions and responses [n, t] of equal size; order names the
    mouse of each, so that a mouse's averages can be let go after its last trial. shown
    says which stimulus each trial of a mouse showed.
    """
    left, open_mice, done = Counter(order), {}, {}
    for mouse, trial, x_nt, y_nt in trials:
        if mouse not in open_mice:
            open_mice[mouse] = _Mouse(len(x_nt), shown[mouse])
        open_mice[mouse].add(trial, x_nt, y_nt)
        left[mouse] -= 1
        if not left[mouse]:
            done[mouse] = open_mice.pop(mouse).scores()
    return done


class _Mouse:
    """What is kept of one mouse: running sums, and the averages of its stimuli."""

    def __init__(self, neurons: int, shown: Mapping[Any, int]):
        self.shown, self.trials = shown, 0
        self.repeated = max(Counter(shown.values()).values(), default=0) > 1
        self.state = correlation.zero(1, neurons)
        self.sums: dict[int, _Sum] = {}
        self.waiting: list[np.ndarray] = []
        self.pictures: dict[int, list[np.ndarray]] = {}

    def add(self, trial: Any, x_nt: np.ndarray, y_nt: np.ndarray) -> None:
        both = np.stack([x_nt, y_nt]).astype(np.float32)
        stimulus = self.shown[trial]
        self.trials += 1
        self.waiting.append(both)
        if both.shape[2] > 1 or len(self.waiting) == TOGETHER:
            self._flush()
        if self.repeated:
            self.sums[stimulus] = _Sum.add(self.sums.get(stimulus), both)
        if self.repeated and both.shape[2] == 1:
            self.pictures.setdefault(stimulus, []).append(both[:, :, 0])

    def _flush(self) -> None:
        if self.waiting:
            self.state = _added(self.state, np.concatenate(self.waiting, axis=2))
            self.waiting = []

    def scores(self) -> Scores:
        self._flush()
        single = _value(self.state)
        to_average = feve = None
        if self.repeated:
            state = correlation.zero(1, single.per_neuron_mn.shape[1])
            means = [s.total / s.repeats for s in self.sums.values()]
            for group in _grouped(means):
                state = _added(state, np.concatenate(group, axis=2))
            found = _value(state)
            to_average = np.asarray(found.per_neuron_mn[0], np.float64)
        if self.pictures:
            feve = _feve(self.pictures)
        return Scores(
            np.asarray(single.per_neuron_mn[0], np.float64),
            to_average,
            feve,
            int(single.undefined_m[0]),
            self.trials,
            len(set(self.shown.values())),
        )


class _Sum(NamedTuple):
    """The repeats of one stimulus, over the frames that all of them have."""

    total: np.ndarray  # [2, n, t] of predictions and responses
    repeats: int

    @classmethod
    def add(cls, old: "_Sum | None", both: np.ndarray) -> "_Sum":
        if old is None:
            return cls(both.copy(), 1)
        t = min(old.total.shape[2], both.shape[2])
        return cls(old.total[..., :t] + both[..., :t], old.repeats + 1)


def _grouped(means: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Films one by one, pictures by the hundred."""
    size = 1 if means[0].shape[2] > 1 else TOGETHER
    for first in range(0, len(means), size):
        yield list(means[first : first + size])


def _added(state: correlation.State, both: np.ndarray) -> correlation.State:
    frames = both.shape[2]
    more = -frames % BUCKET
    x, y = (np.pad(a.T, ((0, more), (0, 0)))[None, None] for a in both)
    valid = np.arange(frames + more) < frames
    return _add(state, x, y, valid[None, None])


def _feve(pictures: Mapping[int, Sequence[np.ndarray]]) -> float | None:
    """Mean fraction of explainable variance explained, of one-frame trials [2, n]."""
    pairs = np.concatenate([np.stack(group) for group in pictures.values()])
    numbers = np.arange(len(pictures)).repeat([len(g) for g in pictures.values()])
    x, y = (pairs[:, i][None, :, None] for i in range(2))
    state = explained.zero(1, len(pictures), 1, pairs.shape[2])
    valid = np.ones((1, len(pairs), 1), bool)
    found = _explain(state, x, y, valid, numbers[None]).feve
    return float(found.mean) if int(found.neurons_m[0]) else None
