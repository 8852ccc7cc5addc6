"""Single-trial correlation, accumulated batch by batch on the device.

Per neuron over all valid frames: mean of (x - mean x) / (std x + 1e-8) times the same
of y, population std. This ranked the entries of SENSORIUM 2022 and 2023 (Willeke et al.
2022; Turishcheva et al. 2023). State and merging follow Chan, Golub & LeVeque 1983, in
two-word sums, so that 10 million frames around a large mean lose nothing in float32.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from sensorium_jax import axes
from sensorium_jax.metrics import compensated as two
from sensorium_jax.metrics.compensated import Two

EPS = 1e-8  # added to each standard deviation, as the official scores do


class State(NamedTuple):
    """Running moments of each neuron; a pytree, so it shards, merges and saves."""

    # int32 valid frames; [M, N] where some neurons miss trials that others have
    count_m: jax.Array
    mean_x_mn: Two
    mean_y_mn: Two
    square_x_mn: Two  # sums of squared deviations
    square_y_mn: Two
    product_mn: Two


class Correlation(NamedTuple):
    """What a state says; undefined neurons score 0 and are counted."""

    per_neuron_mn: jax.Array
    per_mouse_m: jax.Array  # mean over the mouse's neurons
    mean: jax.Array  # mean over mice
    pooled: jax.Array  # mean over all neurons of all mice, as the official library does
    undefined_m: jax.Array  # int32 neurons that are NaN or have no spread


def zero(mice: int, neurons: int, some: bool = False) -> State:
    """The state before any frame; some: not every neuron has every trial."""
    none = two.zero((mice, neurons))
    count = jnp.zeros((mice, neurons) if some else mice, jnp.int32)
    return State(count, none, none, none, none, none)


def by_neuron(count: jax.Array) -> jax.Array:
    """Counts [M] or [M, N] as [M, 1] or [M, N]."""
    return count[:, None] if count.ndim == 1 else count


def update(
    state: State,
    rates_mbtn: jax.Array,
    responses_mbtn: jax.Array,
    valid_mbt: jax.Array,
    observed_mbn: jax.Array | None = None,
) -> State:
    """Add the valid frames of a batch; invalid ones may hold anything, also NaN.

    observed_mbn: False where a neuron's responses to a trial are missing.
    """
    axes.check(
        rates_mbtn=rates_mbtn,
        responses_mbtn=responses_mbtn,
        valid_mbt=valid_mbt,
        observed_mbn=observed_mbn,
    )
    keep = valid_mbt.astype(bool)
    if observed_mbn is not None:
        keep = keep[..., None] & observed_mbn.astype(bool)[:, :, None]
    return merge(state, moments(rates_mbtn, responses_mbtn, keep))


def moments(x_mbtn: jax.Array, y_mbtn: jax.Array, keep: jax.Array) -> State:
    """The state of one batch alone, in two passes: means first, then deviations.

    keep is [M, B, T], or [M, B, T, N] where each neuron has frames of its own.
    """
    count = keep.sum((1, 2)).astype(jnp.int32)
    keep = (keep if keep.ndim == 4 else keep[..., None])[None]
    inverse = 1.0 / jnp.maximum(count, 1).astype(jnp.float32)
    inverse = by_neuron(inverse)[None]
    both = jnp.where(keep, jnp.stack([x_mbtn, y_mbtn]), 0.0).astype(jnp.float32)
    # Any number near the mean will do here: differences to it are exact enough. Its
    # last operation must be a sum, as a product could fuse into the differences and
    # then be one number there and another in the mean.
    each = inverse[:, :, None, None]
    near = (both * each).sum((2, 3))
    near = near + ((both - near[:, :, None, None]) * each * keep).sum((2, 3))
    off = jnp.where(keep, both - near[:, :, None, None], 0.0)
    mean_off = two.scale(two.sum_frames(off), inverse)
    mean = two.add(two.lift(near), mean_off)
    away = two.single(mean_off)[:, :, None, None]
    x, y = jnp.where(keep, off - away, 0.0)
    sums = two.sum_frames(jnp.stack([x * x, y * y, x * y]))
    means = [Two(mean.high[i], mean.low[i]) for i in range(2)]
    return State(count, *means, *(Two(sums.high[i], sums.low[i]) for i in range(3)))


def merge(a: State, b: State) -> State:
    """The state of the frames of a and b together."""
    count = a.count_m + b.count_m
    inverse = 1.0 / jnp.maximum(count, 1).astype(jnp.float32)
    part = by_neuron(b.count_m.astype(jnp.float32) * inverse)
    weight = by_neuron(a.count_m.astype(jnp.float32)) * part
    step_x = two.subtract(b.mean_x_mn, a.mean_x_mn)
    step_y = two.subtract(b.mean_y_mn, a.mean_y_mn)
    dx, dy = two.single(step_x), two.single(step_y)

    def square(p: Two, q: Two, between: jax.Array) -> Two:
        return two.add(two.add(p, q), two.lift(between * weight))

    return State(
        count,
        two.add(a.mean_x_mn, two.scale(step_x, part)),
        two.add(a.mean_y_mn, two.scale(step_y, part)),
        square(a.square_x_mn, b.square_x_mn, dx * dx),
        square(a.square_y_mn, b.square_y_mn, dy * dy),
        square(a.product_mn, b.product_mn, dx * dy),
    )


def value(state: State, neurons_mn: jax.Array | None = None) -> Correlation:
    """Correlation per neuron and its means; neurons_mn masks padded neurons."""
    inverse = by_neuron(1.0 / jnp.maximum(state.count_m, 1).astype(jnp.float32))
    std_x, std_y = (
        jnp.sqrt(two.single(s) * inverse)
        for s in (state.square_x_mn, state.square_y_mn)
    )
    # Divided one after the other: the product of two tiny deviations would underflow.
    raw = two.single(state.product_mn) * inverse / (std_x + EPS) / (std_y + EPS)
    real = jnp.ones(raw.shape, bool) if neurons_mn is None else neurons_mn.astype(bool)
    lost = ~(jnp.isfinite(raw) & (std_x > 0) & (std_y > 0)) & real
    per_neuron = jnp.where(real & ~lost, raw, 0.0)
    total_m, real_m = per_neuron.sum(1), real.sum(1)
    per_mouse = total_m / jnp.maximum(real_m, 1)
    return Correlation(
        per_neuron,
        per_mouse,
        per_mouse.sum() / jnp.maximum((real_m > 0).sum(), 1),
        total_m.sum() / jnp.maximum(real_m.sum(), 1),
        lost.sum(1).astype(jnp.int32),
    )
