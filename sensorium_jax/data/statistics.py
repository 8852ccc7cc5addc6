"""Which of a session's stored statistics apply, in the smallest shape that holds them.

Inputs are given to a model "normalized" as the judges do, "minmax" (0 to 1 over the
training trials), or "raw". Mean and std here are such that (x - mean) / std is what a
model of those inputs sees.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sensorium_jax.data.session import BEHAVIOR, PUPIL, RESPONSES, VIDEO, Session, Stats
from sensorium_jax.errors import UserError, unknown
from sensorium_jax.normalize import INPUTS, JUDGED, RAW, response_precision

SAME = 1e-6  # relative spread under which stored values count as one value


class VideoStats(NamedTuple):
    """What grey levels are normalized by, stacked over mice for the step.

    The axes T, H and W have size 1 unless the release really differs along them.
    """

    mean_mthwc: np.ndarray
    std_mthwc: np.ndarray


class RowStats(NamedTuple):
    """How behavior or pupil is normalized; T is 1 unless it differs per frame."""

    mean_tk: np.ndarray  # what is subtracted: nothing from behavior, officially
    std_tk: np.ndarray
    usual_tk: np.ndarray  # as recorded, its mean over the training trials


def collapse(x: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """Shrink each axis along which x is constant to size 1; NaN matches everything."""
    for axis in axes:
        if x.shape[axis] == 1:
            continue
        empty = np.isnan(x).all(axis, keepdims=True)
        filled = np.where(empty, 0, x)
        low = np.nanmin(filled, axis=axis, keepdims=True)
        high = np.nanmax(filled, axis=axis, keepdims=True)
        if np.all(high - low <= SAME * np.maximum(np.abs(low), np.abs(high))):
            x = np.where(empty, np.nan, low)
    return x


def _safe(mean: np.ndarray, std: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where no trial had a value, or all the same, there is nothing to divide by."""
    mean, std = np.asarray(mean, np.float32), np.asarray(std, np.float32)
    mean = np.where(np.isfinite(mean), mean, np.float32(0))
    return mean, np.where(np.isfinite(std) & (std > 0), std, np.float32(1))


def _video_thwc(x: np.ndarray, channels: int) -> np.ndarray:
    x = np.asarray(x, np.float32)
    x_thwc = x.reshape((1,) * (4 - x.ndim) + x.shape)
    x_thwc = np.broadcast_to(x_thwc, (*x_thwc.shape[:3], channels))
    return collapse(x_thwc, (0, 1, 2))


def _check(inputs: str) -> None:
    if inputs not in INPUTS:
        raise unknown("inputs", inputs, INPUTS)


def _pair(session: Session, what: str, inputs: str) -> tuple[np.ndarray, np.ndarray]:
    """Stored mean and std, or what takes their place, in the stored shapes."""
    if inputs == "raw":
        return np.zeros(1, np.float32), np.ones(1, np.float32)
    stored: Stats = session.statistics[what]
    if inputs == "normalized":
        return stored.mean, stored.std
    if stored.min is None or stored.max is None:
        raise UserError(
            f"{session.where} has no min and max of {what} in its statistics, which "
            "min-max inputs need. Write min.npy and max.npy over the training trials "
            "beside mean.npy, or take normalized or raw inputs."
        )
    return stored.min, np.asarray(stored.max) - np.asarray(stored.min)


def video_stats(sessions: Sequence[Session], inputs: str = "normalized") -> VideoStats:
    """Grey level statistics of several mice; all get the largest T, H and W needed."""
    _check(inputs)
    pairs = []
    for s in sessions:
        channels = 1 if inputs == "raw" else s.frame_shape[2]
        pair = (_video_thwc(x, channels) for x in _pair(s, VIDEO, inputs))
        pairs.append(_safe(*pair))
    frames = max(x.shape[0] for pair in pairs for x in pair)
    pairs = [[_lengthen(x, frames) for x in pair] for pair in pairs]
    shape = np.broadcast_shapes(*(x.shape for pair in pairs for x in pair))
    mean, std = (
        np.stack([np.broadcast_to(x, shape) for x in p])
        for p in zip(*pairs, strict=True)
    )
    return VideoStats(mean, std)


