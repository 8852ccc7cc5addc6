"""Dense convolution by matrix multiplication, a few frames at a time.

On CPUs XLA multiplies matrices four times faster than it convolves. Blocks of frames
are unrolled into columns that stay in the cache, multiplied and forgotten; the backward
pass does the same, so neither ever holds the columns of a whole tensor. Space is
unrolled from the input; for the backward pass time is unrolled from the gradient, which
makes the blocks of the input gradient disjoint.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from sensorium_jax.models import formulation

Array = Any
BLOCK_BYTES = 8 * 2**20  # unrolled columns of one block; larger ones leave the cache


class Geometry(NamedTuple):
    """How a kernel moves; triples are (time, row, column)."""

    stride: tuple[int, int, int] = (1, 1, 1)
    padding: tuple[int, int, int] = (0, 0, 0)
    dilation: tuple[int, int, int] = (1, 1, 1)

    def out(self, axis: int, size: int, taps: int) -> int:
        """Length of one axis after the convolution."""
        span = (taps - 1) * self.dilation[axis] + 1
        return (size + 2 * self.padding[axis] - span) // self.stride[axis] + 1


def _convolve(geometry: Geometry, name: str, x: Array, kernel: Array) -> Array:
    """Convolve [shards, windows, T, H, W, C] with [kt, kh, kw, C, F].

    The name is that of the formulation; time is never dilated.
    """
    return formulation.choose(
        name,
        functools.partial(_forward, geometry),
        functools.partial(_library, geometry),
        x,
        kernel,
    )


convolve = jax.custom_vjp(_convolve, nondiff_argnums=(0, 1))


def _save(geometry: Geometry, name: str, x: Array, kernel: Array):
    return convolve(geometry, name, x, kernel), (x, kernel)


def _pull(geometry: Geometry, name: str, saved, g: Array):
    def library(x, kernel, g):
        return jax.vjp(functools.partial(_library, geometry), x, kernel)[1](g)

    direct = functools.partial(_backward, geometry)
    return formulation.choose(name, direct, library, *saved, g)


convolve.defvjp(_save, _pull)


def _library(geometry: Geometry, x: Array, kernel: Array) -> Array:
    s, n, t, h, w, c = x.shape
    if kernel.shape[0] == 1 and geometry.stride[0] == 1 and geometry.padding[0] == 0:
        x, kernel, first = x.reshape(s * n * t, h, w, c), kernel[0], 1
        numbers = ("NHWC", "HWIO", "NHWC")
    else:
        x, first = x.reshape(s * n, t, h, w, c), 0
        numbers = ("NDHWC", "DHWIO", "NDHWC")
    y = lax.conv_general_dilated(
        x,
        kernel.astype(x.dtype),
        geometry.stride[first:],
        [(p, p) for p in geometry.padding[first:]],
        rhs_dilation=geometry.dilation[first:],
        dimension_numbers=numbers,
    )
    return y.reshape(s, n, -1, *y.shape[-3:])


def _forward(geometry: Geometry, x: Array, kernel: Array) -> Array:
    kt, kh, kw, c, f = kernel.shape
    t, h, w = x.shape[2:5]
    to, ho, wo = (
        geometry.out(i, n, k)
        for i, (n, k) in enumerate(zip((t, h, w), (kt, kh, kw), strict=True))
    )
    stride, pad = geometry.stride[0], geometry.padding[0]
    matrix = kernel.reshape(-1, f).astype(x.dtype)
    block, count = _blocks(to, ho * wo * matrix.shape[0] * x.dtype.itemsize)
    span = (block - 1) * stride + kt

    def window(x_thwc):
        x_thwc = jnp.pad(x_thwc, ((pad, pad), (0, 0), (0, 0), (0, 0)))

        def body(y, i):
            # The last block is moved back to end at the end: some frames come twice.
            start = jnp.minimum(i * block, to - block)
            a = lax.dynamic_slice_in_dim(x_thwc, start * stride, span, 0)
            a = _unroll_space(geometry, a, kh, kw, ho, wo)
            a = _unroll_time(a, kt, block, stride).reshape(-1, matrix.shape[0])
            z = _dot(a, matrix).astype(x.dtype).reshape(block, ho, wo, f)
            return lax.dynamic_update_slice_in_dim(y, z, start, 0), None

        y = jnp.zeros((to, ho, wo, f), x.dtype)
        return lax.scan(body, y, jnp.arange(count))[0]

    return jax.vmap(lambda x_nthwc: lax.map(window, x_nthwc))(x)


def _backward(geometry: Geometry, x: Array, kernel: Array, g: Array):
    kt, kh, kw, c, f = kernel.shape
    t, h, w = x.shape[2:5]
    to, ho, wo = g.shape[2:5]
    stride, pad = geometry.stride[0], geometry.padding[0]
    matrix = jnp.flip(kernel, 0).transpose(0, 4, 1, 2, 3).reshape(kt * f, -1)
    matrix = matrix.astype(g.dtype)
    block, count = _blocks(t, ho * wo * max(matrix.shape) * x.dtype.itemsize)
    before = kt - 1 - pad
    after = t - 1 + pad - (to - 1) * stride

    def window(total, pair):
        x_thwc, g_thwf = pair
        g_thwf = _pad_time(g_thwf, before, after, stride)

        def body(carry, i):
            total, dx = carry
            start = jnp.minimum(i * block, t - block)
            a = lax.dynamic_slice_in_dim(x_thwc, start, block, 0)
            b = lax.dynamic_slice_in_dim(g_thwf, start, block + kt - 1, 0)
            a = _unroll_space(geometry, a, kh, kw, ho, wo)
            b = _unroll_time(b, kt, block, 1)
            new = _roll_space(
                geometry, _dot(b.reshape(-1, kt * f), matrix), (block, h, w, c), kh, kw
            ).astype(x.dtype)
            if t % block:  # frames that came before must count once
                fresh = (jnp.arange(block) + start >= i * block)[:, None, None, None]
                a = jnp.where(fresh, a, 0)
            total += _dot(a.reshape(-1, kh * kw * c).T, b.reshape(-1, kt * f))
            return (total, lax.dynamic_update_slice_in_dim(dx, new, start, 0)), None

        carry = total, jnp.zeros(x_thwc.shape, x.dtype)
        return lax.scan(body, carry, jnp.arange(count))[0]

    zero = jnp.zeros((kh * kw * c, kt * f), jnp.float32)
    total, dx = jax.vmap(lambda *pair: lax.scan(window, zero, pair))(x, g)
    total = total.sum(0).reshape(kh, kw, c, kt, f).transpose(3, 0, 1, 2, 4)
    return dx, jnp.flip(total, 0).astype(kernel.dtype)


def _blocks(frames: int, bytes_each: int) -> tuple[int, int]:
    """Frames per block and number of blocks; an even division where one is near."""
    most = max(1, min(frames, BLOCK_BYTES // max(bytes_each, 1)))
    even = max(d for d in range(1, most + 1) if frames % d == 0)
    block = even if 2 * even > most else -(-frames // -(-frames // most))
    return block, -(-frames // block)


def _dot(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, preferred_element_type=jnp.float32)


def _pad_time(g: Array, before: int, after: int, stride: int) -> Array:
    none = (0, 0, 0)
    zero = jnp.zeros((), g.dtype)
    return lax.pad(g, zero, ((before, after, stride - 1), none, none, none))


def _unroll_time(x: Array, taps: int, frames: int, stride: int) -> Array:
    last = (frames - 1) * stride + 1
    parts = [x[i : i + last : stride] for i in range(taps)]
    return parts[0] if taps == 1 else jnp.concatenate(parts, -1)


def _unroll_space(geometry: Geometry, x: Array, kh, kw, ho, wo) -> Array:
    """[T, H, W, C] to [T, H', W', kh*kw*C]."""
    (_, sh, sw), (_, ph, pw), (_, eh, ew) = geometry
    x = jnp.pad(x, ((0, 0), (ph, ph), (pw, pw), (0, 0)))
    rows = [slice(i * eh, i * eh + (ho - 1) * sh + 1, sh) for i in range(kh)]
    cols = [slice(j * ew, j * ew + (wo - 1) * sw + 1, sw) for j in range(kw)]
    # Columns first, then rows: kh + kw copies of long runs instead of kh * kw.
    x = jnp.concatenate([x[:, :, c] for c in cols], -1)
    return jnp.concatenate([x[:, r] for r in rows], -1)


def _roll_space(geometry: Geometry, y: Array, shape, kh, kw) -> Array:
    """Add unrolled columns back where they came from; inverse axes of _unroll_space."""
    (_, sh, sw), (_, ph, pw), (_, eh, ew) = geometry
    t, h, w, c = shape
    ho, wo = geometry.out(1, h, kh), geometry.out(2, w, kw)
    if kh * kw == 1 and (sh, sw, ph, pw) == (1, 1, 0, 0):
        return y.reshape(shape)
    y = y.reshape(t, ho, wo, kh * kw * c)
    rows = _add_runs(y, 1, kh, eh, sh, h + 2 * ph)
    full = _add_runs(rows, 2, kw, ew, sw, w + 2 * pw)
    return full[:, ph : ph + h, pw : pw + w]


def _add_runs(y: Array, axis: int, taps: int, dilation: int, stride: int, size: int):
    """Sum the runs of the last axis, each moved along an axis by its dilated tap."""
    width = y.shape[-1] // taps
    shape = [*y.shape[:-1], width]
    shape[axis] = size
    total = jnp.zeros(shape, y.dtype)
    for tap in range(taps):
        run = y[..., tap * width : (tap + 1) * width]
        if stride > 1:
            config = [(0, 0, 0)] * y.ndim
            config[axis] = (0, 0, stride - 1)
            run = lax.pad(run, jnp.zeros((), y.dtype), config)
        start = [0] * y.ndim
        start[axis] = tap * dilation
        stop = [a + b for a, b in zip(start, run.shape, strict=True)]
        run += lax.slice(total, start, stop)
        total = lax.dynamic_update_slice(total, run, start)
    return total
