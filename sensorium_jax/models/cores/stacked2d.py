"""Core of stacked two-dimensional convolutions (2022 baselines, with linear the LN)."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from sensorium_jax.errors import UserError
from sensorium_jax.models.cores.layered import (
    LayeredCore,
    stacked_layers,
    stacked_shape,
    through,
)
from sensorium_jax.models.ops.geometry import Geometry
from sensorium_jax.models.parts.block import check_channels, pair, per_layer
from sensorium_jax.models.parts.conv import Conv, DepthSeparable

Array = Any


class Stacked2dCore(LayeredCore):
    """Images (each frame one) [M, B, T, H, W, C] to features [M, B, T, H', W', F].

    * layers: depth_separable changes every layer but the first; hidden_* too serve
      only those. hidden_padding None keeps the size; pad_input is of the first layer.
    * skip > 1: a layer reads the concatenated maps of up to that many layers before.
    * stack: -1 gives the last layer's maps, None all maps concatenated, an int all
      from that layer on, a sequence those layers.
    * bias, batch_norm_scale: the norm's bias and scale. conv_bias: layers after the
      first carry convolution biases, as in the current original; the checkpoints
      published in 2022 were trained without.
    * linear removes every nonlinearity; final_nonlinearity is of the last layer.
    * squeeze_blocks: squeeze-excitation after that many of the last layers.

    Baselines of Willeke et al. 2022, https://arxiv.org/abs/2206.08666.
    """

    input_channels: int
    hidden_channels: int | tuple[int, ...]
    input_kernel: int
    hidden_kernel: int | tuple[int, ...]
    layers: int = 3
    skip: int = 0
    stride: int = 1
    input_stride: int = 1
    pad_input: bool = True
    hidden_padding: int | tuple[int, int] | None = None
    hidden_dilation: int = 1
    stack: int | tuple[int, ...] | None = None
    depth_separable: bool = False
    linear: bool = False
    conv_bias: bool = True
    squeeze_blocks: int = 0
    squeeze_reduction: int = 32

    causal = True  # no answer depends on frames after its own

    @property
    def lost_frames(self) -> int:
        """Frames by which the output is shorter than the input: none."""
        return 0

    def out_shape(self, frames: int, height: int, width: int) -> tuple[int, ...]:
        """Frames, rows, columns and features of the output; no parameters needed."""
        shapes = through(self._plan(), (frames, height, width))
        return stacked_shape(shapes, self._widths(), self.stack)

    @nn.compact
    def __call__(
        self, x_mbthwc: Array, *, train: bool, mice_m: Array | None = None
    ) -> Array:
        """Features of all mice at once; mice False in mice_m are padding."""
        check_channels(x_mbthwc, self.input_channels, "Stacked2dCore")
        self.out_shape(*x_mbthwc.shape[2:5])
        x, maps, count, features = x_mbthwc, [], self.layers, self._widths()
        for index, geometry in enumerate(self._plan()):
            if index and self.skip > 1:
                x = jnp.concatenate(maps[-min(self.skip, index) :], -1)
            last = index == count - 1
            separable = self.depth_separable and index > 0
            squeezed = index > 0 and count - index <= self.squeeze_blocks
            convolution = partial(
                DepthSeparable if separable else Conv,
                features[index],
                geometry,
                self.conv_bias and index > 0,
            )
            x = self.apply_layer(
                x,
                index,
                count,
                (("conv", convolution),),
                nonlinear=not self.linear and (self.final_nonlinearity or not last),
                squeeze=self.squeeze_reduction if squeezed else 0,
                train=train,
                mice_m=mice_m,
            )
            maps.append(x)
        return jnp.concatenate([maps[i] for i in stacked_layers(count, self.stack)], -1)

    def _widths(self) -> tuple[int, ...]:
        return per_layer(self.hidden_channels, self.layers, "hidden_channels")

    def _plan(self) -> list[Geometry]:
        """Geometry of each layer."""
        if self.skip > 1 and not isinstance(self.hidden_channels, int):
            raise UserError(
                f"skip={self.skip} needs one number of hidden_channels for all layers, "
                f"found {self.hidden_channels}."
            )
        first = Geometry.of(
            pair(self.input_kernel),
            stride=self.input_stride,
            padding=self.input_kernel // 2 if self.pad_input else 0,
        )
        plan = [first]
        for size in per_layer(self.hidden_kernel, self.layers - 1, "hidden_kernel"):
            same = ((size - 1) * self.hidden_dilation + 1) // 2
            plan.append(
                Geometry.of(
                    pair(size),
                    stride=self.stride,
                    # The original reads a padding of 0 as "keep the size".
                    padding=pair(self.hidden_padding or same),
                    dilation=self.hidden_dilation,
                )
            )
        return plan
