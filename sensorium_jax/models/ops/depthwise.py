"""Filters of single channels as shifted multiplications.

Grouped convolutions of XLA are tens of times slower on CPUs than adding up the shifted
input, one multiplication per tap. The backward pass goes through a few images at a
time, so that all taps of the kernel's gradient read them from the cache.
"""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from sensorium_jax.models.ops import formulation
from sensorium_jax.models.ops.geometry import Geometry

Array = Any
BLOCK_BYTES = 8 * 2**20  # input of one block of the backward pass


def _depthwise(geometry: Geometry, name: str, x: Array, kernel: Array) -> Array:
    """Convolve [shards, images, T, H, W, C] with [kt, kh, kw, C]; never dilated."""
    return formulation.choose(
        name,
        functools.partial(_forward, geometry),
        functools.partial(_library, geometry),
        x,
        kernel,
    )


depthwise = jax.custom_vjp(_depthwise, nondiff_argnums=(0, 1))


def _save(geometry: Geometry, name: str, x: Array, kernel: Array):
    return depthwise(geometry, name, x, kernel), (x, kernel)


def _pull(geometry: Geometry, name: str, saved, g: Array):
    def library(x, kernel, g):
        return jax.vjp(functools.partial(_library, geometry), x, kernel)[1](g)

    direct = functools.partial(_backward, geometry)
    return formulation.choose(name, direct, library, *saved, g)


depthwise.defvjp(_save, _pull)


def _library(geometry: Geometry, x: Array, kernel: Array) -> Array:
    s, n, t, h, w, c = x.shape
    if kernel.shape[0] == 1:
        images, kernel, used = (s * n * t, h, w, c), kernel[0], slice(1, 3)
    else:
        images, kernel, used = (s * n, t, h * w, c), kernel[:, 0], slice(0, 2)
    y = lax.conv_general_dilated(
        x.reshape(images),
        kernel[:, :, None].astype(x.dtype),
        geometry.stride[used],
        [(p, p) for p in geometry.padding[used]],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=c,
    )
    sizes = (geometry.length(axis, size) for axis, size in enumerate((t, h, w)))
    return y.reshape(s, n, *sizes, c)


def _forward(geometry: Geometry, x: Array, kernel: Array) -> Array:
    edge = [(0, 0, 0)] * 2 + [(p, p, 0) for p in geometry.padding] + [(0, 0, 0)]
    x = lax.pad(x, jnp.zeros((), x.dtype), edge)
    return _shifted(x, kernel, geometry.stride)


def _backward(geometry: Geometry, x: Array, kernel: Array, g: Array):
    taps, pad, stride = kernel.shape[:3], geometry.padding, geometry.stride
    spread = [
        (k - 1 - p, size - 1 + p - (out - 1) * s, s - 1)
        for k, p, s, size, out in zip(
            taps, pad, stride, x.shape[2:5], g.shape[2:5], strict=True
        )
    ]
    edge = [(0, 0, 0)] * 2 + [(p, p, 0) for p in pad] + [(0, 0, 0)]
    reverse = jnp.flip(kernel, (0, 1, 2))
    chunk = _chunk(x.shape[1], x[0, 0].size * x.dtype.itemsize)

    def body(total, pair):
        a, b = pair
        wide = lax.pad(
            b, jnp.zeros((), b.dtype), [(0, 0, 0)] * 2 + spread + [(0, 0, 0)]
        )
        dx = _shifted(wide, reverse, (1, 1, 1))
        a = lax.pad(a, jnp.zeros((), a.dtype), edge)
        sums = [
            jnp.sum(v * b.astype(jnp.float32), axis=(1, 2, 3, 4))
            for v in _shifts(a, taps, stride, b.shape[2:5])
        ]
        return total + jnp.stack(sums, 1), dx

    def split(v):
        s, n, *rest = v.shape
        return jnp.moveaxis(v.reshape(s, n // chunk, chunk, *rest), 1, 0)

    zero = jnp.zeros((x.shape[0], taps[0] * taps[1] * taps[2], x.shape[-1]))
    total, dx = lax.scan(body, zero, (split(x), split(g)))
    total = total.sum(0).reshape(kernel.shape).astype(kernel.dtype)
    return jnp.moveaxis(dx, 0, 1).reshape(x.shape), total


def _chunk(images: int, bytes_each: int) -> int:
    most = max(1, min(images, BLOCK_BYTES // max(bytes_each, 1)))
    return max(d for d in range(1, most + 1) if images % d == 0)


def _shifted(x: Array, kernel: Array, stride) -> Array:
    """Sum over taps of the shifted input times the tap, in float32."""
    taps = kernel.shape[:3]
    out = [(n - k) // s + 1 for n, k, s in zip(x.shape[2:5], taps, stride, strict=True)]
    weights = kernel.astype(jnp.float32).reshape(-1, 1, 1, 1, 1, 1, kernel.shape[-1])
    views = _shifts(x, taps, stride, out)
    terms = (v * w for v, w in zip(views, weights, strict=True))
    return functools.reduce(jnp.add, terms).astype(x.dtype)


def _shifts(x: Array, taps, stride, out):
    """The strided views of [S, N, T, H, W, C] that the taps see, in their order."""
    for tap in itertools.product(*(range(k) for k in taps)):
        last = [i + (n - 1) * s + 1 for i, n, s in zip(tap, out, stride, strict=True)]
        window = tuple(slice(*v) for v in zip(tap, last, stride, strict=True))
        yield x[(slice(None), slice(None), *window)].astype(jnp.float32)
