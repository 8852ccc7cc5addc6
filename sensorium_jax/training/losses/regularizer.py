"""Penalties on parameters, chosen by regex on their paths.

A penalty's function takes the matched leaves by name and the mask of real neurons,
and returns a number (the core's) or one per mouse [M] (readout, shifter, modulator).
Formulas are those of neuralpredictors unless a docstring says otherwise.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from sensorium_jax import trees
from sensorium_jax.models.parts.hermite import rotated_kernels
from sensorium_jax.models.readouts.factorized import masks

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


def each(function: Callable[[Array], Array]) -> Callable[[Leaves, Array], Array]:
    """Penalty function: the sum over leaves of function(leaf)."""
    return lambda leaves, _: jnp.sum(jnp.stack([function(v) for v in leaves.values()]))


def average(function: Callable[[Array], Array]) -> Callable[[Leaves, Array], Array]:
    """Penalty function: the mean over leaves of function(leaf)."""
    return lambda leaves, _: jnp.mean(jnp.stack([function(v) for v in leaves.values()]))


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


def l1(leaf: Array) -> Array:
    """Sum of magnitudes."""
    return jnp.sum(jnp.abs(leaf))


def readout_l1(leaves: Leaves, neurons_mn: Array, *, mean: bool = False) -> Array:
    """Sum (or mean) of |features| over the real neurons of each mouse, [M]."""
    (weight_mnf,) = leaves.values()
    magnitude_mn = jnp.sum(jnp.abs(weight_mnf), 2)
    total_m = jnp.sum(magnitude_mn, 1, where=neurons_mn)
    return total_m / (_count(neurons_mn) * weight_mnf.shape[2]) if mean else total_m


def shared_readout_l1(match_mn: Array, *, mean: bool = False):
    """Penalty function for shared features: |scale * features of its match|.

    match_mn is the encoder's info 'match_n'; the pattern matches scales and features.
    """

    def function(leaves: Leaves, neurons_mn: Array) -> Array:
        named = _last(leaves)
        rows_mnf = jnp.take_along_axis(named["features"], match_mn[:, :, None], axis=1)
        scaled = {"features": named["scales"][:, :, None] * rows_mnf}
        return readout_l1(scaled, neurons_mn, mean=mean)

    return function


def factorized_l1(
    leaves: Leaves,
    neurons_mn: Array,
    *,
    mean: bool = False,
    per_neuron: bool = False,
    normalize: bool = True,
    positive_spatial: bool = False,
    constrain_positive: bool = False,
) -> Array:
    """Joint L1 of masks and features of the factorized readout, [M].

    The original multiplies the sum over all masks by the sum over all features (a
    broadcast gone wrong, about N times too large); per_neuron=True sums over neurons
    the product of each one's own. The last three arguments are the readout's.
    """
    named = _last(leaves)
    spatial_mnhw, weight_mnf = named["spatial"], named["features"]
    mask_mnhw = masks(
        spatial_mnhw,
        normalize=normalize,
        positive=positive_spatial,
        constrain=constrain_positive,
    )
    real = neurons_mn.astype(weight_mnf.dtype)
    where_mn = real * jnp.sum(jnp.abs(mask_mnhw), (2, 3))
    what_mn = real * jnp.sum(jnp.abs(weight_mnf), 2)
    if per_neuron:
        total_m = jnp.sum(where_mn * what_mn, 1)
    else:
        total_m = jnp.sum(where_mn, 1) * jnp.sum(what_mn, 1)
    if not mean:
        return total_m
    entries = weight_mnf.shape[2] * spatial_mnhw.shape[2] * spatial_mnhw.shape[3]
    return total_m / (_count(neurons_mn) * entries)


def shifter_l2(leaves: Leaves, neurons_mn: Array) -> Array:
    """Mean of squares of the static affine shifter's kernel, [M]."""
    del neurons_mn
    (kernel_mcf,) = leaves.values()
    return jnp.mean(kernel_mcf**2, (1, 2))


def modulator_l1(leaves: Leaves, neurons_mn: Array) -> Array:
    """Mean magnitude of the modulator's last kernel over real neurons, [M]."""
    (kernel_mcn,) = leaves.values()
    sum_m = jnp.sum(jnp.sum(jnp.abs(kernel_mcn), 1), 1, where=neurons_mn)
    return sum_m / (kernel_mcn.shape[1] * _count(neurons_mn))


def gru_l1(leaves: Leaves, neurons_mn: Array, *, official: bool = True) -> Array:
    """Mean magnitude of the hidden gates' biases, a third each.

    The original takes the update gate's kernel in place of its bias.
    """
    del neurons_mn
    update = "update_hidden/kernel" if official else "update_hidden/bias"
    wanted = ("reset_hidden/bias", update, "out_hidden/bias")
    found = [v for n, v in leaves.items() if n.endswith(wanted)]
    return jnp.sum(jnp.stack([jnp.mean(jnp.abs(v)) for v in found])) / 3


def clip(params: Tree, rules: Sequence[tuple[str, float, float]]) -> Tree:
    """Params with the leaves of each (pattern, low, high) clipped, for after a step.

    The originals keep free positions in -1..1 by writing into the parameter.
    """

    def one(name: str, value: Array) -> Array:
        bounds = trees.first_match([(p, (a, b)) for p, a, b in rules], name)
        return value if bounds is None else jnp.clip(value, *bounds)

    return trees.map_named(one, params)


def _last(leaves: Leaves) -> Leaves:
    return {name.rsplit("/", 1)[-1]: leaf for name, leaf in leaves.items()}


def _count(neurons_mn: Array) -> Array:
    return jnp.maximum(neurons_mn.sum(1), 1)
