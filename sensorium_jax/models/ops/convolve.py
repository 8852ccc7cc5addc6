"""Dense convolution by matrix multiplication, a few frames at a time.

On CPUs XLA is slow at convolutions with steps or over three axes, and at gradients of
kernels. Kernels over two axes in unit steps are taken plane by plane (convolve_planes).
For the others blocks of frames are unrolled into columns that stay in the cache,
multiplied and forgotten; the backward pass does the same, so neither ever holds the
columns of a whole tensor. Space is unrolled from the input; for the backward pass time
is unrolled from the gradient, which makes the blocks of the input gradient disjoint.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from sensorium_jax.models.ops import convolve_planes, formulation
from sensorium_jax.models.ops.geometry import Geometry
from sensorium_jax.models.ops.unroll import dot, roll_space, unroll_space

Array = Any
LEAST = 32  # input times output channels, below which unrolling is faster
NUMBERS = {4: ("NHWC", "HWIO", "NHWC"), 5: ("NDHWC", "DHWIO", "NDHWC")}  # by axes
BLOCK_BYTES = 8 * 2**20  # unrolled columns of one block; larger ones leave the cache


def _convolve(geometry: Geometry, name: str, x: Array, kernel: Array) -> Array:
    """Convolve [shards, windows, T, H, W, C] with [kt, kh, kw, C, F].

    The name is that of the formulation. The geometry is over all three axes, and
    time is never dilated.
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
    """By the library; kernels over time as kernels over two axes, frames by pixels.

    Over three axes accelerators want channels first, and turn all maps around for it.
    """
    s, n, t, h, w, c = x.shape
    steps = tuple(
        zip(geometry.stride, geometry.padding, geometry.dilation, strict=True)
    )
    still = (1, 0, 1)
    if kernel.shape[0] == 1 and steps[0] == still:
        images, kernel, used = (s * n * t, h, w, c), kernel[0], slice(1, 3)
    elif kernel.shape[1:3] == (1, 1) and steps[1:] == (still, still):
        images, kernel, used = (s * n, t, h * w, c), kernel[:, 0], slice(0, 2)
    else:
        images, used = (s * n, t, h, w, c), slice(0, 3)
    y = lax.conv_general_dilated(
        x.reshape(images),
        kernel.astype(x.dtype),
        geometry.stride[used],
        [(p, p) for p in geometry.padding[used]],
        rhs_dilation=geometry.dilation[used],
        dimension_numbers=NUMBERS[len(images)],
    )
    sizes = (geometry.length(axis, size) for axis, size in enumerate((t, h, w)))
    return y.reshape(s, n, *sizes, -1)


def _forward(geometry: Geometry, x: Array, kernel: Array) -> Array:
    kt, kh, kw, c, f = kernel.shape
    if _by_planes(geometry, kernel):
        return convolve_planes.forward(geometry, x, kernel)
    t, h, w = x.shape[2:5]
    to, ho, wo = (geometry.length(i, n) for i, n in enumerate((t, h, w)))
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
            a = unroll_space(geometry, a, ho, wo)
            a = _unroll_time(a, kt, block, stride).reshape(-1, matrix.shape[0])
            z = dot(a, matrix).astype(x.dtype).reshape(block, ho, wo, f)
            return lax.dynamic_update_slice_in_dim(y, z, start, 0), None

        y = jnp.zeros((to, ho, wo, f), x.dtype)
        return lax.scan(body, y, jnp.arange(count))[0]

    return jax.vmap(lambda x_nthwc: lax.map(window, x_nthwc))(x)


def _backward(geometry: Geometry, x: Array, kernel: Array, g: Array):
    kt, kh, kw, c, f = kernel.shape
    if _by_planes(geometry, kernel):
        return convolve_planes.backward(geometry, x, kernel, g)
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
            a = unroll_space(geometry, a, ho, wo)
            b = _unroll_time(b, kt, block, 1)
            b_rows = dot(b.reshape(-1, kt * f), matrix)
            new = roll_space(geometry, b_rows, (block, h, w, c)).astype(x.dtype)
            if t % block:  # frames that came before must count once
                fresh = (jnp.arange(block) + start >= i * block)[:, None, None, None]
                a = jnp.where(fresh, a, 0)
            total += dot(a.reshape(-1, kh * kw * c).T, b.reshape(-1, kt * f))
            return (total, lax.dynamic_update_slice_in_dim(dx, new, start, 0)), None

        carry = total, jnp.zeros(x_thwc.shape, x.dtype)
        return lax.scan(body, carry, jnp.arange(count))[0]

    zero = jnp.zeros((kh * kw * c, kt * f), jnp.float32)
    total, dx = jax.vmap(lambda *pair: lax.scan(window, zero, pair))(x, g)
    total = total.sum(0).reshape(kh, kw, c, kt, f).transpose(3, 0, 1, 2, 4)
    return dx, jnp.flip(total, 0).astype(kernel.dtype)


def _by_planes(geometry: Geometry, kernel: Array) -> bool:
    """Whether the library is the faster one; not for a few products at each pixel."""
    c, f = kernel.shape[-2:]
    return c * f >= LEAST and convolve_planes.fits(geometry, kernel)


def _blocks(frames: int, bytes_each: int) -> tuple[int, int]:
    """Frames per block and number of blocks; an even division where one is near."""
    most = max(1, min(frames, BLOCK_BYTES // max(bytes_each, 1)))
    even = max(d for d in range(1, most + 1) if frames % d == 0)
    block = even if 2 * even > most else -(-frames // -(-frames // most))
    return block, -(-frames // block)


def _pad_time(g: Array, before: int, after: int, stride: int) -> Array:
    none = (0, 0, 0)
    zero = jnp.zeros((), g.dtype)
    return lax.pad(g, zero, ((before, after, stride - 1), none, none, none))


def _unroll_time(x: Array, taps: int, frames: int, stride: int) -> Array:
    last = (frames - 1) * stride + 1
    parts = [x[i : i + last : stride] for i in range(taps)]
    return parts[0] if taps == 1 else jnp.concatenate(parts, -1)
