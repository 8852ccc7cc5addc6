"""Convolutional gated recurrent unit over the frames of a core's features."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from sensorium_jax.errors import UserError
from sensorium_jax.models.ops import convolutions, recur
from sensorium_jax.models.ops.geometry import Geometry
from sensorium_jax.models.parts.block import check_channels
from sensorium_jax.models.parts.conv import xavier_normal
from sensorium_jax.models.parts.penalties import Leaves, Offered

Array = Any
GATES = ("reset", "update", "out")


class ConvGRU(nn.Module):
    """Features [M, B, T, H, W, C] to the state after every frame [M, B, T, H', W', F].

    The state starts at zero in every call: r = s(Wr x + Ur h), u = s(Wu x + Uu h),
    n = tanh(Wo x + Uo (h r)), h <- h (1 - u) + n u. Input and hidden convolutions both
    have biases; hidden ones keep the size, input ones do if pad_input.
    Sinz et al. 2018, https://doi.org/10.1101/452672.
    """

    input_channels: int
    features: int
    input_kernel: int
    hidden_kernel: int
    channel_groups: int = 1
    pad_input: bool = True
    causal = True

    @property
    def penalties(self) -> Offered:
        """L1 of the hidden gates."""
        return {"gru_l1": (".*", gru_l1)}

    @property
    def lost_frames(self) -> int:
        """Frames by which the output is shorter than the input: none."""
        return 0

    def out_shape(self, frames: int, height: int, width: int) -> tuple[int, ...]:
        """Frames, rows, columns and features of the output; no parameters needed."""
        padding = self.input_kernel // 2 if self.pad_input else 0
        geometry = Geometry.of((self.input_kernel,) * 2, padding=padding)
        return (*geometry.out(frames, height, width), self.features)

    @nn.compact
    def __call__(self, x_mbthwc: Array) -> Array:
        """States of all mice at once."""
        check_channels(x_mbthwc, self.input_channels, "ConvGRU")
        if self.hidden_kernel % 2 == 0:
            raise UserError(
                f"hidden_kernel of ConvGRU is {self.hidden_kernel}; an even kernel "
                "changes the size of the state. Choose an odd one."
            )
        # The input's convolutions do not wait for the state: all frames, all gates.
        drive_mbthwf = convolutions.spatial_conv(
            x_mbthwc,
            *self._weights("input", self.input_kernel, self.input_channels, GATES),
            padding=self.input_kernel // 2 if self.pad_input else 0,
        )
        size, f = self.hidden_kernel, self.features
        gates, out = (
            self._weights("hidden", size, f, g) for g in (GATES[:2], GATES[2:])
        )
        return recur.states(drive_mbthwf, recur.Weights(*gates, *out))

    def _weights(
        self, part: str, size: int, channels: int, gates: tuple[str, ...]
    ) -> tuple[Array, Array]:
        """Kernels [h, w, C, gates * F] and biases of several gates side by side."""
        pairs = [
            _Gate(
                self.features, size, channels, self.channel_groups, name=f"{g}_{part}"
            )()
            for g in gates
        ]
        kernels, biases = zip(*pairs, strict=True)
        return jnp.concatenate(kernels, -1), jnp.concatenate(biases)


class _Gate(nn.Module):
    """Parameters of one convolution; grouped kernels come back with their zeros."""

    features: int
    size: int
    channels: int
    groups: int

    @nn.compact
    def __call__(self) -> tuple[Array, Array]:
        """Kernel [h, w, C, F] and bias [F]."""
        shape = (self.size, self.size, self.channels // self.groups, self.features)
        kernel = self.param("kernel", xavier_normal, shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        if self.groups == 1:
            return kernel, bias
        blocks = jnp.split(kernel, self.groups, axis=-1)
        rows = [
            jnp.concatenate(
                [b if i == j else jnp.zeros_like(b) for j in range(len(blocks))], 2
            )
            for i, b in enumerate(blocks)
        ]
        return jnp.concatenate(rows, -1), bias


def gru_l1(leaves: Leaves, neurons_mn: Array, *, official: bool = True) -> Array:
    """Mean magnitude of the hidden gates' biases, a third each.

    The original takes the update gate's kernel in place of its bias.
    """
    del neurons_mn
    update = "update_hidden/kernel" if official else "update_hidden/bias"
    wanted = ("reset_hidden/bias", update, "out_hidden/bias")
    values = [value for name, value in leaves.items() if name.endswith(wanted)]
    return jnp.sum(jnp.stack([jnp.mean(jnp.abs(value)) for value in values])) / 3
