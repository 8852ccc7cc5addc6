"""Poisson loss of predicted rates, per bin and accumulated batch by batch.

The loss of the SENSORIUM baselines: rate - response * log(rate + 1e-8), optionally with
Stirling's approximation of log(response!) for responses above one.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sensorium_jax import axes
from sensorium_jax.metrics import compensated as two
from sensorium_jax.metrics.compensated import Two
from sensorium_jax.metrics.correlation import by_neuron

EPS = 1e-8


def poisson(rates: jax.Array, responses: jax.Array, *, full: bool = False) -> jax.Array:
    """Negative log likelihood of each bin, in nats; the shapes must be equal.

    Without `full` the terms that no model can change are left out.
    """
    if rates.shape != responses.shape:
        raise ValueError(
            f"responses have shape {responses.shape}, expected {rates.shape} "
            "like the rates."
        )
    loss = rates - responses * jnp.log(rates + EPS)
    if not full:
        return loss
    large = jnp.where(
        responses > 1, responses, 1.0
    )  # keeps log and its gradient finite
    stirling = large * jnp.log(large) - large + 0.5 * jnp.log(2 * math.pi * large)
    return loss + jnp.where(responses > 1, stirling, 0.0)


class State(NamedTuple):
    """Running sums of each neuron."""

    count_m: jax.Array  # int32 valid frames; [M, N] as in correlation.State
    total_mn: Two


class Likelihood(NamedTuple):
    """Mean loss per bin; undefined neurons count as 0 and are counted."""

    per_neuron_mn: jax.Array
    per_mouse_m: jax.Array
    mean: jax.Array  # mean over mice
    pooled: jax.Array  # mean over all neurons of all mice
    undefined_m: jax.Array  # int32


def zero(mice: int, neurons: int, some: bool = False) -> State:
    """The state before any frame; some: not every neuron has every trial."""
    count = jnp.zeros((mice, neurons) if some else mice, jnp.int32)
    return State(count, two.zero((mice, neurons)))


def update(
    state: State,
    rates_mbtn: jax.Array,
    responses_mbtn: jax.Array,
    valid_mbt: jax.Array,
    observed_mbn: jax.Array | None = None,
    *,
    full: bool = False,
) -> State:
    """Add the valid frames of a batch; invalid ones may hold anything, also NaN."""
    axes.check(
        rates_mbtn=rates_mbtn,
        responses_mbtn=responses_mbtn,
        valid_mbt=valid_mbt,
        observed_mbn=observed_mbn,
    )
    keep = valid_mbt.astype(bool)[..., None]
    each = (1, 2, 3)
    if observed_mbn is not None:
        keep, each = keep & observed_mbn.astype(bool)[:, :, None], (1, 2)
    rates = jnp.where(keep, rates_mbtn, 1.0)
    responses = jnp.where(keep, responses_mbtn, 0.0)
    loss = jnp.where(keep, poisson(rates, responses, full=full), 0.0)
    count = keep.sum(each).astype(jnp.int32)
    return merge(state, State(count, two.sum_frames(loss.astype(jnp.float32))))


def merge(a: State, b: State) -> State:
    """The state of the frames of a and b together."""
    return State(a.count_m + b.count_m, two.add(a.total_mn, b.total_mn))


def value(state: State, neurons_mn: jax.Array | None = None) -> Likelihood:
    """Mean loss per neuron and its means; neurons_mn masks padded neurons."""
    frames = by_neuron(jnp.maximum(state.count_m, 1).astype(jnp.float32))
    raw = two.single(state.total_mn) / frames
    if state.count_m.ndim > 1:
        raw = jnp.where(state.count_m > 0, raw, jnp.nan)
    real = jnp.ones(raw.shape, bool) if neurons_mn is None else neurons_mn.astype(bool)
    lost = ~jnp.isfinite(raw) & real
    per_neuron = jnp.where(real & ~lost, raw, 0.0)
    total_m, real_m = per_neuron.sum(1), real.sum(1)
    per_mouse = total_m / jnp.maximum(real_m, 1)
    return Likelihood(
        per_neuron,
        per_mouse,
        per_mouse.sum() / jnp.maximum((real_m > 0).sum(), 1),
        total_m.sum() / jnp.maximum(real_m.sum(), 1),
        lost.sum(1).astype(jnp.int32),
    )
