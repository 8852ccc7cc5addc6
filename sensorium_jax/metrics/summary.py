"""One number per neuron and its means, as every score here is reported."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Summary(NamedTuple):
    """A number per neuron; undefined ones count as 0, as the judges do, and are told.

    Neurons that a threshold leaves out are 0 here too, but are in no mean.
    """

    per_neuron_mn: jax.Array
    per_mouse_m: jax.Array  # mean over the mouse's neurons
    mean: jax.Array  # mean over mice that have any
    pooled: jax.Array  # mean over all neurons of all mice
    undefined_m: jax.Array  # int32: NaN, infinite or without spread
    neurons_m: jax.Array  # int32: how many the mean of the mouse is over


def summarize(
    raw_mn: jax.Array,
    neurons_mn: jax.Array | None = None,
    *,
    lost_mn: jax.Array | None = None,
    chosen_mn: jax.Array | None = None,
) -> Summary:
    """Means over real neurons; lost_mn are undefined, only chosen_mn are kept."""
    real = (
        jnp.ones(raw_mn.shape, bool) if neurons_mn is None else neurons_mn.astype(bool)
    )
    lost = ~jnp.isfinite(raw_mn) & real
    if lost_mn is not None:
        lost |= lost_mn & real
    kept = real if chosen_mn is None else real & chosen_mn
    per_neuron = jnp.where(kept & ~lost, raw_mn, 0.0)
    total_m, kept_m = per_neuron.sum(1), kept.sum(1)
    per_mouse = total_m / jnp.maximum(kept_m, 1)
    return Summary(
        per_neuron,
        per_mouse,
        per_mouse.sum() / jnp.maximum((kept_m > 0).sum(), 1),
        total_m.sum() / jnp.maximum(kept_m.sum(), 1),
        lost.sum(1).astype(jnp.int32),
        kept_m.astype(jnp.int32),
    )
