"""Penalties: what a part of a model offers, and the general ones for any leaves.

A penalty's function takes the matched leaves by name and the mask of real neurons
[M, N], and returns a number (the core's) or one per mouse [M] (readout, shifter,
modulator). A part offers its own under names, each with the leaves it is meant for: a
regex on their paths below the part. Formulas are those of neuralpredictors unless a
docstring says otherwise.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from sensorium_jax.models.parts import smoothness

Array = Any
Leaves = dict[str, Array]
Function = Callable[[Leaves, Array], Array]
Offered = Mapping[str, tuple[str, Function]]  # name: leaf regex, function


def each(function: Callable[[Array], Array]) -> Function:
    """Penalty function: the sum over leaves of function(leaf)."""
    return lambda leaves, _: jnp.sum(jnp.stack([function(v) for v in leaves.values()]))


def average(function: Callable[[Array], Array]) -> Function:
    """Penalty function: the mean over leaves of function(leaf)."""
    return lambda leaves, _: jnp.mean(jnp.stack([function(v) for v in leaves.values()]))


def l1(leaf: Array) -> Array:
    """Sum of magnitudes."""
    return jnp.sum(jnp.abs(leaf))


def by_last_word(leaves: Leaves) -> Leaves:
    """Leaves under the last word of their paths."""
    return {name.rsplit("/", 1)[-1]: leaf for name, leaf in leaves.items()}


def neurons_per_mouse(neurons_mn: Array) -> Array:
    """Real neurons of each mouse [M], at least 1: what means are divided by."""
    return jnp.maximum(neurons_mn.sum(1), 1)


GENERAL: dict[str, Function] = {
    "l1": each(l1),
    "laplace_l1": each(smoothness.laplace_l1),
    "laplace_l2": each(smoothness.laplace_l2),
    "laplace_l2norm": each(smoothness.laplace_l2norm),
    "gaussian_laplace_l2": each(smoothness.gaussian_laplace_l2),
    "depth_laplace_l2norm": each(smoothness.depth_laplace_l2norm),
    "laplace_l2_3d": each(smoothness.laplace_l2_3d),
    "flat_laplace_l2_3d": each(smoothness.flat_laplace_l2_3d),
    "frames_laplace_l2norm": each(smoothness.frames_laplace_l2norm),
    "pixels_laplace_l2norm": each(smoothness.pixels_laplace_l2norm),
    "group_sparsity": average(smoothness.group_sparsity),
}
