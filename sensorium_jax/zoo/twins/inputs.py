"""What a twin does to its inputs before the encoder: check, normalize, shrink."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from sensorium_jax.errors import UserError

Array = Any
SCALED = ("video", "behavior", "pupil")  # names in 'info' of {mean, std} rows


def check_video(video_bthwc: Array, channels: int, lost: int) -> None:
    """Refuse clips of another rank or channel count, too short ones, and NaN pixels."""
    shape = tuple(video_bthwc.shape)
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
    _check_finite(video_bthwc, "video")


def check_signal(x: Array | None, what: str, shape: tuple[int, int, int]) -> None:
    """Refuse a signal of another shape, and NaN; None is fine."""
    if x is None:
        return
    if tuple(x.shape) != shape:
        raise UserError(
            f"The {what} has shape {tuple(x.shape)}, expected {shape}: clips and "
            f"frames like the video, {shape[-1]} signal(s)."
        )
    _check_finite(x, what)


def _check_finite(x: Array, what: str) -> None:
    # While tracing there are no values to look at yet.
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


def normalize(
    x: Array | None,
    stats: Mapping[str, Array] | None,
    shape: tuple[int, ...],
    *,
    center: bool = True,
) -> jax.Array:
    """Divide by the std of each frame, after subtracting the mean with `center`.

    stats hold {mean, std} as [1, T or 1, ...], of frame 0 of a trial and on; without
    them x is taken as it is. None stands for the mean of the recording, or for zeros.
    """
    if x is None and (not stats or center):
        return jnp.zeros(shape, jnp.float32)
    if not stats:
        return jnp.asarray(x).astype(jnp.float32)
    at = np.arange(shape[1])
    mean, std = (
        stats[k][:, np.minimum(at, stats[k].shape[1] - 1)] for k in ("mean", "std")
    )
    if x is None:
        return jnp.broadcast_to(mean / std, shape)
    x = jnp.asarray(x).astype(jnp.float32)
    return (x - mean) / std if center else x / std


def shrink(video_bthwc: jax.Array, scale: float) -> jax.Array:
    """The middle of each block of pixels, as the official chain shrinks by 1 / k."""
    if scale == 1:
        return video_bthwc
    k = round(1 / scale)
    spots = (k // 2,) if k % 2 else (k // 2 - 1, k // 2)
    parts = [video_bthwc[:, :, i::k, j::k] for i in spots for j in spots]
    return sum(parts[1:], parts[0]) / len(parts)
