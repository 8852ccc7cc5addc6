"""Dense convolution over two axes in unit steps: of frames, or of pixels in time.

On CPUs XLA convolves such planes well as long as channels come last and the kernel is
small; what it does slowly is the gradient of the kernel, which it takes for a
convolution with a kernel as large as the image. So values and the gradient of the input
are the library's (the latter is a convolution with the flipped kernel), and the
gradient of the kernel is a matrix product, plane by plane: unrolled over the kernel's
columns the plane stays in the cache, and is multiplied once for each row of the kernel.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from sensorium_jax.models.ops.geometry import Geometry
from sensorium_jax.models.ops.unroll import dot, kernel_rows, unroll_columns

Array = Any
NUMBERS = ("NHWC", "HWIO", "NHWC")


def fits(geometry: Geometry, kernel: Array) -> bool:
    """Whether the kernel is over rows and columns or over time only, in unit steps."""
    kt, kh, kw = kernel.shape[:3]
    steps = set(geometry.stride) | set(geometry.dilation)
    still, points = geometry.padding[0] == 0, geometry.padding[1:] == (0, 0)
    return steps == {1} and ((kt == 1 and still) or (kh * kw == 1 and points))


def forward(geometry: Geometry, x: Array, kernel: Array) -> Array:
    """Convolve [shards, windows, T, H, W, C] with [kt, kh, kw, C, F]."""
    planes, plane_geometry, plane_kernel, unfold = _planes(geometry, x, kernel)
    pads = [(p, p) for p in plane_geometry.padding[1:]]
    each = functools.partial(_convolve, kernel=plane_kernel, pads=pads)
    return unfold(jax.vmap(each)(planes))


def backward(geometry: Geometry, x: Array, kernel: Array, g: Array):
    """Gradients of input and kernel."""
    planes, plane_geometry, plane_kernel, _ = _planes(geometry, x, kernel)
    g_planes = g.reshape(len(x), *_plane_shape(g, kernel))
    rows, columns, c, f = plane_kernel.shape
    flipped = jnp.flip(plane_kernel, (0, 1)).swapaxes(2, 3)
    pads = [
        (k - 1 - p, k - 1 - p)
        for k, p in zip((rows, columns), plane_geometry.padding[1:], strict=True)
    ]
    dx = jax.vmap(functools.partial(_convolve, kernel=flipped, pads=pads))(g_planes)

    def add(total, pair):
        x_hwc, g_hwf = pair
        ho, wo, _ = g_hwf.shape
        a = unroll_columns(plane_geometry, x_hwc[None], wo)[0]
        flat = g_hwf.reshape(-1, f)
        runs = [a[r].reshape(-1, columns * c) for r in kernel_rows(plane_geometry, ho)]
        return total + jnp.stack([dot(run.T, flat) for run in runs]), None

    zero = jnp.zeros((rows, columns * c, f), jnp.float32)
    total = jax.vmap(lambda *pair: lax.scan(add, zero, pair)[0])(planes, g_planes)
    return dx.reshape(x.shape), total.sum(0).reshape(kernel.shape).astype(kernel.dtype)


def _convolve(x_nhwc: Array, kernel: Array, pads: list[tuple[int, int]]) -> Array:
    y = lax.conv_general_dilated(
        *(x_nhwc, kernel.astype(x_nhwc.dtype), (1, 1), pads),
        dimension_numbers=NUMBERS,
        preferred_element_type=jnp.float32,
    )
    return y.astype(x_nhwc.dtype)


def _plane_shape(x: Array, kernel: Array) -> tuple[int, ...]:
    """Frames as planes, or for kernels in time the frames of a window by its pixels."""
    _, n, t, h, w, channels = x.shape
    if kernel.shape[0] == 1:
        return (n * t, h, w, channels)
    return (n, t, h * w, channels)


def _planes(geometry: Geometry, x: Array, kernel: Array):
    """The same convolution over planes [shards, N, H, W, C], and how to undo it."""
    kt, kh, kw, c, f = kernel.shape
    s, n, t, h, w, _ = x.shape
    planes = x.reshape(s, *_plane_shape(x, kernel))
    if kt == 1:
        plane_geometry, plane_kernel = geometry, kernel[0]
    else:
        padding = (0, geometry.padding[0], 0)
        plane_geometry = Geometry.of((1, kt, 1), padding=padding)
        plane_kernel = kernel.reshape(kt, 1, c, f)
    shape = (geometry.length(i, size) for i, size in enumerate((t, h, w)))
    whole = (s, n, *shape, f)
    return planes, plane_geometry, plane_kernel, lambda y: y.reshape(whole)
