"""Core of full three-dimensional convolutions."""

from dataclasses import field
from functools import partial
from typing import Any

import flax.linen as nn

from sensorium_jax.models.cores.layered import LayeredCore, through
from sensorium_jax.models.ops.geometry import Geometry
from sensorium_jax.models.parts.block import check_channels, per_layer
from sensorium_jax.models.parts.conv import Conv

Array = Any
Kernel = int | tuple[int, int, int]


class Basic3dCore(LayeredCore):
    """Video [M, B, T, H, W, C] to features [M, B, T', H', W', F].

    Kernels are (frames, rows, columns) or one number; padding is of space only. As in
    the original, layers after the first carry convolution biases even without bias,
    their dilation is hidden_*_dilation[l - 1], and final_nonlinearity matters only to
    a one-layer core.
    """

    input_channels: int
    hidden_channels: int | tuple[int, ...]
    input_kernel: Kernel
    hidden_kernel: Kernel
    layers: int = 3
    stride: int | tuple[int, ...] = 1
    padding: bool = False
    input_spatial_dilation: int = 1
    input_temporal_dilation: int = 1
    hidden_spatial_dilation: int | tuple[int, ...] = 1
    hidden_temporal_dilation: int | tuple[int, ...] = 1
    momentum: float = field(default=0.01, kw_only=True)

    causal = True  # no answer depends on frames after its own

    @property
    def lost_frames(self) -> int:
        """Frames by which the output is shorter than the input."""
        return sum(g.dilation[0] * (g.size[0] - 1) for g in self._plan())

    def out_shape(self, frames: int, height: int, width: int) -> tuple[int, ...]:
        """Frames, rows, columns and features of the output; no parameters needed."""
        return (*through(self._plan(), (frames, height, width))[-1], self._widths()[-1])

    @nn.compact
    def __call__(
        self, x_mbthwc: Array, *, train: bool, mice_m: Array | None = None
    ) -> Array:
        """Features of all mice at once; mice False in mice_m are padding."""
        check_channels(x_mbthwc, self.input_channels, "Basic3dCore")
        self.out_shape(*x_mbthwc.shape[2:5])
        x, count = x_mbthwc, self.layers
        features, (biased, *_) = self._widths(), per_layer(self.bias, count, "bias")
        for index, geometry in enumerate(self._plan()):
            x = self.apply_layer(
                x,
                index,
                count,
                (
                    (
                        "conv",
                        partial(Conv, features[index], geometry, biased or index > 0),
                    ),
                ),
                nonlinear=count > 1 or self.final_nonlinearity,
                train=train,
                mice_m=mice_m,
            )
        return x

    def _widths(self) -> tuple[int, ...]:
        return per_layer(self.hidden_channels, self.layers, "hidden_channels")

    def _plan(self) -> list[Geometry]:
        """Geometry of each layer."""
        stride = per_layer(self.stride, self.layers, "stride")
        # The original indexes these from the second layer on, yet wants one per layer.
        space = per_layer(
            self.hidden_spatial_dilation, self.layers, "hidden_spatial_dilation"
        )
        time = per_layer(
            self.hidden_temporal_dilation, self.layers, "hidden_temporal_dilation"
        )
        space = (self.input_spatial_dilation, *space)
        time = (self.input_temporal_dilation, *time)
        plan = []
        for index in range(self.layers):
            kernel = self.input_kernel if index == 0 else self.hidden_kernel
            size = (kernel,) * 3 if isinstance(kernel, int) else tuple(kernel)
            rows, columns = (size[1] // 2, size[2] // 2) if self.padding else (0, 0)
            s, d = stride[index], space[index]
            plan.append(
                Geometry(size, (1, s, s), (0, rows, columns), (time[index], d, d))
            )
        return plan
