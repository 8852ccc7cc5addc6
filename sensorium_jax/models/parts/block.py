"""One layer of any convolutional core: convolutions, batch norm, nonlinearity."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from sensorium_jax.errors import UserError, unknown
from sensorium_jax.models.ops import convolutions

Array = Any
NONLINEARITIES = {
    "elu": jax.nn.elu,
    "relu": jax.nn.relu,
    "softplus": jax.nn.softplus,
    "tanh": jnp.tanh,
    "exp": jnp.exp,
}


class Block(nn.Module):
    """Convolutions in order, then batch norm, nonlinearity and squeeze-excitation.

    Each part but the first may be missing. Convolutions are (name, constructor) pairs:
    the name is the parameters' path.
    """

    convolutions: tuple[tuple[str, Callable[..., nn.Module]], ...]
    norm: Callable[..., nn.Module] | None = None
    nonlinearity: str | None = "elu"
    elu_shift: tuple[float, float] = (0.0, 0.0)
    squeeze: int = 0  # reduction of the squeeze-excitation; 0 is none

    @nn.compact
    def __call__(
        self, x_mbthwc: Array, *, train: bool, mice_m: Array | None = None
    ) -> Array:
        """Features [M, B, T', H', W', F]."""
        x = x_mbthwc
        for name, convolution in self.convolutions:
            x = convolution(name=name)(x)
        if self.norm is not None:
            x = self.norm(name="norm")(x, train=train, mice_m=mice_m)
        if self.nonlinearity is not None:
            x = activate(x, self.nonlinearity, self.elu_shift)
        return SqueezeExcite(self.squeeze, name="squeeze")(x) if self.squeeze else x


class SqueezeExcite(nn.Module):
    """Scale each frame's features by a gate computed from their means over space.

    Hu et al. 2018, https://arxiv.org/abs/1709.01507.
    """

    reduction: int = 16

    @nn.compact
    def __call__(self, x_mbthwf: Array) -> Array:
        """Gated features, same shape."""
        features = x_mbthwf.shape[-1]
        if features < self.reduction:
            raise UserError(
                f"Squeeze-excitation divides {features} features by {self.reduction}, "
                "which leaves none; choose a smaller reduction or more features."
            )
        gate = x_mbthwf.mean((3, 4), keepdims=True)
        gate = jax.nn.relu(_Linear(features // self.reduction, name="reduce")(gate))
        gate = jax.nn.sigmoid(_Linear(features, name="expand")(gate))
        return x_mbthwf * gate


class _Linear(nn.Module):
    """Linear layer whose kernel and bias both start uniform in 1 / sqrt(fan-in)."""

    features: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        bound = x.shape[-1] ** -0.5

        def uniform(key: Array, shape: tuple[int, ...]) -> Array:
            return jax.random.uniform(key, shape, minval=-bound, maxval=bound)

        kernel = self.param("kernel", uniform, (x.shape[-1], self.features))
        bias = self.param("bias", uniform, (self.features,))
        return convolutions.pointwise(x, kernel.astype(x.dtype), bias)


def activate(x: Array, kind: str, elu_shift: tuple[float, float] = (0.0, 0.0)) -> Array:
    """Apply a named nonlinearity; an ELU may be shifted: elu(x - first) + second."""
    if kind not in NONLINEARITIES:
        raise unknown("nonlinearity", kind, NONLINEARITIES)
    if kind != "elu" or tuple(elu_shift) == (0.0, 0.0):
        return NONLINEARITIES[kind](x)
    return jax.nn.elu(x - elu_shift[0]) + elu_shift[1]


def per_layer(value: Any, layers: int, name: str) -> tuple:
    """One entry for each layer, from a single value or a sequence of that length."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return (value,) * layers
    if len(value) != layers:
        raise UserError(
            f"{name} has {len(value)} entries: {tuple(value)}. Expected one value, or "
            f"{layers}: one for each layer it applies to."
        )
    return tuple(value)


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    """Rows and columns from one number or two."""
    rows, columns = (value, value) if isinstance(value, int) else value
    return (rows, columns)


def check_channels(x_mbthwc: Array, expected: int, what: str) -> None:
    """Refuse an input of another rank or another number of channels."""
    if x_mbthwc.ndim != 6 or x_mbthwc.shape[-1] != expected:
        raise UserError(
            f"{what} got an input of shape {tuple(x_mbthwc.shape)}, expected "
            f"[mouse, window, frame, row, column, channel] with {expected} channels. "
            "Change input_channels, or the behavior and pupil signals that are "
            "appended to the video as channels."
        )
