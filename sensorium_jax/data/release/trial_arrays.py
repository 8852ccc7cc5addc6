"""One trial as it is given: axes left out, values refused, gaps filled, negatives."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax.data.session import BEHAVIOR, PUPIL, RESPONSES
from sensorium_jax.errors import UserError, unknown

REFUSE, KEEP, CLIP = NEGATIVES = ("refuse", "keep", "clip")
ROUNDING = 1e-6  # of the largest response, and at least: smaller negatives are zeros
FILLED = (BEHAVIOR, PUPIL)  # gaps of these may be interpolated
PER_TRIAL = ("[t, h, w] or [t, h, w, c]", "[h, w] or [h, w, c]")  # of films, pictures


class Changes(NamedTuple):
    """What was changed in one modality of one trial."""

    values: int  # changed
    of: int  # all of them
    longest: int = 0  # frames of the longest gap that was filled


def channels(video: Any, *, pictures: bool = False) -> np.ndarray:
    """A video with its axes of time and channels: [t, h, w] becomes [t, h, w, 1].

    pictures: [h, w] and [h, w, c] are one frame, and so is [1, h, w].
    """
    video = np.asarray(video)
    if pictures and (video.ndim == 2 or (video.ndim == 3 and len(video) != 1)):
        video = video[None]
    if video.ndim not in (3, 4) or not video.size or video.dtype.kind not in "biuf":
        hint = " For a stack of pictures give pictures=True." * (not pictures)
        raise UserError(
            f"{'A picture' if pictures else 'A video'} has shape {video.shape}, "
            f"expected {PER_TRIAL[pictures]}, of numbers ({video.dtype} was given) and "
            f"no axis empty.{hint}"
        )
    return video if video.ndim == 4 else video[..., None]


def signals(trials: Sequence[Any] | None, trial: int, frames: int) -> Any:
    """One trial's [t, n]; [n] of a picture and [t] of one signal get their axis."""
    if trials is None:
        return None
    row = np.asarray(trials[trial])
    flat = row.ndim < 2 and row.size > 0 and (frames == 1 or row.size == frames)
    return row.reshape(frames, -1) if flat else row


def neurons(responses: Sequence[Any], frames: int) -> int:
    """How many neurons the first trial has, of so many frames."""
    row = signals(responses, 0, frames)
    if row.ndim == 2 and len(row) == frames and row.size:
        return row.shape[1]
    turned = row.ndim == 2 and row.shape[1] == frames
    hint = "Transpose them." if turned else "Resample them to the frames of the video."
    raise UserError(
        f"The responses of trial 0 have shape {row.shape}, its video has {frames} "
        f"frames. Expected [{frames}, neurons], time first. {hint}"
    )


def check_shapes(
    where: str, arrays: Mapping[str, np.ndarray], sizes: Mapping[str, tuple[int, ...]]
) -> None:
    """Refuse arrays of other frames than the video, or of other sizes."""
    frames = len(arrays["video"])
    for name, x in arrays.items():
        expected = (frames, *sizes.get(name, x.shape[1:]))
        if x.shape != expected:
            raise UserError(
                f"{where}: {name} has shape {x.shape}, expected {expected}, time "
                "first. Transpose or resample it, or open the writer with other "
                "neurons or frame_shape."
            )


def unanswered(where: str, x_tn: np.ndarray) -> np.ndarray:
    """Neurons [n] that are NaN in the whole trial; in a part of it they are refused."""
    if x_tn.dtype.kind != "f" or x_tn.ndim != 2:
        return np.zeros(x_tn.shape[-1:], bool)
    odd_tn = np.isnan(x_tn)
    if not odd_tn.any():
        return np.zeros(x_tn.shape[1], bool)
    gone_n = odd_tn.sum(0)
    some = np.flatnonzero((gone_n > 0) & (gone_n < len(x_tn)))
    if some.size:
        more = f", and {some.size - 1} more neurons in some" if some.size > 1 else ""
        raise UserError(
            f"{where}: responses holds a NaN of neuron {some[0]} in {gone_n[some[0]]} "
            f"of {len(x_tn)} frames{more}. Expected a number in every frame, or NaN in "
            "every frame where a neuron was not recorded in the trial, which leaves it "
            "out there. Fill the frames, make the whole trial NaN for the neuron, cut "
            "the trial, or leave out the neuron."
        )
    return gone_n > 0


def check_numbers(where: str, name: str, x: np.ndarray) -> None:
    """Refuse NaN, which would end the trial there, and infinity."""
    if x.dtype.kind not in "biuf":
        raise UserError(f"{where}: {name} holds {x.dtype}, expected numbers.")
    if x.dtype.kind != "f" or np.isfinite(x).all():
        return
    remedy = "Cut the trial, or leave out the neuron."
    if name in FILLED:
        remedy = (
            "Give fill_gaps=True, which interpolates it in time (blinks), or cut the "
            "trial, or leave out the signal."
        )
    elif name != RESPONSES:
        remedy = "Cut the trial."
    odd = "a NaN, which would end the trial there" if np.isnan(x).any() else "infinity"
    raise UserError(f"{where}: {name} holds {odd}. {remedy}")