def _lengthen(x_t: np.ndarray, frames: int) -> np.ndarray:
    """Repeat the last frame, for mice whose statistics are shorter than others'."""
    if len(x_t) in (1, frames):
        return x_t
    return np.concatenate([x_t, np.repeat(x_t[-1:], frames - len(x_t), axis=0)])


def row_stats(session: Session, what: str, inputs: str = "normalized") -> RowStats:
    """Statistics of behavior or pupil of one mouse."""
    _check(inputs)
    size = {BEHAVIOR: session.behaviors, PUPIL: 2}[what]
    if not session.has(what):
        none = np.zeros((1, size), np.float32)
        return RowStats(none, none + 1, none)
    usual, _ = _safe(_rows(session.statistics[what].mean, size), np.ones(1))
    mean, std = _safe(*(_rows(x, size) for x in _pair(session, what, inputs)))
    if what == BEHAVIOR and inputs == "normalized":
        mean = np.zeros_like(mean[:1])
    return RowStats(mean, std, usual)


def stacked_rows(
    sessions: Sequence[Session], what: str, mice: int, inputs: str = "normalized"
) -> dict[str, np.ndarray]:
    """How a signal is normalized, {mean, std, usual} of [mice, T or 1, size].

    Mice that lack the signal, or only fill a mesh, get mean 0 and std 1.
    """
    each = [row_stats(s, what, inputs) for s in sessions]
    frames = max(len(x) for rows in each for x in rows)
    size = max(rows.std_tk.shape[1] for rows in each)
    stacked = {
        name: np.full((mice, frames, size), float(name == "std"), np.float32)
        for name in ("mean", "std", "usual")
    }
    for m, rows in enumerate(each):
        for out, x_tk in zip(stacked.values(), rows, strict=True):
            out[m, :, : x_tk.shape[1]] = _lengthen(x_tk, frames)
    return stacked


def _rows(x: np.ndarray, size: int) -> np.ndarray:
    x = np.asarray(x, np.float32)
    x_tk = x.reshape((1,) * (2 - x.ndim) + x.shape)
    return collapse(np.broadcast_to(x_tk, (len(x_tk), size)), (0,))


def precision(session: Session, mode: str = JUDGED) -> np.ndarray:
    """What a mouse's responses are multiplied by, [t or 1, n]; float32.

    The 1 % floor comes from every neuron and frame, so cut frames or neurons after.
    In mode "raw" they stay as recorded.
    """
    if mode == RAW:
        return np.ones((1, session.neurons), np.float32)
    std = np.asarray(session.statistics[RESPONSES].std, np.float64)
    if std.ndim < 2:
        std = np.broadcast_to(std, (session.neurons,))
    precision_tn = np.atleast_2d(response_precision(std, mode)).astype(np.float32)
    precision_tn = np.broadcast_to(precision_tn, (len(precision_tn), session.neurons))
    return collapse(precision_tn, (0,))


def to_judged(session: Session, units: str) -> np.ndarray:
    """What rates in these units are multiplied by to be the judges'."""
    return precision(session, JUDGED) / precision(session, units)


def mean_rates(session: Session, mode: str = JUDGED) -> np.ndarray:
    """Mean response of every neuron in normalized units, [n]."""
    mean = np.asarray(session.statistics[RESPONSES].mean, np.float32)
    mean_tn = np.broadcast_to(mean, (*mean.shape[:-1], session.neurons))
    rates_tn = np.atleast_2d(mean_tn) * precision(session, mode)
    there = np.isfinite(rates_tn)
    total = np.where(there, rates_tn, 0).sum(0)
    return (total / np.maximum(there.sum(0), 1)).astype(np.float32)
