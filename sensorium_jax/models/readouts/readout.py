"""What a readout is, and what readouts share."""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from sensorium_jax.models.parts.penalties import (
    Function,
    Leaves,
    Offered,
    neurons_per_mouse,
)
from sensorium_jax.models.rows import Mouse, Side, per_neuron

Array = Any


class Readout(Protocol):
    """A linen module from feature maps to the drive of one mouse's neurons.

    The encoder maps it over mice; parameters follow from the mouse (rows.Mouse).
    """

    @property
    def needs_coordinates(self) -> bool:
        """Whether it must know where each neuron lies in cortex."""
        ...

    @property
    def penalties(self) -> Offered:
        """Penalties of its own by name: (regex on paths below it, function)."""
        ...

    def __call__(
        self, feat_bthwf: Array, mouse: Mouse, side: Side, *, train: bool
    ) -> Array:
        """Drive of each neuron, [B, T, N]."""
        ...


def real(value: Array, mouse: Mouse) -> Array:
    """Value [N, ...] with zeros for the neurons that do not exist."""
    mask = mouse.neurons_n.reshape((-1,) + (1,) * max(value.ndim - 1, 0))
    return jnp.where(mask, value, 0.0)


def drawn(mouse: Mouse, draw: Callable[..., Array]) -> Callable[..., Array]:
    """Start of a parameter [N, ...]: draw(key, shape) for each neuron of the mouse."""

    def start(key: Array, shape: tuple[int, ...]) -> Array:
        key = jax.random.fold_in(key, mouse.id)
        return real(per_neuron(key, mouse.neurons_n.shape[0], shape, draw), mouse)

    return start


def normal(mouse: Mouse, deviation: Array) -> Callable[..., Array]:
    """Start of a parameter [N, ...]: normal with mean zero."""
    return drawn(mouse, lambda key, shape: deviation * jax.random.normal(key, shape))


def uniform(mouse: Mouse, bound: float) -> Callable[..., Array]:
    """Start of a parameter [N, ...]: uniform within the bound."""
    draw = partial(jax.random.uniform, minval=-bound, maxval=bound)
    return drawn(mouse, draw)


def readout_l1(leaves: Leaves, neurons_mn: Array, *, mean: bool = False) -> Array:
    """Sum (or mean) of |features| over the real neurons of each mouse, [M]."""
    (weight_mnf,) = leaves.values()
    magnitude_mn = jnp.sum(jnp.abs(weight_mnf), 2)
    total_m = jnp.sum(magnitude_mn, 1, where=neurons_mn)
    if not mean:
        return total_m
    return total_m / (neurons_per_mouse(neurons_mn) * weight_mnf.shape[2])


FEATURES_L1: tuple[str, Function] = ("features", readout_l1)
