"""Signals at any rates are brought to the frames of the stimulus.

All times are in seconds on one clock. A value at a frame is one of

* linear: between the two samples around the frame's onset,
* nearest: the sample nearest to the onset,
* mean: the mean of the samples less than half a frame away from the onset; where there
  is none, linear,
* count, for events such as spikes: how many are less than half a frame away.

NaN counts as no sample. How far apart the samples were that a value comes from is
returned with the values, so that the caller can leave out what would be invented.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sensorium_jax.errors import UserError

METHODS = ("linear", "nearest", "mean")
COUNT = "count"
FASTER = 1.5  # samples per frame from which on their mean is taken
LOST = 1.5  # intervals; a longer one means that samples are missing
COLUMNS = 4096  # signals at a time where each has its own delay

Read = Callable[[int, int], np.ndarray]  # samples first to stop, time first


class Clock(NamedTuple):
    """When each of `count` samples was taken: steadily, or at times of their own."""

    count: int
    start: float = 0.0  # seconds
    rate: float = 0.0  # samples per second; where times are given, the usual rate
    times_t: np.ndarray | None = None

    def times(self, first: int, stop: int) -> np.ndarray:
        """Times of samples first to stop, in seconds."""
        if self.times_t is not None:
            return self.times_t[first:stop]
        return self.start + np.arange(first, stop) / self.rate

    def before(self, seconds: np.ndarray | float) -> np.ndarray:
        """The last sample at or before each time; -1 where there is none."""
        if self.times_t is not None:
            return np.searchsorted(self.times_t, seconds, side="right") - 1
        # A sample exactly at a time must not fall behind it by rounding.
        place = (np.asarray(seconds) - self.start) * self.rate + 1e-6
        return np.clip(np.floor(place), -1, self.count - 1).astype(np.int64)

    def around(self, begin: float, end: float) -> tuple[int, int]:
        """First and stop of the samples between two times, and one more either side."""
        first, last = (int(i) for i in self.before(np.array([begin, end])))
        return max(first, 0), min(last + 2, self.count)

    @property
    def span(self) -> tuple[float, float]:
        """Times of the first and the last sample."""
        return float(self.times(0, 1)[0]), float(
            self.times(self.count - 1, self.count)[0]
        )

    @property
    def interval(self) -> float:
        """The usual time between samples; none of a single sample."""
        return 1 / self.rate if self.rate else 0.0


def steady(count: int, rate: float, start: float = 0.0, *, name: str) -> Clock:
    """The clock of samples at a rate."""
    if not (np.isfinite(rate) and rate > 0 and np.isfinite(start)):
        raise UserError(
            f"{name} has {rate} samples per second from {start} s on. Expected a rate "
            "above 0 and a finite start; give the times of its samples instead."
        )
    return Clock(_some(count, name), float(start), float(rate))


def timed(times_t: np.ndarray, name: str) -> Clock:
    """The clock of samples with a time each, in seconds, in order."""
    times_t = np.asarray(times_t)
    if times_t.ndim != 1 or times_t.dtype.kind not in "fiu":
        raise UserError(
            f"The times of {name} have shape {times_t.shape} and type {times_t.dtype}. "
            "Expected one number per sample, in seconds."
        )
    _some(len(times_t), name)
    times_t = times_t.astype(np.float64, copy=False)
    if not np.isfinite(times_t).all():
        odd = int((~np.isfinite(times_t)).sum())
        raise UserError(
            f"{odd} of the {len(times_t)} times of {name} are NaN or infinite. Remove "
            "these samples and their times, or interpolate the times."
        )
    steps_t = np.diff(times_t)
    if (steps_t < 0).any():
        where = int(np.argmax(steps_t < 0))
        raise UserError(
            f"The times of {name} go back from {times_t[where]:.6g} to "
            f"{times_t[where + 1]:.6g} s at sample {where + 1}. Expected times that "
            "grow; sort the samples, or join parts that were recorded apart."
        )
    if len(times_t) > 1 and times_t[-1] == times_t[0]:
        raise UserError(f"All {len(times_t)} times of {name} are {times_t[0]:.6g} s.")
    return Clock(len(times_t), float(times_t[0]), _rate(steps_t), times_t)


def _some(count: int, name: str) -> int:
    if count < 1:
        raise UserError(f"{name} has no samples. Choose another, or leave it out.")
    return count


def _rate(steps_t: np.ndarray) -> float:
    """Samples per second where none is lost; steps are between neighbouring samples."""
    steps_t = steps_t[steps_t > 0]
    if not steps_t.size:
        return 0.0
    usual = steps_t[steps_t < LOST * np.median(steps_t)]
    return float(f"{1 / usual.mean():.9g}")


class Gaps(NamedTuple):
    """Where samples are missing: times of the samples before and after, in seconds."""

    begins_g: np.ndarray
    ends_g: np.ndarray


def gaps(clock: Clock) -> Gaps:
    """Where neighbouring samples are further apart than usual."""
    if clock.times_t is None or not clock.rate:
        return Gaps(np.empty(0), np.empty(0))
    wide = np.diff(clock.times_t) > LOST * clock.interval
    return Gaps(clock.times_t[:-1][wide], clock.times_t[1:][wide])


def method_for(interval: float, width: float) -> str:
    """The usual method for samples so far apart, for frames of a width in seconds."""
    return "mean" if interval and interval * FASTER < width else "linear"


def at_frames(
    clock: Clock,
    read: Read,
    onset_t: np.ndarray,
    width: float,
    method: str,
    *,
    longest: float,
    delay_n: np.ndarray | None = None,
    missing: bool = False,
) -> tuple[np.ndarray, float]:
    """Samples [s, n] at the onsets of frames [t], as [t, n] float32.

    Also returns how many seconds apart the samples are, at most, that a value comes
    from. No more than `longest` seconds around the frames are read, so a gap may be
    longer than what is returned, where that is above `longest`. delay_n: seconds after
    its sample's time that each signal was really measured. missing: a signal without
    any number from the first frame to the last is NaN in all of them, and no gap; where
    no signal has one, it is a gap of all.
    """
    late, early = (0.0, 0.0) if delay_n is None else (delay_n.max(), delay_n.min())
    reach = width / 2 + longest + clock.interval
    first, stop = clock.around(onset_t[0] - reach - late, onset_t[-1] + reach - early)
    times_s = clock.times(first, stop)
    samples_sn = np.asarray(read(first, stop), np.float32).reshape(len(times_s), -1)
    gone_n = np.zeros(samples_sn.shape[1], bool)
    if missing:
        here = (times_s >= onset_t[0] - late) & (times_s <= onset_t[-1] - early + width)
        gone_n = ~np.isfinite(samples_sn[here]).any(0) & here.any()
        gone_n &= not gone_n.all()
        samples_sn = np.where(gone_n, np.float32(0), samples_sn)
    samples_sn, apart_s = without_nan(samples_sn, times_s)
    if delay_n is not None:
        at = _delayed(samples_sn, times_s, apart_s, onset_t, delay_n, method)
    elif method == "mean":
        at = _mean(samples_sn, times_s, apart_s, onset_t, width)
    else:
        nearest = method == "nearest"
        at = _between(samples_sn, times_s, apart_s, onset_t, nearest=nearest)
    values_tn, apart = at
    values_tn[:, gone_n] = np.nan
    return values_tn, apart


def without_nan(
    samples_sn: np.ndarray, times_s: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """NaN replaced from the numbers before and after it, linearly in time.

    Also returns for every sample how far apart these were, in seconds, at most over
    signals: 0 where nothing was replaced, infinity where a signal has no number at all.
    """
    apart_s = np.zeros(len(times_s))
    bad_sn = ~np.isfinite(samples_sn)
    some_n = bad_sn.any(0)
    if not some_n.any():
        return samples_sn, apart_s
    bad_sk, x_sk = bad_sn[:, some_n], samples_sn[:, some_n]
    count = len(times_s)
    place_s1 = np.arange(count)[:, None]
    before_sk = np.maximum.accumulate(np.where(bad_sk, -1, place_s1), axis=0)
    after_sk = np.where(bad_sk, count, place_s1)[::-1]
    after_sk = np.minimum.accumulate(after_sk, axis=0)[::-1]
    # At either end the nearest number goes on.
    low_sk = np.where(before_sk < 0, after_sk, before_sk).clip(0, count - 1)
    high_sk = np.where(after_sk == count, before_sk, after_sk).clip(0, count - 1)
    span_sk = times_s[high_sk] - times_s[low_sk]
    weight_sk = (times_s[:, None] - times_s[low_sk]) / np.where(span_sk > 0, span_sk, 1)
    low, high = (np.take_along_axis(x_sk, i, 0) for i in (low_sk, high_sk))
    weight_sk = weight_sk.clip(0, 1).astype(np.float32)
    filled_sk = np.where(bad_sk, low + (high - low) * weight_sk, x_sk)
    ends = times_s[after_sk.clip(max=count - 1)] - times_s[before_sk.clip(min=0)]
    ends = np.where((before_sk < 0) & (after_sk == count), np.inf, ends)
    apart_s = np.where(bad_sk, ends, 0.0).max(1)
    filled_sn = samples_sn.copy()
    filled_sn[:, some_n] = filled_sk
    return filled_sn, apart_s


def _between(
    samples_sn: np.ndarray,
    times_s: np.ndarray,
    apart_s: np.ndarray,
    onset_t: np.ndarray,
    *,
    nearest: bool,
) -> tuple[np.ndarray, float]:
    """Values between two samples, or of the nearer one."""
    high_t = np.searchsorted(times_s, onset_t, side="right").clip(1, len(times_s) - 1)
    if len(times_s) == 1:
        high_t = np.zeros(len(onset_t), int)
    low_t = (high_t - 1).clip(0)
    step_t = times_s[high_t] - times_s[low_t]
    weight_t = (onset_t - times_s[low_t]) / np.where(step_t > 0, step_t, 1)
    weight_t = weight_t.clip(0, 1)
    if nearest:
        weight_t = np.round(weight_t)
    values_tn = samples_sn[low_t]
    if weight_t.any():
        more_tn = samples_sn[high_t]
        more_tn -= values_tn
        more_tn *= weight_t.astype(np.float32)[:, None]
        values_tn += more_tn
    within_t = np.where((weight_t > 0) & (weight_t < 1) | nearest, step_t, 0.0)
    apart_t = np.maximum(
        np.where(weight_t < 1, apart_s[low_t], 0.0),
        np.where(weight_t > 0, apart_s[high_t], 0.0),
    )
    return values_tn, float(max(within_t.max(), apart_t.max()))


def _mean(
    samples_sn: np.ndarray,
    times_s: np.ndarray,
    apart_s: np.ndarray,
    onset_t: np.ndarray,
    width: float,
) -> tuple[np.ndarray, float]:
    """Means of the samples around each onset."""
    edges = np.append(onset_t - width / 2, onset_t[-1] + width / 2)
    edge = np.searchsorted(times_s, edges, side="left")
    count_t = np.diff(edge)
    values_tn, apart = _between(samples_sn, times_s, apart_s, onset_t, nearest=False)
    some_t = count_t > 0
    if not some_t.any():
        return values_tn, apart
    # reduceat adds from each start to the next; what lies between bins is empty, since
    # one begins where the other ends.
    starts = edge[:-1][some_t]
    sums_tn = np.add.reduceat(samples_sn[: edge[-1]], starts, axis=0)
    values_tn[some_t] = sums_tn / count_t[some_t, None].astype(np.float32)
    used_s = apart_s[edge[0] : edge[-1]]
    return values_tn, max(apart, float(used_s.max(initial=0.0)))


def _delayed(
    samples_sn: np.ndarray,
    times_s: np.ndarray,
    apart_s: np.ndarray,
    onset_t: np.ndarray,
    delay_n: np.ndarray,
    method: str,
) -> tuple[np.ndarray, float]:
    """As between two samples, each signal at its own times."""
    values_tn = np.empty((len(onset_t), samples_sn.shape[1]), np.float32)
    widest = 0.0
    for begin in range(0, samples_sn.shape[1], COLUMNS):
        part = slice(begin, begin + COLUMNS)
        time_tk = onset_t[:, None] - delay_n[part]
        high_tk = np.searchsorted(times_s, time_tk, side="right")
        high_tk = high_tk.clip(min(1, len(times_s) - 1), len(times_s) - 1)
        low_tk = (high_tk - 1).clip(0)
        step_tk = times_s[high_tk] - times_s[low_tk]
        weight_tk = (time_tk - times_s[low_tk]) / np.where(step_tk > 0, step_tk, 1)
        weight_tk = weight_tk.clip(0, 1).astype(np.float32)
        if method == "nearest":
            weight_tk = np.round(weight_tk)
        low, high = (
            np.take_along_axis(samples_sn[:, part], i, 0) for i in (low_tk, high_tk)
        )
        values_tn[:, part] = low + (high - low) * weight_tk
        apart = max(step_tk.max(), apart_s[low_tk].max(), apart_s[high_tk].max())
        widest = max(widest, float(apart))
    return values_tn, widest


def counts(
    times_e: np.ndarray, ends_n: np.ndarray, onset_t: np.ndarray, width: float
) -> np.ndarray:
    """Events of every unit around each onset [t, n] float32.

    times_e holds one unit's times after the other's, in order; ends_n where each ends.
    """
    edges = np.append(onset_t - width / 2, onset_t[-1] + width / 2)
    counts_tn = np.empty((len(onset_t), len(ends_n)), np.float32)
    begin = 0
    for n, end in enumerate(ends_n):
        counts_tn[:, n] = np.diff(np.searchsorted(times_e[begin:end], edges))
        begin = end
    return counts_tn


def shown(clock: Clock, onset_t: np.ndarray, width: float) -> np.ndarray:
    """Which frame of a film was on the screen at each onset; the last one stays.

    A frame that comes up to half a frame late counts as on time, and one that was
    dropped is replaced by the one before it, as on the screen.
    """
    late = min(width, clock.interval or width) / 2
    return clock.before(onset_t + late).clip(0)


def onsets(clock: Clock, begin: float, frames: int, width: float) -> np.ndarray:
    """Evenly spaced onsets of a trial's frames that fit those of the film best.

    The first is that of the frame at `begin`, unless the film changes more rarely than
    the frames that are wanted. Where the film has the same rate, single late or early
    frames do not matter: the median of all decides.
    """
    grid_t = begin + np.arange(frames) * width
    if not clock.interval or clock.interval > LOST * width:
        return grid_t
    late = min(width, clock.interval) / 2
    first = int(clock.before(begin + late))
    if first < 0 or abs(clock.times(first, first + 1)[0] - begin) > late:
        return grid_t
    stop = int(clock.before(grid_t[-1] + late)) + 1
    off_f = (clock.times(first, stop) - begin) / width
    if abs(clock.interval / width - 1) > 0.01:
        return grid_t + off_f[0] * width
    return grid_t + float(np.median(off_f - np.round(off_f))) * width
