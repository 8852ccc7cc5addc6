"""Convolutions over [mouse, batch, time, row, column, channel], one function each.

Kernels come without mouse axis: all mice share the core. Convolutions are
cross-correlations, as in PyTorch, and zero padding is symmetric.
"""

from typing import Any

import jax
import jax.numpy as jnp

from sensorium_jax import axes
from sensorium_jax.models.ops import formulation
from sensorium_jax.models.ops.convolve import convolve
from sensorium_jax.models.ops.depthwise import depthwise
from sensorium_jax.models.ops.fold import fold, unfold
from sensorium_jax.models.ops.geometry import Geometry

Array = Any
Steps = int | tuple[int, ...]  # one number for all axes of a kernel, or one for each


def spatial_conv(
    x_mbthwc: Array,
    kernel_hwio: Array,
    bias_f: Array | None = None,
    *,
    stride: Steps = 1,
    padding: Steps = 0,
    dilation: Steps = 1,
) -> Array:
    """Convolve every frame with one kernel; returns [M, B, T, H', W', F]."""
    steps = {"stride": stride, "padding": padding, "dilation": dilation}
    geometry = Geometry.of(kernel_hwio.shape[:2], **steps)
    return _dense(x_mbthwc, kernel_hwio[None], bias_f, geometry)


def temporal_conv(
    x_mbthwc: Array,
    kernel_tio: Array,
    bias_f: Array | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
) -> Array:
    """Convolve every pixel over time; returns [M, B, T', H, W, F]."""
    geometry = Geometry.of(kernel_tio.shape[:1], stride=stride, padding=padding)
    return _dense(x_mbthwc, kernel_tio[:, None, None], bias_f, geometry)


def conv3d(
    x_mbthwc: Array,
    kernel_thwio: Array,
    bias_f: Array | None = None,
    *,
    stride: Steps = 1,
    padding: Steps = 0,
) -> Array:
    """Convolve over time and space at once; returns [M, B, T', H', W', F]."""
    geometry = Geometry.of(kernel_thwio.shape[:3], stride=stride, padding=padding)
    return _dense(x_mbthwc, kernel_thwio, bias_f, geometry)


def depthwise_spatial(
    x_mbthwc: Array, kernel_hwc: Array, *, stride: Steps = 1, padding: Steps = 0
) -> Array:
    """Convolve each channel of each frame by itself; returns [M, B, T, H', W', C]."""
    geometry = Geometry.of(kernel_hwc.shape[:2], stride=stride, padding=padding)
    return _filter(x_mbthwc, kernel_hwc[None], geometry)


def depthwise_temporal(x_mbthwc: Array, kernel_tc: Array, *, padding: int = 0) -> Array:
    """Convolve each channel of each pixel over time; returns [M, B, T', H, W, C]."""
    geometry = Geometry.of(kernel_tc.shape[:1], padding=padding)
    return _filter(x_mbthwc, kernel_tc[:, None, None], geometry)


def pointwise(
    x: Array, kernel_cf: Array, bias_f: Array | None = None, *, groups: int = 1
) -> Array:
    """Multiply the last axis by a matrix; returns [..., F].

    With groups the kernel is [g, C/g, F/g] and each block of channels has its own. An
    array of five or six axes leads with mice and windows, as maps and tokens do.
    """
    if axes.shard_counts() != (1, 1) and x.ndim in (5, 6):
        x_sn, (m, b) = fold(x), x.shape[:2]
        # The axis of shards stays apart: merging it would gather it.
        y = jax.vmap(lambda v: _rows(v, kernel_cf, groups))(x_sn)
        return _add(unfold(y, m, b), bias_f)
    return _add(_rows(x, kernel_cf, groups), bias_f)


def _rows(x: Array, kernel_cf: Array, groups: int) -> Array:
    """One two-dimensional product; a product of more axes is slow to transpose."""
    lead, kernel_cf = x.shape[:-1], kernel_cf.astype(x.dtype)
    if groups == 1:
        return (x.reshape(-1, x.shape[-1]) @ kernel_cf).reshape(*lead, -1)
    x_rgc = x.reshape(-1, groups, x.shape[-1] // groups)
    return jnp.einsum("rgc,gcf->rgf", x_rgc, kernel_cf).reshape(*lead, -1)


def _dense(x_mbthwc: Array, kernel, bias_f, geometry: Geometry) -> Array:
    """Convolve the windows of each device; frames that do not mix form one window."""
    geometry = geometry.whole()
    x, (m, b) = fold(x_mbthwc), x_mbthwc.shape[:2]
    if kernel.shape[0] == 1 and geometry.stride[0] == 1 and geometry.padding[0] == 0:
        x = x.reshape(x.shape[0], 1, -1, *x.shape[3:])
    y = convolve(geometry, formulation.current(), x, kernel)
    y = y.reshape(y.shape[0], m * b // y.shape[0], -1, *y.shape[3:])
    return _add(unfold(y, m, b), bias_f)


def _filter(x_mbthwc: Array, kernel, geometry: Geometry) -> Array:
    geometry = geometry.whole()
    x, (m, b) = fold(x_mbthwc), x_mbthwc.shape[:2]
    if kernel.shape[0] == 1:
        x = x.reshape(x.shape[0], -1, 1, *x.shape[3:])
    y = depthwise(geometry, formulation.current(), x, kernel)
    y = y.reshape(y.shape[0], m * b // y.shape[0], -1, *y.shape[3:])
    return unfold(y, m, b)


def _add(y: Array, bias_f: Array | None) -> Array:
    if bias_f is None:
        return y
    return y + bias_f.astype(y.dtype).reshape((1,) * (y.ndim - 1) + (-1,))
