"""Bits per spike: how much better than the neuron's mean rate a model foretells it.

(log likelihood of the rates - log likelihood of the mean response) / (responses added
up * ln 2), Poisson (Pillow et al. 2008). A spike is one unit of response, so the number
of a calcium signal depends on its units; compare models of one recording with it.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sensorium_jax.metrics import compensated as two, likelihood
from sensorium_jax.metrics.compensated import Two
from sensorium_jax.metrics.correlation import by_neuron
from sensorium_jax.metrics.summary import Summary, summarize


class State(NamedTuple):
    """Running sums of each neuron."""

    loss: likelihood.State
    responses_mn: Two


def zero(mice: int, neurons: int, some: bool = False) -> State:
    """The state before any frame; some: not every neuron has every trial."""
    return State(likelihood.zero(mice, neurons, some), two.zero((mice, neurons)))


def update(
    state: State,
    rates_mbtn: jax.Array,
    responses_mbtn: jax.Array,
    valid_mbt: jax.Array,
    observed_mbn: jax.Array | None = None,
) -> State:
    """Add the valid frames of a batch; invalid ones may hold anything, also NaN."""
    data = rates_mbtn, responses_mbtn, valid_mbt, observed_mbn
    loss = likelihood.update(state.loss, *data)
    keep = valid_mbt.astype(bool)[..., None]
    if observed_mbn is not None:
        keep = keep & observed_mbn.astype(bool)[:, :, None]
    total = two.sum_frames(jnp.where(keep, responses_mbtn, 0.0).astype(jnp.float32))
    return State(loss, two.add(state.responses_mn, total))


def merge(a: State, b: State) -> State:
    """The state of the frames of a and b together."""
    total = two.add(a.responses_mn, b.responses_mn)
    return State(likelihood.merge(a.loss, b.loss), total)


def value(state: State, neurons_mn: jax.Array | None = None) -> Summary:
    """Bits per spike; a neuron that never responded has none."""
    frames = by_neuron(jnp.maximum(state.loss.count_m, 1).astype(jnp.float32))
    total = two.single(state.responses_mn)
    mean = total / frames
    silent = mean <= 0
    null = total - total * jnp.log(jnp.where(silent, 1.0, mean))
    gain = null - two.single(state.loss.total_mn)
    raw = gain / jnp.where(silent, 1.0, total) / math.log(2)
    return summarize(raw, neurons_mn, lost_mn=silent)
