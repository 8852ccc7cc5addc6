"""What is left out at random while a model learns."""

from typing import Any

import jax
import jax.numpy as jnp

Array = Any


def drop_path(x_mb: Array, rate: float, key: Array) -> Array:
    """Leave out a branch for some of the windows; the others grow to keep the mean.

    x_mb is [M, B, ...]. Huang et al. 2016, https://arxiv.org/abs/1603.09382.
    """
    return _kept(x_mb, rate, key, x_mb.shape[:2])


def drop_features(x_btf: Array, rate: float, key: Array) -> Array:
    """Leave out some features of each window in all of its frames, [B, T, F]."""
    b, _, f = x_btf.shape
    return _kept(x_btf, rate, key, (b, 1, f))


def _kept(x: Array, rate: float, key: Array, shape: tuple[int, ...]) -> Array:
    keep = jax.random.bernoulli(key, 1 - rate, shape)
    keep = keep.reshape(shape + (1,) * (x.ndim - len(shape)))
    return jnp.where(keep, x / (1 - rate), jnp.zeros((), x.dtype))
