"""From drive to firing rate."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sensorium_jax.errors import unknown

Array = Any


class Output(NamedTuple):
    """What ends the model: 'elu' (+1), 'softplus', 'exp', or 'none', a line."""

    kind: str = "elu"
    offset: float = 0.0  # added before the ELU
    beta: float = 1.0  # of the softplus

    def rate(self, drive: Array) -> Array:
        """Firing rates of drives, same shape."""
        if self.kind == "elu":
            return jax.nn.elu(drive + self.offset) + 1
        if self.kind == "softplus":
            return softplus(drive, self.beta)
        if self.kind == "exp":
            return jnp.exp(drive)
        if self.kind == "none":
            return drive
        raise unknown("output", self.kind, ("elu", "softplus", "exp", "none"))


def softplus(x: Array, beta: float = 1.0) -> Array:
    """log(1 + exp(beta x)) / beta, exactly x where beta x > 20 as PyTorch has it."""
    return jnp.where(beta * x > 20, x, jax.nn.softplus(beta * x) / beta)
