"""Official normalization and its inverse, on numpy arrays and under jit alike.

Statistics broadcast from the right and come from data.stats, cut to the same frames as
the data. Only operators and methods are used, so that jax arrays pass through.
"""

from typing import Any

import numpy as np

from sensorium_jax.errors import UserError

Array = Any
FLOOR = 0.01  # responses with less than 1 % of the mean std are divided by that instead
SCALINGS = ("per_frame", "per_neuron")


def normalize_video(video: Array, mean: Array, std: Array) -> Array:
    """Z-score grey levels."""
    return (video - mean) / std


def restore_video(video: Array, mean: Array, std: Array) -> Array:
    """Inverse of normalize_video."""
    return video * std + mean


def normalize_behavior(behavior: Array, std: Array) -> Array:
    """Divide by the std; the official chain does not subtract the mean."""
    return behavior / std


def restore_behavior(behavior: Array, std: Array) -> Array:
    """Inverse of normalize_behavior."""
    return behavior * std


def normalize_pupil(pupil: Array, mean: Array, std: Array) -> Array:
    """Z-score the pupil's center."""
    return (pupil - mean) / std


def restore_pupil(pupil: Array, mean: Array, std: Array) -> Array:
    """Inverse of normalize_pupil."""
    return pupil * std + mean


def normalize_responses(responses: Array, precision: Array) -> Array:
    """Multiply by the precision; no mean is subtracted, rates stay positive."""
    return responses * precision


def restore_responses(responses: Array, precision: Array) -> Array:
    """Inverse of normalize_responses: back to raw response units."""
    return responses / precision


def normalize_trial_index(index: Array, trials: int) -> Array:
    """Z-score a trial's number over all trials, as an input that shows drift."""
    return (index - (trials - 1) / 2) / ((trials * trials - 1) / 12) ** 0.5


def response_precision(std: Array, mode: str = "per_frame") -> Array:
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


def rescale(video: Array, scale: float) -> Array:
    """Shrink [..., h, w, c] as the official chain does: bilinear, without smoothing.

    For scale 1/k the k by k block gives its middle: the mean of the four central pixels
    for even k (0.25 of 2022: 144 x 256 to 36 x 64), the central pixel for odd k.
    """
    if scale == 1:
        return video
    k = round(1 / scale) if scale else 0
    height, width = video.shape[-3:-1]
    if k < 1 or abs(k * scale - 1) > 1e-6 or height % k or width % k:
        raise UserError(
            f"Scale {scale} of frames {height} x {width}: expected 1, 1/2, 1/3, ... "
            "dividing both; choose another scale."
        )
    spots = (k // 2,) if k % 2 else (k // 2 - 1, k // 2)
    parts = [video[..., i::k, j::k, :] for i in spots for j in spots]
    return sum(part * np.float32(1 / len(parts)) for part in parts)


def at_frames(stats_mt: Array, frame_mbt: Array) -> Array:
    """Statistics of each mouse for the frames of a batch, [m, b or 1, t or 1, ...].

    stats_mt has mice and frames as first axes; one frame stands for all of them.
    """
    frames = stats_mt.shape[1]
    if frames == 1:
        return stats_mt[:, None]
    rows = np.arange(len(stats_mt))[:, None, None]
    return stats_mt[rows, frame_mbt.clip(0, frames - 1)]
