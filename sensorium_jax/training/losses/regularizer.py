"""Penalties on parameters, chosen by regex on their paths.

A penalty's function takes the matched leaves by name and the mask of real neurons,
and returns a number (the core's) or one per mouse [M] (readout, shifter, modulator).
The functions themselves are offered by the parts of a model.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from sensorium_jax import trees

Array = Any
Tree = Any
Leaves = dict[str, Array]


class Penalty(NamedTuple):
    """weight * function(leaves whose whole path the pattern matches, neurons_mn)."""

    pattern: str
    function: Callable[[Leaves, Array], Array]
    weight: float


def total(
    penalties: Sequence[Penalty],
    params: Tree,
    neurons_mn: Array,
    mice_m: Array,
    *,
    core_per_mouse: bool = True,
) -> Array:
    """Sum of all penalties over real mice; padding neurons and mice count nothing.

    The originals add the core's penalty to every mouse's batch, so a step over M mice
    carries it M times; core_per_mouse=False counts it once.
    """
    pieces_m = pieces(
        penalties, params, neurons_mn, mice_m, core_per_mouse=core_per_mouse
    )
    return jnp.sum(pieces_m)


def pieces(
    penalties: Sequence[Penalty],
    params: Tree,
    neurons_mn: Array,
    mice_m: Array,
    *,
    core_per_mouse: bool = True,
) -> Array:
    """Penalty of each mouse [M]; zero where mice_m is False."""
    mice_m = jnp.asarray(mice_m, bool)
    total_m = jnp.zeros(mice_m.shape)
    share = 1.0 if core_per_mouse else 1 / jnp.maximum(mice_m.sum(), 1)
    for penalty in penalties:
        leaves = trees.select(params, penalty.pattern)
        if penalty.weight == 0:
            continue
        value = penalty.function(leaves, jnp.asarray(neurons_mn, bool))
        value_m = value if value.ndim else jnp.broadcast_to(value * share, mice_m.shape)
        total_m = total_m + jnp.where(mice_m, penalty.weight * value_m, 0.0)
    return total_m


def clip(params: Tree, rules: Sequence[tuple[str, float, float]]) -> Tree:
    """Params with the leaves of each (pattern, low, high) clipped, for after a step.

    The originals keep free positions in -1..1 by writing into the parameter.
    """

    def one(name: str, value: Array) -> Array:
        bounds = trees.first_match([(p, (a, b)) for p, a, b in rules], name)
        return value if bounds is None else jnp.clip(value, *bounds)

    return trees.map_named(one, params)
