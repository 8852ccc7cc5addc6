"""A teacher fills in what nobody recorded: the answers of the other mice."""

from typing import Any

import jax.numpy as jnp
from jax.lax import stop_gradient

Array = Any


def filled(responses_mbtn: Array, taught_mbtn: Array, weight_mb: Array) -> Array:
    """Targets [M, B, T, N]: recorded ones where a pair has weight, else the teacher's.

    The teacher may know more neurons than there are here, never fewer.
    """
    taught = stop_gradient(taught_mbtn[..., : responses_mbtn.shape[-1]])
    return jnp.where((weight_mb != 0)[:, :, None, None], responses_mbtn, taught)


def weights(weight_mb: Array, mice_m: Array, share: float) -> Array:
    """Weights [M, B] in which the pairs that had none now have that share of the sum.

    mice_m is False for rows that are no mice; they keep weight 0.
    """
    taught_mb = (weight_mb == 0) & mice_m[:, None]
    each = share / (1 - share) * weight_mb.sum() / jnp.maximum(taught_mb.sum(), 1)
    return jnp.where(taught_mb, each, weight_mb)
