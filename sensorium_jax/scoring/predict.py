"""From a model that answers clips to rates of whole trials, in constant memory.

A model may lose leading frames: what it returns belongs to the last frames of what it
was given. So does every prediction here.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple, Protocol

import numpy as np

from sensorium_jax.errors import UserError, unknown

Array = Any
Respond = Callable[[Array, Array, Array], Array]  # btHWC, btK, bt2 -> btn
MODES = ("whole", "window")
BLENDS = ("uniform", "last")


class Watched(Protocol):
    """One trial: axes.Trial, or anything with these fields, time first."""

    video_thwc: Array
    behavior_tk: Array
    pupil_t2: Array


class Prediction(NamedTuple):
    """Rates of the frames start, start + 1, ... to the last of one trial."""

    rates_tn: np.ndarray
    start: int


def predict(
    respond: Respond,
    trials: Iterable[Watched],
    *,
    mode: str = "whole",
    batch: int = 1,
    bucket: int = 20,
    window: int = 16,
    stride: int = 1,
    hop: int = 1,
    blend: str = "uniform",
) -> Iterator[Prediction]:
    """The prediction of every trial of one mouse, in order, as they are computed.

    "whole" gives the model whole trials, `batch` at a time, lengthened at the end to a
    multiple of `bucket` frames (shorter ones, as pictures, stay as they are) so that
    few lengths are compiled. Frames that follow must then not change a rate, which
    holds for unpadded convolutions and recurrences; for other models set bucket to 1.

    "window" gives it `window` frames, `stride` apart, beginning every `hop` frames,
    `batch` windows at a time. Where windows overlap, "uniform" averages them with equal
    weights (DwiseNeuro: 16 frames, stride 2, hop 1), "last" lets each window speak for
    its newest `hop` frames only (Dynamic-V1FM: 30 frames, hop 15).
    """
    if mode not in MODES:
        raise unknown("mode of prediction", mode, MODES)
    if blend not in BLENDS:
        raise unknown("blend", blend, BLENDS)
    sizes = {"batch": batch, "bucket": bucket, "window": window}
    for name, size in (sizes | {"stride": stride, "hop": hop}).items():
        if size < 1:
            raise UserError(f"{name} is {size}; expected at least 1.")
    if mode == "whole":
        return _whole(respond, iter(trials), batch, bucket)
    plan = _Plan(window, stride, hop, blend)
    return (_windows(respond, trial, batch, plan) for trial in trials)


def _whole(
    respond: Respond, trials: Iterator[Watched], batch: int, bucket: int
) -> Iterator[Prediction]:
    while group := list(islice(trials, batch)):
        lengths = [len(t.video_thwc) for t in group]
        longest = max(lengths)
        frames = longest if longest < bucket else -(-longest // bucket) * bucket
        rows = group + group[-1:] * (batch - len(group))
        clips = (
            np.stack([_lengthen(x, frames) for x in column])
            for column in _columns(rows)
        )
        rates_btn = np.asarray(respond(*clips))
        lost = frames - rates_btn.shape[1]
        for length, rates_tn in zip(lengths, rates_btn, strict=False):
            if length <= lost:
                raise UserError(
                    f"A trial has {length} frames and the model loses {lost}; expected "
                    f"at least {lost + 1}. Leave such trials out."
                )
            yield Prediction(rates_tn[: length - lost].copy(), lost)


def _columns(trials: Sequence[Watched]) -> list[list[np.ndarray]]:
    return [
        [np.asarray(getattr(t, name)) for t in trials]
        for name in ("video_thwc", "behavior_tk", "pupil_t2")
    ]


def _lengthen(x: np.ndarray, frames: int) -> np.ndarray:
    """Repeat the last frame until there are `frames`."""
    return np.concatenate([x, np.repeat(x[-1:], frames - len(x), axis=0)])


class _Plan(NamedTuple):
    """Which frames of a trial each window sees."""

    window: int
    stride: int
    hop: int
    blend: str

    @property
    def span(self) -> int:
        """Frames from a window's first to its last."""
        return (self.window - 1) * self.stride + 1

    def frames(self, length: int) -> np.ndarray:
        """Frame numbers [windows, window]; the last window ends with the trial."""
        if length < self.span:
            raise UserError(
                f"A trial has {length} frames, a window spans {self.span}. Expected "
                "longer trials: choose a smaller window or stride, or mode='whole'."
            )
        last = length - self.span
        starts = np.arange(0, last + 1, self.hop)
        # The neighbours of the first and the last window too, so that a stride leaves
        # no frame out at either end.
        ends = np.arange(min(self.stride, last + 1))
        starts = np.union1d(starts, np.concatenate([ends, last - ends]))
        return starts[:, None] + np.arange(self.window) * self.stride


def _windows(respond: Respond, trial: Watched, batch: int, plan: _Plan) -> Prediction:
    length = len(trial.video_thwc)
    seen = plan.frames(length)
    columns = [column[0] for column in _columns([trial])]
    total_tn: np.ndarray | None = None
    count_t = np.zeros(length, np.int32)
    for first in range(0, len(seen), batch):
        part = seen[first : first + batch]
        rows = np.concatenate([part, np.repeat(part[-1:], batch - len(part), axis=0)])
        rates_btn = np.asarray(respond(*(x[rows] for x in columns)))
        if total_tn is None:
            total_tn = np.zeros((length, rates_btn.shape[2]), np.float32)
        for frames, rates_tn in zip(part, rates_btn, strict=False):
            keep = len(rates_tn)
            if plan.blend == "last":
                # Nobody but the first window can speak for the frames before its end.
                keep = (
                    keep if frames[0] == 0 else min(keep, -(-plan.hop // plan.stride))
                )
            at = frames[len(frames) - keep :]
            if plan.blend == "last":
                total_tn[at], count_t[at] = rates_tn[-keep:], 1
            else:
                total_tn[at] += rates_tn[-keep:]
                count_t[at] += 1
    return _blended(total_tn, count_t, plan)


def _blended(total_tn: Any, count_t: np.ndarray, plan: _Plan) -> Prediction:
    start = int(np.argmax(count_t > 0))
    if not count_t[start:].all():
        missing = start + int(np.argmin(count_t[start:]))
        raise UserError(
            f"No window answers for frame {missing}: a hop of {plan.hop} leaves gaps "
            f"between windows of {plan.window} frames {plan.stride} apart. Choose a "
            "smaller hop, without a common factor with the stride."
        )
    return Prediction(total_tn[start:] / count_t[start:, None], start)
