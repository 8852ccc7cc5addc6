"""Unrolling frames into columns of taps, and adding columns back to where they were.

Every geometry here is over all three axes (Geometry.whole).
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from sensorium_jax.models.ops.geometry import Geometry

Array = Any


def dot(a: Array, b: Array) -> Array:
    """Product whose sums are float32."""
    return jnp.matmul(a, b, preferred_element_type=jnp.float32)


def kernel_rows(geometry: Geometry, ho: int) -> list[slice]:
    """Where each row of a kernel finds its ho rows of a padded frame."""
    taps, stride, _, dilation = (values[1] for values in geometry)
    starts = (i * dilation for i in range(taps))
    return [slice(i, i + (ho - 1) * stride + 1, stride) for i in starts]


def unroll_columns(geometry: Geometry, x: Array, wo: int) -> Array:
    """[T, H, W, C] to [T, H + padding, W', kw*C]."""
    (_, _, kw), (_, _, sw), (_, ph, pw), (_, _, ew) = geometry
    x = jnp.pad(x, ((0, 0), (ph, ph), (pw, pw), (0, 0)))
    cols = [slice(j * ew, j * ew + (wo - 1) * sw + 1, sw) for j in range(kw)]
    return jnp.concatenate([x[:, :, c] for c in cols], -1)


def unroll_space(geometry: Geometry, x: Array, ho: int, wo: int) -> Array:
    """[T, H, W, C] to [T, H', W', kh*kw*C]."""
    # Columns first, then rows: kh + kw copies of long runs instead of kh * kw.
    x = unroll_columns(geometry, x, wo)
    return jnp.concatenate([x[:, r] for r in kernel_rows(geometry, ho)], -1)


def roll_space(geometry: Geometry, y: Array, shape) -> Array:
    """Add unrolled columns back where they came from; inverse axes of unroll_space."""
    (_, kh, kw), (_, sh, sw), (_, ph, pw), (_, eh, ew) = geometry
    t, h, w, c = shape
    ho, wo = geometry.length(1, h), geometry.length(2, w)
    if kh * kw == 1 and (sh, sw, ph, pw) == (1, 1, 0, 0):
        return y.reshape(shape)
    y = y.reshape(t, ho, wo, kh * kw * c)
    rows = add_runs(jnp.split(y, kh, -1), 1, eh, sh, h + 2 * ph)
    full = add_runs(jnp.split(rows, kw, -1), 2, ew, sw, w + 2 * pw)
    return full[:, ph : ph + h, pw : pw + w]


def add_runs(runs: Sequence[Array], axis: int, dilation: int, stride: int, size: int):
    """Sum arrays, each moved along an axis by its dilated tap; the axis gets a size."""
    shape = list(runs[0].shape)
    shape[axis] = size
    total = jnp.zeros(shape, runs[0].dtype)
    for tap, run in enumerate(runs):
        if stride > 1:
            config = [(0, 0, 0)] * run.ndim
            config[axis] = (0, 0, stride - 1)
            run = lax.pad(run, jnp.zeros((), run.dtype), config)
        start = [0] * run.ndim
        start[axis] = tap * dilation
        stop = [a + b for a, b in zip(start, run.shape, strict=True)]
        run += lax.slice(total, start, stop)
        total = lax.dynamic_update_slice(total, run, start)
    return total
