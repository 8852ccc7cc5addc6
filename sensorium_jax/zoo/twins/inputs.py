"""Whether stimuli are what a twin can answer: shapes, channels, no NaN."""

from typing import Any

import numpy as np
from jax.core import Tracer

from sensorium_jax.errors import UserError
from sensorium_jax.normalize import shrunk_shape

Array = Any
Shape = tuple[int, int, int]


def check_video(video_bthwc: Array, frame: Shape, scale: float, lost: int) -> float:
    """Refuse clips that the model cannot answer; returns the scale still to apply.

    Frames may come as recorded, or as small as the model sees them.
    """
    shape, channels = tuple(video_bthwc.shape), frame[2]
    if len(shape) != 5:
        raise UserError(
            f"The video has shape {shape}; expected [clips, frames, rows, columns, "
            f"channels] with {channels} channel(s)."
        )
    if shape[-1] != channels:
        raise UserError(
            f"The video has {shape[-1]} channels (shape {shape}); the model was made "
            f"for {channels}. Behavior and pupil are given beside the video, not in it."
        )
    if shape[1] <= lost:
        raise UserError(
            f"The video has {shape[1]} frames; the model needs at least {lost + 1}, as "
            f"its first answer comes after {lost}. Give longer clips."
        )
    small = shrunk_shape(*frame[:2], scale)
    if shape[2:4] not in (frame[:2], small):
        also = f", or {small[0]} x {small[1]} already shrunk" if scale != 1 else ""
        raise UserError(
            f"The video has frames of {shape[2]} x {shape[3]}; the model was made for "
            f"{frame[0]} x {frame[1]}{also}. Resample the video to that size."
        )
    check_finite(video_bthwc, "video")
    return scale if shape[2:4] == frame[:2] else 1.0


def check_signal(x: Array | None, what: str, shape: tuple[int, int, int]) -> None:
    """Refuse a signal of another shape, and NaN; None is fine."""
    if x is None:
        return
    if tuple(x.shape) != shape:
        raise UserError(
            f"The {what} has shape {tuple(x.shape)}, expected {shape}: clips and "
            f"frames like the video, {shape[-1]} signal(s)."
        )
    check_finite(x, what)


def check_finite(x: Array, what: str) -> None:
    """Refuse NaN and infinity, where there are values to look at yet."""
    if isinstance(x, Tracer) or not np.issubdtype(x.dtype, np.floating):
        return
    finite = np.isfinite(np.asarray(x))  # numpy: jnp would be traced under jit too
    if not finite.all():
        spoiled = np.argwhere(~finite)
        raise UserError(
            f"The {what} has {len(spoiled)} values that are NaN or infinite, the first "
            f"at index {tuple(spoiled[0].tolist())}. Cut the clip before the first NaN "
            "(recordings are padded with it), or fill the gap."
        )
