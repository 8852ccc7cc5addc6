"""The core that won SENSORIUM 2023: depthwise blocks, then a cortex of mixed channels.

DwiseNeuro by Ruslan Baikulov (MIT), https://github.com/lRomul/sensorium.
"""

import math
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.errors import UserError
from sensorium_jax.models.ops import convolutions
from sensorium_jax.models.parts.block import check_channels
from sensorium_jax.models.parts.conv import Pointwise
from sensorium_jax.models.parts.drop import drop_path
from sensorium_jax.models.parts.norm import BatchNorm
from sensorium_jax.models.parts.penalties import Offered
from sensorium_jax.models.parts.sinusoids import add_position

Array = Any


class DwiseNeuroCore(nn.Module):
    """Video [M, B, T, H, W, C] to one vector of features a frame, [M, B, T, 1, 1, F].

    A stem mixes the channels. Each block adds where in the clip a feature is, widens
    the channels by `expansion`, filters each over space and over time, weighs them by
    their means over the clip, narrows them again and adds what went in. The frame is
    then averaged, and the cortex widens its features in groups whose channels it
    shuffles. Space and time are padded, so no frame is lost and every frame sees some
    that come later. A block may be left out while training: the deeper the likelier,
    up to drop_path.
    """

    input_channels: int = 5
    features: tuple[int, ...] = (64, 64, 64, 64, 128, 128, 128, 256, 256)
    strides: tuple[int, ...] = (2, 1, 1, 1, 2, 1, 1, 2, 1)  # of each block, in space
    spatial_kernel: int = 3
    temporal_kernel: int = 5
    expansion: int = 6
    squeeze: int = 32  # by how much the gate of a block is narrower than its channels
    cortex_features: tuple[int, ...] = (1024, 2048, 4096)
    groups: int = 2
    drop_path: float = 0.1
    momentum: float = 0.1
    norm_groups: str = "batch"
    remat: bool = False  # recompute blocks in the backward pass to save memory
    lost_frames = 0
    train_stride = 1
    causal = False

    @property
    def penalties(self) -> Offered:
        """None of its own; the general ones suit its kernels."""
        return {}

    def out_shape(self, frames: int, height: int, width: int) -> tuple[int, ...]:
        """Frames, rows, columns and features of the output; no parameters needed."""
        del height, width
        return frames, 1, 1, self.cortex_features[-1]

    @nn.compact
    def __call__(
        self, x_mbthwc: Array, *, train: bool, mice_m: Array | None = None
    ) -> Array:
        """Features of all mice at once; mice False in mice_m are padding."""
        check_channels(x_mbthwc, self.input_channels, "DwiseNeuroCore")
        self._check()
        norm = partial(BatchNorm, self.momentum, groups=self.norm_groups)
        state = {"train": train, "mice_m": mice_m}
        x = _pointwise(self.features[0], "stem")(x_mbthwc)
        x = norm(name="stem_norm")(x, **state)
        call: Any = lambda block, x: block(x, **state)  # noqa: E731
        call = nn.remat(call) if self.remat else call
        count = len(self.features)
        for index, stride in enumerate(self.strides):
            block = DepthwiseBlock(
                self.features[min(index + 1, count - 1)],
                stride,
                (self.spatial_kernel, self.temporal_kernel),
                self.expansion,
                self.squeeze,
                self.drop_path * index / count,
                norm,
                name=f"block{index}",
            )
            x = call(block, x)
        x = x.mean((3, 4), keepdims=True)
        cortex = Cortex(
            self.cortex_features, self.groups, self.drop_path, norm, name="cortex"
        )
        return cortex(x, **state)

    def _check(self) -> None:
        if len(self.features) != len(self.strides):
            raise UserError(
                f"The core has {len(self.features)} features and {len(self.strides)} "
                "strides; each block needs one of both."
            )
        widths = (self.features[-1], *self.cortex_features)
        odd = [width for width in widths if width % self.groups]
        if odd:
            raise UserError(
                f"{odd[0]} features cannot be cut into {self.groups} groups. Choose "
                f"widths of the cortex that are multiples of {self.groups}."
            )
        if min(self.features) * self.expansion < self.squeeze:
            raise UserError(
                f"{min(self.features)} features times {self.expansion} (expansion), "
                f"over {self.squeeze} (squeeze), leaves none. Choose a smaller squeeze."
            )