def check_negative(word: str) -> None:
    """Refuse other words than there are for negative responses."""
    if word not in NEGATIVES:
        raise unknown("choice for negative", word, NEGATIVES)


def negatives(x: np.ndarray) -> tuple[int, float]:
    """How many responses are below zero by more than rounding, and the lowest."""
    if not x.size:
        return 0, 0.0
    low = float(x.min())
    if low >= -ROUNDING * max(1.0, float(x.max())):
        return 0, low
    return int((x < 0).sum()), low


def refuse_negative(where: str, share: float, low: float) -> UserError:
    """The error for negative responses, with the ways to go on."""
    return UserError(
        f"{where}: {share:.2g} of the responses are negative, down to {low:.4g}. "
        "Models answer with rates of zero or more, and the Poisson loss needs such "
        "responses. Of dF/F take the deconvolved traces, or subtract a low "
        "percentile of each neuron and give negative='clip', which makes the rest 0. "
        "negative='keep' stores all as they are; train then with the loss 'mse'."
    )


def fill_gaps(where: str, name: str, x_tk: np.ndarray) -> tuple[np.ndarray, Changes]:
    """NaN interpolated linearly in time, column by column; the ends are held."""
    gone_tk = np.isnan(x_tk)
    if not gone_tk.any():
        return x_tk, Changes(0, x_tk.size)
    times_t = np.arange(len(x_tk))
    filled_tk, longest = x_tk.copy(), 0
    for k in np.flatnonzero(gone_tk.any(0)):
        gone_t = gone_tk[:, k]
        if gone_t.all():
            raise UserError(
                f"{where}: {name} holds nothing but NaN in column {k}, so there is "
                "nothing to interpolate from. Leave out the trial or the signal, or "
                "fill it yourself, with its mean over the other trials for example."
            )
        there = times_t[~gone_t]
        filled_tk[gone_t, k] = np.interp(times_t[gone_t], there, x_tk[there, k])
        edges = np.concatenate([[-1], there, [len(x_tk)]])
        longest = max(longest, int(np.diff(edges).max()) - 1)
    return filled_tk, Changes(int(gone_tk.sum()), x_tk.size, longest)


def check_values(
    responses: Sequence[Any],
    behavior: Sequence[Any] | None,
    pupil: Sequence[Any] | None,
    *,
    fill: bool,
    negative: str,
    hidden: Sequence[bool],
    films: bool,
) -> None:
    """Refuse NaN and negative responses of any trial, before anything is written.

    Responses of hidden trials are not stored, so they may be negative. Those of a
    neuron that is NaN in a whole trial are missing there.
    """
    below, count, lowest = 0, 0, 0.0
    for i, kept_back in enumerate(hidden):
        row = np.asarray(responses[i])
        if row.ndim < 2:  # the frames of one neuron, or the neurons of one picture
            row = row.reshape((-1, 1) if films else (1, -1))
        gone_n = unanswered(f"Trial {i}", row)
        row = np.where(gone_n, 0, row) if gone_n.any() else row
        check_numbers(f"Trial {i}", RESPONSES, row)
        if not kept_back:
            some, low = negatives(row)
            below, count, lowest = below + some, count + row.size, min(lowest, low)
        for name, given in ((BEHAVIOR, behavior), (PUPIL, pupil)):
            if given is not None and not fill:
                check_numbers(f"Trial {i}", name, np.asarray(given[i]))
    if below and negative == REFUSE:
        raise refuse_negative("The recording", below / count, lowest)


def check_counts(given: Mapping[str, Any]) -> None:
    """Refuse empty lists, and lists of which one has more trials than another."""
    lengths = {}
    for name, trials in given.items():
        if trials is None:
            continue
        try:
            lengths[name] = len(trials)
        except TypeError:
            raise UserError(
                f"{name} is {type(trials).__name__}, which has no length. Expected a "
                "list with one entry per trial. SessionWriter takes trials one by one."
            ) from None
    empty = [name for name, count in lengths.items() if not count]
    if len(empty) == len(lengths):
        raise UserError(
            f"There are no trials: {' and '.join(empty)} are empty. Give one video and "
            "one array of responses for every trial."
        )
    if empty:
        raise UserError(
            f"{empty[0]} is empty, but the recording has {max(lengths.values())} "
            "trials. Expected as many of each, one per trial; behavior, pupil and "
            "tiers may be left out."
        )
    if len(set(lengths.values())) != 1:
        raise UserError(f"Expected as many of each, one per trial, found {lengths}.")
