"""Core of two-dimensional convolutions equivariant to rotation (GRU baseline 2023)."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from sensorium_jax.models.cores.stacked2d import chosen, stacked_shape
from sensorium_jax.models.ops import convolutions as layers
from sensorium_jax.models.parts.block import (
    Block,
    check_channels,
    pair,
    per_layer,
    through_layer,
)
from sensorium_jax.models.parts.conv import Geometry
from sensorium_jax.models.parts.hermite import rotated_kernels
from sensorium_jax.models.parts.norm import BatchNorm

Array = Any


class RotationEquivariant2dCore(nn.Module):
    """Images (each frame one) [M, B, T, H, W, C] to features [M, B, T, H', W', R*F].

    Features are orientation-major: all features of the first of R orientations, then
    of the next; a rotation of the input by 360/R degrees rotates the maps and cycles
    the orientations. hidden_channels counts features, not orientations. Options as in
    Stacked2dCore; stride is of every layer, hidden_padding None keeps the size of an
    odd first hidden kernel in all hidden layers. shared_norm lets orientations share
    statistics and affine parameters, without which equivariance is lost.
    Ecker et al. 2019, https://arxiv.org/abs/1809.10504.
    """

    input_channels: int
    hidden_channels: int | tuple[int, ...]
    input_kernel: int
    hidden_kernel: int | tuple[int, ...]
    layers: int = 3
    rotations: int = 8
    upsampling: int = 2
    stride: int = 1
    pad_input: bool = True
    hidden_padding: int | None = None
    stack: int | tuple[int, ...] | None = None
    linear: bool = False
    nonlinearity: str = "elu"
    elu_shift: tuple[float, float] = (0.0, 0.0)
    final_nonlinearity: bool = True
    bias: bool | tuple[bool, ...] = True
    batch_norm: bool | tuple[bool, ...] = True
    batch_norm_scale: bool | tuple[bool, ...] = True
    shared_norm: bool = True
    momentum: float = 0.1
    norm_groups: str = "mouse"
    remat: bool = False  # recompute layers in the backward pass to save memory
    init_deviation: float = 0.1

    causal = True  # no answer depends on frames after its own

    @property
    def lost_frames(self) -> int:
        """Frames by which the output is shorter than the input: none."""
        return 0

    def out_shape(self, frames: int, height: int, width: int) -> tuple[int, ...]:
        """Frames, rows, columns and features of the output; no parameters needed."""
        shapes, shape = [], (frames, height, width)
        for geometry in self._plan():
            shape = geometry.out(*shape)
            shapes.append(shape)
        features = per_layer(self.hidden_channels, self.layers, "hidden_channels")
        return stacked_shape(shapes, [f * self.rotations for f in features], self.stack)

    @nn.compact
    def __call__(
        self, x_mbthwc: Array, *, train: bool, mice_m: Array | None = None
    ) -> Array:
        """Features of all mice at once; mice False in mice_m are padding."""
        check_channels(x_mbthwc, self.input_channels, "RotationEquivariant2dCore")
        self.out_shape(*x_mbthwc.shape[2:5])
        x, maps = x_mbthwc, []
        for index, geometry in enumerate(self._plan()):
            block = self._block(index, geometry)
            x = through_layer(block, x, train=train, mice_m=mice_m, remat=self.remat)
            maps.append(x)
        return jnp.concatenate([maps[i] for i in chosen(self.layers, self.stack)], -1)

    def _block(self, index: int, geometry: Geometry) -> Block:
        """Convolution, norm and nonlinearity of one layer."""
        count = self.layers
        features = per_layer(self.hidden_channels, count, "hidden_channels")[index]
        bias = per_layer(self.bias, count, "bias")[index]
        scale = per_layer(self.batch_norm_scale, count, "batch_norm_scale")[index]
        normed = per_layer(self.batch_norm, count, "batch_norm")[index]
        convolution = partial(
            HermiteConv,
            features,
            geometry,
            self.rotations,
            self.upsampling,
            index == 0,
            self.init_deviation,
        )
        norm = partial(
            BatchNorm,
            self.momentum,
            scale,
            bias,
            self.rotations if self.shared_norm else 1,
            self.norm_groups,
        )
        silent = self.linear or (index == count - 1 and not self.final_nonlinearity)
        return Block(
            (("conv", convolution),),
            norm if normed else None,
            None if silent else self.nonlinearity,
            self.elu_shift,
            name=f"layer{index}",
        )

    def _plan(self) -> list[Geometry]:
        """Geometry of each layer."""
        hidden = per_layer(self.hidden_kernel, self.layers - 1, "hidden_kernel")
        padding = self.hidden_padding
        if padding is None and hidden:
            padding = hidden[0] // 2  # the original keeps the first one for all
        first = self.input_kernel // 2 if self.pad_input else 0
        sizes = [(self.input_kernel, first)] + [(size, padding) for size in hidden]
        return [
            Geometry.of(pair(size), stride=self.stride, padding=pad or 0)
            for size, pad in sizes
        ]


class HermiteConv(nn.Module):
    """Convolution by steerable filters at every orientation; no bias.

    Its only parameter is coefficients [n, C, F], one set for all orientations.
    """

    features: int
    geometry: Geometry
    rotations: int
    upsampling: int
    first: bool
    init_deviation: float = 0.1

    @nn.compact
    def __call__(self, x_mbthwc: Array) -> Array:
        """Features [M, B, T, H', W', R*F]."""
        size = self.geometry.size[0]
        shape = (size * (size + 1) // 2, x_mbthwc.shape[-1], self.features)
        init = nn.initializers.normal(self.init_deviation)
        kernel = rotated_kernels(
            self.param("coefficients", init, shape),
            size,
            rotations=self.rotations,
            upsampling=self.upsampling,
            first=self.first,
        )
        stride, padding = self.geometry.stride[0], self.geometry.padding[0]
        return layers.spatial_conv(
            x_mbthwc, kernel.astype(x_mbthwc.dtype), stride=stride, padding=padding
        )
