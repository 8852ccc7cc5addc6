"""Core of two-dimensional convolutions equivariant to rotation (GRU baseline 2023)."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from sensorium_jax.models.cores.layered import (
    LayeredCore,
    stacked_layers,
    stacked_shape,
    through,
)
from sensorium_jax.models.ops import convolutions
from sensorium_jax.models.ops.geometry import Geometry
from sensorium_jax.models.parts.block import check_channels, pair, per_layer
from sensorium_jax.models.parts.hermite import rotated_kernels
from sensorium_jax.models.parts.penalties import Offered, average, each
from sensorium_jax.models.parts.smoothness import group_sparsity, laplace_l2norm

Array = Any


class RotationEquivariant2dCore(LayeredCore):
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
    shared_norm: bool = True
    init_deviation: float = 0.1

    causal = True  # no answer depends on frames after its own

    @property
    def penalties(self) -> Offered:
        """Smoothness of the first kernels and sparsity of the others."""
        of = partial(rotated, rotations=self.rotations, upsampling=self.upsampling)
        smooth = each(of(laplace_l2norm, first=True))
        sparse = average(of(group_sparsity, first=False))
        return {
            "rotated_laplace_l2norm": ("layer0/conv/coefficients", smooth),
            "rotated_group_sparsity": (r"layer[1-9]\d*/conv/coefficients", sparse),
        }

    @property
    def lost_frames(self) -> int:
        """Frames by which the output is shorter than the input: none."""
        return 0

    def out_shape(self, frames: int, height: int, width: int) -> tuple[int, ...]:
        """Frames, rows, columns and features of the output; no parameters needed."""
        shapes = through(self._plan(), (frames, height, width))
        features = [f * self.rotations for f in self._widths()]
        return stacked_shape(shapes, features, self.stack)

    @nn.compact
    def __call__(
        self, x_mbthwc: Array, *, train: bool, mice_m: Array | None = None
    ) -> Array:
        """Features of all mice at once; mice False in mice_m are padding."""
        check_channels(x_mbthwc, self.input_channels, "RotationEquivariant2dCore")
        self.out_shape(*x_mbthwc.shape[2:5])
        x, maps, count, features = x_mbthwc, [], self.layers, self._widths()
        for index, geometry in enumerate(self._plan()):
            last = index == count - 1
            convolution = partial(
                HermiteConv,
                features[index],
                geometry,
                self.rotations,
                self.upsampling,
                index == 0,
                self.init_deviation,
            )
            x = self.apply_layer(
                x,
                index,
                count,
                (("conv", convolution),),
                nonlinear=not self.linear and (self.final_nonlinearity or not last),
                rotations=self.rotations if self.shared_norm else 1,
                train=train,
                mice_m=mice_m,
            )
            maps.append(x)
        return jnp.concatenate([maps[i] for i in stacked_layers(count, self.stack)], -1)

    def _widths(self) -> tuple[int, ...]:
        return per_layer(self.hidden_channels, self.layers, "hidden_channels")

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
        return convolutions.spatial_conv(
            x_mbthwc, kernel.astype(x_mbthwc.dtype), stride=stride, padding=padding
        )


def rotated(
    function: Callable[[Array], Array],
    *,
    rotations: int,
    upsampling: int = 2,
    first: bool,
) -> Callable[[Array], Array]:
    """A kernel's function of the steerable coefficients [n, in, out] that make it.

    The originals penalize the kernels at all orientations, not the coefficients.
    """

    def of_coefficients(coefficients_nio: Array) -> Array:
        size = round(((8 * coefficients_nio.shape[0] + 1) ** 0.5 - 1) / 2)
        kernel = rotated_kernels(
            coefficients_nio,
            size,
            rotations=rotations,
            upsampling=upsampling,
            first=first,
        )
        return function(kernel)

    return of_coefficients
