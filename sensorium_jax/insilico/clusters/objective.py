"""What a most discriminative stimulus maximizes: its cluster's drive over all others'.

With m_k the mean normalized rate of cluster k, the stimulus of cluster c maximizes
m_c / tau - log(mean over k of exp(m_k / tau)) (Burg et al. 2024, equation 1). It is at
most log(number of clusters), and 0 where no cluster is driven more than another.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Array = Any
LEAST = 0.1  # smallest spread that rates are divided by
EPSILON = 1e-6


class Scale(NamedTuple):
    """What the rates of each neuron are normalized by, [N]."""

    offset_n: Array
    spread_n: Array
    least: Array = LEAST  # smallest spread, in the same unit; one or [N]

    @property
    def divisor_n(self) -> Array:
        """What rates over the offset are divided by; never nearly zero."""
        return np.maximum(self.spread_n, self.least) + EPSILON

    def normalized(self, rates_bn: Array) -> Array:
        """Rates less the offset, by the spread."""
        return (rates_bn - self.offset_n[None]) / self.divisor_n[None]


class Groups(NamedTuple):
    """Clusters as weights of neurons: mean rates [B, J] are rates @ weight - shift."""

    weight_jn: np.ndarray
    shift_j: np.ndarray
    live_j: np.ndarray  # whether the cluster has neurons; padding has none


def groups(labels_n: np.ndarray, scale: Scale, count: int) -> Groups:
    """Clusters 0 to count - 1 of labels; other labels belong to none."""
    member_jn = labels_n[None] == np.arange(count)[:, None]
    size_j = member_jn.sum(1)
    share_jn = member_jn / np.maximum(size_j, 1)[:, None]
    weight_jn = share_jn / scale.divisor_n[None]
    shift_j = weight_jn @ np.asarray(scale.offset_n, np.float64)
    return Groups(weight_jn.astype(np.float32), shift_j.astype(np.float32), size_j > 0)


def discriminates(
    mean_bj: Array, own_b: Array, live_bj: Array, temperature: float
) -> Array:
    """The objective [B] of stimuli that belong to clusters own_b.

    mean_bj are the clusters' mean normalized rates to each stimulus; those that do not
    live are left out.
    """
    shown_bj = jnp.where(live_bj, mean_bj / temperature, -jnp.inf)
    own_b1 = jnp.asarray(own_b)[:, None]
    mine_b = jnp.take_along_axis(shown_bj, own_b1, axis=1)[:, 0]
    count_b = jnp.sum(live_bj, axis=1)
    all_b = jax.scipy.special.logsumexp(shown_bj, axis=1)
    return mine_b - all_b + jnp.log(count_b)
