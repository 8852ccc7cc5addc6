"""What training minimizes, in pieces per mouse [M]; padding weighs nothing.

Rates are [M, B, T', N]; targets may be longer, their last T' frames count.
"""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax.lax import stop_gradient

from sensorium_jax.axes import Batch
from sensorium_jax.errors import UserError

Array = Any
EPS = 1e-8

# terms(rates, targets) -> loss of every bin, elementwise
Terms = Callable[[Array, Array], Array]


def poisson_terms(
    rates: Array, targets: Array, *, eps: float = EPS, full: bool = False
) -> Array:
    """rates - targets log(rates + eps); full adds Stirling's term where targets > 1."""
    loss = rates - targets * jnp.log(rates + eps)
    if not full:
        return loss
    above = jnp.where(targets > 1, targets, 1.0)
    stirling = above * jnp.log(above) - above + 0.5 * jnp.log(2 * math.pi * above)
    return loss + jnp.where(targets > 1, stirling, 0.0)


def mse_terms(rates: Array, targets: Array) -> Array:
    """Squared difference."""
    return (rates - targets) ** 2


def exponential_terms(
    rates: Array, targets: Array, *, eps: float = 1e-12, target_eps: float = 1e-6
) -> Array:
    """Negative log likelihood of an exponential distribution of that mean."""
    rates = rates + eps
    return (targets + target_eps) / rates + jnp.log(rates)


def anscombe_terms(rates: Array, targets: Array) -> Array:
    """Squared difference after the Anscombe transform, its bias removed."""
    target = 2 * jnp.sqrt(targets + 3 / 8)
    rate = 2 * jnp.sqrt(rates + 3 / 8) - 1 / (4 * jnp.sqrt(rates))
    return (target - rate) ** 2


def summed(
    terms: Terms,
    rates_mbtn: Array,
    targets_mbtn: Array,
    valid_mbt: Array,
    neurons_mn: Array,
    observed_mbn: Array | None = None,
    *,
    mean: bool = False,
) -> Array:
    """Sum (or mean) of the terms over each mouse's valid bins, [M]."""
    rates, targets, valid = aligned(
        rates_mbtn, targets_mbtn, valid_mbt, neurons_mn, observed_mbn
    )
    # Masked before the formula, so that no NaN of the padding reaches a gradient.
    loss = terms(jnp.where(valid, rates, 1.0), jnp.where(valid, targets, 1.0))
    loss_m = jnp.sum(loss, (1, 2, 3), where=valid)
    return loss_m / jnp.maximum(valid.sum((1, 2, 3)), 1) if mean else loss_m


def correlation(
    rates_mbtn: Array,
    targets_mbtn: Array,
    valid_mbt: Array,
    neurons_mn: Array,
    observed_mbn: Array | None = None,
    *,
    eps: float = 1e-12,
) -> Array:
    """Correlation of each neuron over its valid bins, [M, N]; eps adds to variances."""
    rates, targets, valid = aligned(
        rates_mbtn, targets_mbtn, valid_mbt, neurons_mn, observed_mbn
    )
    count = jnp.maximum(valid.sum((1, 2), keepdims=True), 1)

    def center(x: Array) -> Array:
        x = jnp.where(valid, x, 0.0)
        return jnp.where(valid, x - x.sum((1, 2), keepdims=True) / count, 0.0)

    a, b, count = center(rates), center(targets), count[:, 0, 0]
    power = (jnp.sum(a * a, (1, 2)) / count + eps) * (
        jnp.sum(b * b, (1, 2)) / count + eps
    )
    return jnp.sum(a * b, (1, 2)) / count / jnp.sqrt(power)


