"""The judges' normalization and its inverse, on numpy arrays and under jit alike.

Statistics have frames as their first axis, one row for all frames or a row for each,
and come from data.statistics. Only operators and methods are used, so that jax arrays
pass through and nothing here needs jax.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sensorium_jax.errors import UserError

Array = Any
FLOOR = 0.01  # responses with less than 1 % of the mean std are divided by that instead
JUDGED = "per_frame"  # the units that the judges compare in
SCALINGS = (JUDGED, "per_neuron")  # of responses, and so of the rates that learn them
RAW = "raw"  # responses as recorded
UNITS = (*SCALINGS, RAW)  # in which a model may answer
INPUTS = ("normalized", "minmax", "raw")  # what a model is given of video and signals


def at_frames(stats_t: Array, frames: slice | Array) -> Array:
    """Statistics of these frames of a trial, [..., t or 1, ...]; one row serves all.

    frames is a slice, or an array of frame numbers of any shape, whose axes then take
    the place of the first. Frames beyond the last row take the last.
    """
    if isinstance(frames, slice):
        return stats_t if len(stats_t) == 1 else stats_t[frames]
    if len(stats_t) == 1:
        return stats_t.reshape((1,) * frames.ndim + stats_t.shape[1:])
    return stats_t[frames.clip(0, len(stats_t) - 1)]


def standardize(x: Array, mean: Array, std: Array) -> Array:
    """(x - mean) / std: grey levels, and the pupil's center.

    Nothing is subtracted from behavior in the official chain: its mean is given as 0.
    """
    return (x - mean) / std


def restore(x: Array, mean: Array, std: Array) -> Array:
    """Inverse of standardize."""
    return x * std + mean


def scale_responses(responses: Array, precision: Array) -> Array:
    """Multiply by the precision; no mean is subtracted, rates stay positive."""
    return responses * precision


def restore_responses(responses: Array, precision: Array) -> Array:
    """Inverse of scale_responses: back to raw response units."""
    return responses / precision


def response_precision(std: Array, mode: str = JUDGED) -> Array:
    """What responses are multiplied by, from their std [n] or [t, n].

    "per_frame" is the judges' choice: each frame of a trial has its own factor where
    the release gives std per frame. "per_neuron" pools the frames into one factor. In
    both, a std under 1 % of the mean std (NaN left out), or a NaN, counts as that 1 %.
    """
    xp = std.__array_namespace__()
    if mode not in SCALINGS:
        raise UserError(f"Response scaling '{mode}'. Known: {', '.join(SCALINGS)}.")
    if mode == "per_neuron" and std.ndim == 2:
        std = xp.sqrt(xp.nanmean(std * std, axis=0))
    floor = FLOOR * xp.nanmean(std)
    floor = xp.where(floor > 0, floor, 1.0)  # nobody fires: nothing to divide by
    return 1 / xp.where(std > floor, std, floor)


def judged(x_tn: Array, precision_tn: Array, start: int) -> Array:
    """Raw responses or rates of a whole trial in the judges' units, from a frame on."""
    return x_tn[start:] * at_frames(precision_tn, np.arange(start, len(x_tn)))


def shrunk_shape(height: int, width: int, scale: float) -> tuple[int, int]:
    """Rows and columns after shrink; a scale that does not divide is an error."""
    k = round(1 / scale) if scale else 0
    if k < 1 or abs(k * scale - 1) > 1e-6 or height % k or width % k:
        raise UserError(
            f"Scale {scale} of frames {height} x {width}: expected 1, 1/2, 1/3, ... "
            "dividing both; choose another scale, such as --config.data.scale=1."
        )
    return height // k, width // k


def shrink(video: Array, scale: float) -> Array:
    """Shrink [..., h, w, c] as the official chain does: bilinear, without smoothing.

    For scale 1/k the k by k block gives its middle: the mean of the four central pixels
    for even k (0.25 of 2022: 144 x 256 to 36 x 64), the central pixel for odd k.
    """
    if scale == 1:
        return video
    height, width = video.shape[-3:-1]
    shrunk_shape(height, width, scale)
    k = round(1 / scale)
    spots = (k // 2,) if k % 2 else (k // 2 - 1, k // 2)
    parts = [video[..., i::k, j::k, :] for i in spots for j in spots]
    return sum(part * np.float32(1 / len(parts)) for part in parts)


def on_canvas(video: Array, canvas: tuple[int, int] | None) -> Array:
    """The frame [..., h, w, c] in the middle of a canvas of zeros, rows by columns."""
    if canvas is None:
        return video
    xp = video.__array_namespace__()
    height, width = video.shape[-3:-1]
    if height > canvas[0] or width > canvas[1]:
        raise UserError(
            f"Frames of {height} x {width} do not fit a canvas of {canvas[0]} x "
            f"{canvas[1]}. Choose a larger canvas or a smaller scale."
        )
    edges = [(0, 0)] * video.ndim
    for axis, (size, room) in enumerate(((height, canvas[0]), (width, canvas[1]))):
        before = (room - size) // 2
        edges[video.ndim - 3 + axis] = (before, room - size - before)
    return xp.pad(video, edges)


def seen_shape(
    frame: tuple[int, int, int], scale: float, canvas: tuple[int, int] | None = None
) -> tuple[int, int, int]:
    """Rows, columns and channels of a recorded frame as its core sees it."""
    return (*(canvas or shrunk_shape(*frame[:2], scale)), frame[2])


def prepare(
    video: Array,
    statistics: Mapping[str, Array],
    frames: Array,
    *,
    scale: float = 1.0,
    canvas: tuple[int, int] | None = None,
) -> Array:
    """Video [b, t, h, w, c] of one mouse as its core sees it.

    statistics {mean, std} are [T or 1, h or 1, w or 1, c]; frames [b, t] are the frame
    numbers within each trial.
    """
    mean, std = (at_frames(statistics[k], frames) for k in ("mean", "std"))
    return on_canvas(shrink(standardize(video, mean, std), scale), canvas)
