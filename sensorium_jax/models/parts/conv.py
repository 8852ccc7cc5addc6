"""Convolutions with parameters: Xavier kernels and zero biases, as in the originals."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from sensorium_jax.models.ops import convolutions
from sensorium_jax.models.ops.geometry import Geometry

Array = Any
xavier_normal = nn.initializers.variance_scaling(1.0, "fan_avg", "normal")


class Conv(nn.Module):
    """Dense convolution [M, B, T, H, W, C] to [M, B, T', H', W', F].

    The kernel is [*geometry.size, C, F].
    """

    features: int
    geometry: Geometry
    use_bias: bool = True
    kernel_init: Callable[..., Array] = xavier_normal

    @nn.compact
    def __call__(self, x_mbthwc: Array) -> Array:
        """Convolved features."""
        size, stride, padding, dilation = self.geometry
        shape = (*size, x_mbthwc.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape).astype(x_mbthwc.dtype)
        bias = None
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
        steps: dict[str, Any] = {"stride": stride, "padding": padding}
        if len(size) == 2:
            steps["dilation"] = dilation
            return convolutions.spatial_conv(x_mbthwc, kernel, bias, **steps)
        kernel = dilate(kernel, dilation)
        if len(size) == 3:
            return convolutions.conv3d(x_mbthwc, kernel, bias, **steps)
        steps = {"stride": stride[0], "padding": padding[0]}
        return convolutions.temporal_conv(x_mbthwc, kernel, bias, **steps)


class Pointwise(nn.Module):
    """Multiply the channels by a matrix; [..., C] to [..., F]."""

    features: int
    use_bias: bool = True
    kernel_init: Callable[..., Array] = xavier_normal

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Mixed channels."""
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape).astype(x.dtype)
        bias = None
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return convolutions.pointwise(x, kernel, bias)


class Depthwise(nn.Module):
    """Filter each channel of each frame by itself; kernel [h, w, C]."""

    geometry: Geometry
    use_bias: bool = True

    @nn.compact
    def __call__(self, x_mbthwc: Array) -> Array:
        """Filtered channels [M, B, T, H', W', C]."""
        size, stride, padding, dilation = self.geometry
        channels = x_mbthwc.shape[-1]
        # A filter has one input channel, yet all filters count as fan-out (torch).
        deviation = (2.0 / (size[0] * size[1] * (1 + channels))) ** 0.5
        init = nn.initializers.normal(deviation)
        kernel = self.param("kernel", init, (*size, channels)).astype(x_mbthwc.dtype)
        y = convolutions.depthwise_spatial(
            x_mbthwc, dilate(kernel, dilation), stride=stride, padding=padding
        )
        if not self.use_bias:
            return y
        bias = self.param("bias", nn.initializers.zeros, (channels,)).astype(y.dtype)
        return y + bias[None, None, None, None, None, :]


class DepthSeparable(nn.Module):
    """Mix channels, filter each by itself, mix again; [M, B, T, H', W', F]."""

    features: int
    geometry: Geometry
    use_bias: bool = True

    @nn.compact
    def __call__(self, x_mbthwc: Array) -> Array:
        """Filtered features."""
        x = Pointwise(self.features, self.use_bias, name="pointwise_in")(x_mbthwc)
        x = Depthwise(self.geometry, self.use_bias, name="depthwise")(x)
        return Pointwise(self.features, self.use_bias, name="pointwise_out")(x)


def dilate(kernel: Array, dilation: tuple[int, ...]) -> Array:
    """The kernel with zeros between the taps of its first axes."""
    if all(d == 1 for d in dilation):
        return kernel
    spread = [(0, 0, d - 1) for d in dilation]
    spread += [(0, 0, 0)] * (kernel.ndim - len(spread))
    return jax.lax.pad(kernel, jnp.zeros((), kernel.dtype), spread)