def objective(
    terms: Terms = poisson_terms,
    *,
    trials_m: Array | None = None,
    mean: bool = False,
    correlation_weight: float = 0.0,
    correlation_eps: float = 1e-12,
) -> Callable[[Array, Batch, int], Array]:
    """The step's objective(rates_mbtn, batch, windows) -> loss [M].

    trials_m are the data set's sizes: losses are scaled by sqrt(trials / windows), as
    the originals do (they count the trials of every tier). None leaves them unscaled.
    correlation_weight adds weight * sum over neurons of (1 - correlation) before the
    scaling, 1000 in ViV1T; a batch in parts has the mean correlation of its parts.
    """

    def loss(rates_mbtn: Array, batch: Batch, windows: int) -> Array:
        known = batch.valid_mbt, batch.neurons_mn, batch.observed_mbn
        data = (batch.responses_mbtn, *known)
        # Of a part of the windows: means of parts add up to the mean over all parts.
        share = rates_mbtn.shape[1] / windows
        loss_m = summed(terms, rates_mbtn, *data, mean=mean) * (share if mean else 1)
        if correlation_weight:
            corr_mn = correlation(rates_mbtn, *data, eps=correlation_eps)
            lack_m = jnp.sum(1 - corr_mn, 1, where=_seen(*known))
            loss_m = loss_m + correlation_weight * share * lack_m
        if trials_m is None:
            return loss_m
        return jnp.sqrt(jnp.asarray(trials_m) / windows) * loss_m

    return loss


def _seen(valid_mbt: Array, neurons_mn: Array, observed_mbn: Array | None) -> Array:
    """Neurons [M, N] that any valid frame tells of."""
    if observed_mbn is None:
        return neurons_mn
    return neurons_mn & (observed_mbn & valid_mbt.any(2)[..., None]).any(1)


def mixed(
    terms: Terms,
    rates_bmtn: Array,
    targets_bmtn: Array,
    weights_bm: Array,
    neurons_mn: Array,
    valid_bt: Array | None = None,
    observed_bmn: Array | None = None,
) -> Array:
    """Loss of a mixed batch whose samples are answered by every mouse, [M].

    Each sample and mouse counts by its weight, weights over their sum; time and
    neurons are summed (DwiseNeuro). A pair of weight 0 may hold any target.
    """
    frames = rates_bmtn.shape[2]
    used = (weights_bm != 0)[:, :, None, None] & neurons_mn[None, :, None, :]
    if valid_bt is not None:
        used = used & valid_bt[:, None, -frames:, None]
    if observed_bmn is not None:
        used = used & observed_bmn[:, :, None]
    targets = stop_gradient(targets_bmtn[:, :, -frames:])
    loss = terms(jnp.where(used, rates_bmtn, 1.0), jnp.where(used, targets, 1.0))
    loss_bm = jnp.sum(loss, (2, 3), where=used)
    return jnp.sum(weights_bm * loss_bm, 0) / jnp.sum(weights_bm)


def mixed_objective(terms: Terms = poisson_terms) -> Callable[..., Array]:
    """The step's objective of a lesson (targets.lesson), whose pairs have weights."""

    def loss(rates_mbtn: Array, batch: Any, windows: int) -> Array:
        del windows
        observed = batch.observed_mbn
        return mixed(
            terms,
            rates_mbtn.swapaxes(0, 1),
            batch.responses_mbtn.swapaxes(0, 1),
            batch.weight_mb.T,
            batch.neurons_mn,
            batch.valid_mbt.any(0),
            None if observed is None else observed.swapaxes(0, 1),
        )

    return loss


def aligned(
    rates_mbtn: Array,
    targets_mbtn: Array,
    valid_mbt: Array,
    neurons_mn: Array,
    observed_mbn: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Rates, last frames of the targets and which bins count, all [M, B, T', N].

    observed_mbn: False where a neuron's responses to a window are missing.
    """
    m, b, t, n = rates_mbtn.shape
    mt, bt, tt, nt = targets_mbtn.shape
    if (mt, bt, nt) != (m, b, n) or tt < t:
        raise UserError(
            f"Rates are {rates_mbtn.shape} and responses {targets_mbtn.shape} "
            "(mice, windows, frames, neurons); mice, windows and neurons must agree "
            "and the responses have at least as many frames. Were model and data made "
            "from the same recordings?"
        )
    valid = valid_mbt[:, :, -t:, None] & neurons_mn[:, None, None, :]
    if observed_mbn is not None:
        valid = valid & observed_mbn[:, :, None]
    return rates_mbtn, stop_gradient(targets_mbtn[:, :, -t:]), valid