class DepthwiseBlock(nn.Module):
    """Widen, filter over space, filter over time, weigh, narrow; plus what went in."""

    features: int
    stride: int
    kernels: tuple[int, int]  # over space and over time
    expansion: int
    squeeze: int
    drop: float
    norm: Any

    @nn.compact
    def __call__(self, x_mbthwc: Array, *, train: bool, mice_m: Array | None) -> Array:
        """Features [M, B, T, H', W', F]."""
        spatial, temporal = self.kernels
        state = {"train": train, "mice_m": mice_m}
        x = add_position(x_mbthwc)
        middle = x.shape[-1] * self.expansion
        y = _pointwise(middle, "expand")(x)
        y = jax.nn.silu(self.norm(name="expand_norm")(y, **state))
        y = Filter((spatial, spatial), self.stride, name="spatial")(y)
        y = jax.nn.silu(self.norm(name="spatial_norm")(y, **state))
        y = Filter((temporal,), name="temporal")(y)
        y = jax.nn.silu(self.norm(name="temporal_norm")(y, **state))
        y = Gate(middle // self.squeeze, name="gate")(y)
        y = _pointwise(self.features, "project")(y)
        y = self.norm(name="project_norm")(y, **state)
        if train and self.drop:
            y = drop_path(y, self.drop, self.make_rng("dropout"))
        short = tiled(nearest(x, self.stride), self.features)
        return y + self.norm(name="shortcut_norm")(short, **state)


class Filter(nn.Module):
    """Filter each channel by itself over space (two sizes) or over time (one)."""

    size: tuple[int, ...]
    stride: int = 1

    @nn.compact
    def __call__(self, x_mbthwc: Array) -> Array:
        """Filtered channels, padded so that nothing is lost but to the stride."""
        init = fan_out_normal(math.prod(self.size))
        kernel = self.param("kernel", init, (*self.size, x_mbthwc.shape[-1]))
        kernel, padding = kernel.astype(x_mbthwc.dtype), self.size[0] // 2
        if len(self.size) == 1:
            return convolutions.depthwise_temporal(x_mbthwc, kernel, padding=padding)
        steps = {"stride": self.stride, "padding": padding}
        return convolutions.depthwise_spatial(x_mbthwc, kernel, **steps)


class Gate(nn.Module):
    """Scale the features of a clip by a gate computed from their means over it.

    Hu et al. 2018, https://arxiv.org/abs/1709.01507.
    """

    hidden: int

    @nn.compact
    def __call__(self, x_mbthwf: Array) -> Array:
        """Gated features, same shape."""
        gate = x_mbthwf.mean((2, 3, 4), keepdims=True)
        gate = jax.nn.silu(_pointwise(self.hidden, "reduce", use_bias=True)(gate))
        gate = _pointwise(x_mbthwf.shape[-1], "expand", use_bias=True)(gate)
        return x_mbthwf * jax.nn.sigmoid(gate)


class Cortex(nn.Module):
    """Layers that mix the features of a frame in groups, [..., C] to [..., F]."""

    features: tuple[int, ...]
    groups: int
    drop: float
    norm: Any

    @nn.compact
    def __call__(self, x_mbthwf: Array, *, train: bool, mice_m: Array | None) -> Array:
        """Mixed features."""
        state = {"train": train, "mice_m": mice_m}
        for index, width in enumerate(self.features):
            layer = CortexLayer(
                width, self.groups, self.drop, self.norm, name=f"layer{index}"
            )
            x_mbthwf = layer(x_mbthwf, **state)
        return x_mbthwf


class CortexLayer(nn.Module):
    """Mix the features of each group, shuffle the groups, and add what went in."""

    features: int
    groups: int
    drop: float
    norm: Any

    @nn.compact
    def __call__(self, x_mbthwf: Array, *, train: bool, mice_m: Array | None) -> Array:
        """Mixed features."""
        state = {"train": train, "mice_m": mice_m}
        groups, wide = self.groups, self.features // self.groups
        shape = (groups, x_mbthwf.shape[-1] // groups, wide)
        kernel = self.param("kernel", fan_out_normal(wide), shape)
        y = convolutions.pointwise(x_mbthwf, kernel, groups=groups)
        y = jax.nn.silu(self.norm(name="norm")(y, **state))
        lead = y.shape[:-1]
        y = y.reshape(*lead, groups, wide).swapaxes(-1, -2).reshape(*lead, -1)
        if train and self.drop:
            y = drop_path(y, self.drop, self.make_rng("dropout"))
        short = tiled(x_mbthwf, self.features)
        return y + self.norm(name="shortcut_norm")(short, **state)


def fan_out_normal(fan_out: int) -> Any:
    """Start of a kernel: normal with the variance 2 / fan_out."""
    return nn.initializers.normal((2 / fan_out) ** 0.5)


def _pointwise(features: int, name: str, *, use_bias: bool = False) -> Pointwise:
    return Pointwise(features, use_bias, fan_out_normal(features), name=name)


def nearest(x_mbthwc: Array, stride: int) -> Array:
    """Every stride-th pixel; of sizes that do not divide, the nearest, as PyTorch."""
    for axis in (3, 4) if stride > 1 else ():
        size = x_mbthwc.shape[axis]
        out = math.ceil(size / stride)
        if size % out:
            step = np.float32(size / out)
            at = np.floor(np.arange(out, dtype=np.float32) * step).astype(np.int32)
            x_mbthwc = jnp.take(x_mbthwc, np.minimum(at, size - 1), axis=axis)
        else:
            x_mbthwc = jax.lax.slice_in_dim(x_mbthwc, 0, size, size // out, axis)
    return x_mbthwc


def tiled(x: Array, features: int) -> Array:
    """The channels again and again, up to so many."""
    return jnp.concatenate([x] * math.ceil(features / x.shape[-1]), -1)[..., :features]
