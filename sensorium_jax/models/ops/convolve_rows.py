"""Dense convolution of frames, one row of the kernel at a time.

For wide kernels over many channels the columns of a single frame would leave the cache.
Unrolled over the kernel's columns only they stay in it, and are multiplied once for
each row of the kernel, at as many heights of the frame.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from sensorium_jax.models.ops.geometry import Geometry
from sensorium_jax.models.ops.unroll import (
    add_runs,
    dot,
    kernel_rows,
    unroll_columns,
)

Array = Any


def forward(geometry: Geometry, x: Array, kernel: Array) -> Array:
    """Convolve [shards, windows, T, H, W, C] with [1, kh, kw, C, F]."""
    _, kh, kw, c, f = kernel.shape
    s, n, t, h, w, _ = x.shape
    ho, wo = geometry.length(1, h), geometry.length(2, w)
    matrices = kernel.reshape(kh, kw * c, f).astype(x.dtype)

    def frame(x_hwc):
        a = unroll_columns(geometry, x_hwc[None], wo)[0]
        runs = [a[rows].reshape(-1, kw * c) for rows in kernel_rows(geometry, ho)]
        parts = [dot(run, matrix) for run, matrix in zip(runs, matrices, strict=True)]
        y = functools.reduce(jnp.add, parts)
        return y.astype(x.dtype).reshape(ho, wo, f)

    y = jax.vmap(lambda x_thwc: lax.map(frame, x_thwc))(x.reshape(s, n * t, h, w, c))
    return y.reshape(s, n, t, ho, wo, f)


def backward(geometry: Geometry, x: Array, kernel: Array, g: Array):
    """Gradients of input and kernel."""
    _, kh, kw, c, f = kernel.shape
    s, n, t, h, w, _ = x.shape
    ho, wo = g.shape[3:5]
    _, (_, sh, sw), (_, ph, pw), (_, eh, ew) = geometry
    matrices = kernel.reshape(kh, kw * c, f).astype(g.dtype)

    def frame(total, pair):
        x_hwc, g_hwf = pair
        a = unroll_columns(geometry, x_hwc[None], wo)[0]
        flat = g_hwf.reshape(-1, f)
        runs = [a[rows].reshape(-1, kw * c) for rows in kernel_rows(geometry, ho)]
        total += jnp.stack([dot(run.T, flat) for run in runs])
        parts = [dot(flat, matrix.T).reshape(ho, wo, kw * c) for matrix in matrices]
        rows = add_runs(parts, 0, eh, sh, h + 2 * ph)
        full = add_runs(jnp.split(rows, kw, -1), 1, ew, sw, w + 2 * pw)
        dx = full[ph : ph + h, pw : pw + w].astype(x.dtype)
        return total, dx

    zero = jnp.zeros((kh, kw * c, f), jnp.float32)
    frames = x.reshape(s, n * t, h, w, c), g.reshape(s, n * t, ho, wo, f)
    total, dx = jax.vmap(lambda *pair: lax.scan(frame, zero, pair))(*frames)
    return dx.reshape(x.shape), total.sum(0).reshape(kernel.shape).astype(kernel.dtype)
