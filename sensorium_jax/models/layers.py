"""Convolutions over [mouse, batch, time, row, column, channel], one function each.

Kernels come without mouse axis: all mice share the core. Convolutions are
cross-correlations, as in PyTorch, and zero padding is symmetric.
"""

from typing import Any

import jax.numpy as jnp
from jax import lax

from sensorium_jax.models.fold import fold, unfold

Array = Any
Pair = int | tuple[int, int]
Triple = int | tuple[int, int, int]


def spatial_conv(
    x_mbthwc: Array,
    kernel_hwio: Array,
    bias_f: Array | None = None,
    *,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
) -> Array:
    """Convolve every frame with one kernel; returns [M, B, T, H', W', F]."""
    y = _library(
        x_mbthwc,
        kernel_hwio[None],
        (1, *_tuple(stride, 2)),
        (0, *_tuple(padding, 2)),
        (1, *_tuple(dilation, 2)),
    )
    return _add(y, bias_f)


def temporal_conv(
    x_mbthwc: Array,
    kernel_tio: Array,
    bias_f: Array | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
) -> Array:
    """Convolve every pixel over time; returns [M, B, T', H, W, F]."""
    kernel = kernel_tio[:, None, None]
    return _add(_library(x_mbthwc, kernel, (stride, 1, 1), (padding, 0, 0)), bias_f)


def conv3d(
    x_mbthwc: Array,
    kernel_thwio: Array,
    bias_f: Array | None = None,
    *,
    stride: Triple = 1,
    padding: Triple = 0,
) -> Array:
    """Convolve over time and space at once; returns [M, B, T', H', W', F]."""
    y = _library(x_mbthwc, kernel_thwio, _tuple(stride, 3), _tuple(padding, 3))
    return _add(y, bias_f)


def depthwise_spatial(
    x_mbthwc: Array, kernel_hwc: Array, *, stride: Pair = 1, padding: Pair = 0
) -> Array:
    """Convolve each channel of each frame by itself; returns [M, B, T, H', W', C]."""
    kernel = kernel_hwc[None, :, :, None]
    stride, padding = (1, *_tuple(stride, 2)), (0, *_tuple(padding, 2))
    return _library(x_mbthwc, kernel, stride, padding, groups=kernel_hwc.shape[-1])


def depthwise_temporal(x_mbthwc: Array, kernel_tc: Array, *, padding: int = 0) -> Array:
    """Convolve each channel of each pixel over time; returns [M, B, T', H, W, C]."""
    kernel, groups = kernel_tc[:, None, None, None], kernel_tc.shape[-1]
    return _library(x_mbthwc, kernel, (1, 1, 1), (padding, 0, 0), groups=groups)


def pointwise(
    x: Array, kernel_cf: Array, bias_f: Array | None = None, *, groups: int = 1
) -> Array:
    """Multiply the last axis by a matrix; returns [..., F].

    With groups the kernel is [g, C/g, F/g] and each block of channels has its own.
    """
    if groups == 1:
        y = jnp.einsum("...c,cf->...f", x, kernel_cf)
    else:
        x_gc = x.reshape(*x.shape[:-1], groups, -1)
        y = jnp.einsum("...gc,gcf->...gf", x_gc, kernel_cf)
        y = y.reshape(*x.shape[:-1], -1)
    return _add(y, bias_f)


def _library(x_mbthwc, kernel, stride, padding, dilation=(1, 1, 1), groups=1):
    y = lax.conv_general_dilated(
        fold(x_mbthwc),
        kernel,
        stride,
        [(p, p) for p in padding],
        rhs_dilation=dilation,
        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
        feature_group_count=groups,
    )
    return unfold(y, x_mbthwc.shape[0])


def _tuple(value, length: int) -> tuple[int, ...]:
    return (value,) * length if isinstance(value, int) else tuple(value)


def _add(y: Array, bias_f: Array | None) -> Array:
    if bias_f is None:
        return y
    return y + bias_f.astype(y.dtype).reshape((1,) * (y.ndim - 1) + (-1,))
