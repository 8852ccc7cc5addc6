"""Core of spatial convolutions each followed by a temporal one (2023 baseline)."""

from dataclasses import field
from functools import partial
from typing import Any

import flax.linen as nn

from sensorium_jax.models.cores.layered import LayeredCore, through
from sensorium_jax.models.ops.geometry import Geometry
from sensorium_jax.models.parts.block import check_channels, pair, per_layer
from sensorium_jax.models.parts.conv import Conv

Array = Any


class Factorized3dCore(LayeredCore):
    """Video [M, B, T, H, W, C] to features [M, B, T', H', W', F], space then time.

    Padding is of space only; time always shrinks by the temporal kernels. Spatial
    kernels are (rows, columns) or one number; hidden_* serve every layer after the
    first. As in the original, layer l > 0 takes stride[l - 1] (so the last one is
    unused), layers after the first carry convolution biases even without bias, and
    final_nonlinearity matters only to a one-layer core. Baseline of
    Turishcheva et al. 2024, https://arxiv.org/abs/2407.09100.
    """

    input_channels: int
    hidden_channels: int | tuple[int, ...]
    input_spatial_kernel: int | tuple[int, int]
    input_temporal_kernel: int
    hidden_spatial_kernel: int | tuple[int, int]
    hidden_temporal_kernel: int
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
        plan = self._plan()
        return sum(t.dilation[0] * (t.size[0] - 1) for _, t in plan)

    def out_shape(self, frames: int, height: int, width: int) -> tuple[int, ...]:
        """Frames, rows, columns and features of the output; no parameters needed."""
        flat = [geometry for layer in self._plan() for geometry in layer]
        return (*through(flat, (frames, height, width))[-1], self._widths()[-1])

    @nn.compact
    def __call__(
        self, x_mbthwc: Array, *, train: bool, mice_m: Array | None = None
    ) -> Array:
        """Features of all mice at once; mice False in mice_m are padding."""
        check_channels(x_mbthwc, self.input_channels, "Factorized3dCore")
        self.out_shape(*x_mbthwc.shape[2:5])
        x, count = x_mbthwc, self.layers
        features, (biased, *_) = self._widths(), per_layer(self.bias, count, "bias")
        for index, (spatial, temporal) in enumerate(self._plan()):
            conv = partial(Conv, features[index], use_bias=biased or index > 0)
            x = self.apply_layer(
                x,
                index,
                count,
                (
                    ("spatial", partial(conv, geometry=spatial)),
                    ("temporal", partial(conv, geometry=temporal)),
                ),
                nonlinear=count > 1 or self.final_nonlinearity,
                train=train,
                mice_m=mice_m,
            )
        return x

    def _widths(self) -> tuple[int, ...]:
        return per_layer(self.hidden_channels, self.layers, "hidden_channels")

    def _plan(self) -> list[tuple[Geometry, Geometry]]:
        """Spatial and temporal geometry of each layer."""
        hidden = self.layers - 1
        stride = per_layer(self.stride, self.layers, "stride")
        space = (
            self.input_spatial_dilation,
            *per_layer(self.hidden_spatial_dilation, hidden, "hidden_spatial_dilation"),
        )
        time = (
            self.input_temporal_dilation,
            *per_layer(
                self.hidden_temporal_dilation, hidden, "hidden_temporal_dilation"
            ),
        )
        plan = []
        for index in range(self.layers):
            first = index == 0
            kernel = pair(
                self.input_spatial_kernel if first else self.hidden_spatial_kernel
            )
            frames = (
                self.input_temporal_kernel if first else self.hidden_temporal_kernel
            )
            spatial = Geometry.of(
                kernel,
                stride=stride[max(index - 1, 0)],
                padding=(kernel[0] // 2, kernel[1] // 2) if self.padding else 0,
                dilation=space[index],
            )
            plan.append((spatial, Geometry.of((frames,), dilation=time[index])))
        return plan
