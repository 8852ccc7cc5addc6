"""Which stimulus each trial of a batch showed, and sums over the trials of each.

Sums are matrix products with zeros and ones, so they reduce over a mesh like any other.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

EXACT = jax.lax.Precision.HIGHEST


def frames_by_neuron(count: jax.Array) -> jax.Array:
    """Counts [M, S, T] or [M, S, T, N] as [M, S, T, 1] or [M, S, T, N]."""
    return count[..., None] if count.ndim == 3 else count


class Slots(NamedTuple):
    """Which trials of a batch belong to which stimulus, and which frames count."""

    slot_mbs: jax.Array  # 1 or 0
    # Where neurons miss trials that others have, the last axis of these two is N.
    keep_mbt1: jax.Array  # bool
    count_mst: jax.Array  # int32

    @classmethod
    def of(
        cls,
        valid_mbt: jax.Array,
        stimulus_mb: jax.Array,
        stimuli: int,
        observed_mbn: jax.Array | None = None,
    ) -> "Slots":
        """From the stimulus of every trial."""
        numbers = jnp.arange(stimuli)[None, None]
        slot = (stimulus_mb[..., None] == numbers).astype(jnp.float32)
        keep = valid_mbt.astype(bool)
        if observed_mbn is None:
            count = jnp.einsum("mbs,mbt->mst", slot, keep.astype(jnp.float32))
            return cls(slot, keep[..., None], count.astype(jnp.int32))
        keep = keep[..., None] & observed_mbn.astype(bool)[:, :, None]
        count = jnp.einsum("mbs,mbtn->mstn", slot, keep.astype(jnp.float32))
        return cls(slot, keep, count.astype(jnp.int32))

    def add(self, x_mbtn: jax.Array) -> jax.Array:
        """Sum over the trials of each stimulus, [M, S, T, N]."""
        return jnp.einsum("mbs,mbtn->mstn", self.slot_mbs, x_mbtn, precision=EXACT)

    def clean(self, x_mbtn: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Finite numbers, 0 elsewhere, and which neurons of a stimulus were not."""
        finite = jnp.isfinite(x_mbtn)
        bad_mbn = (self.keep_mbt1 & ~finite).any(2)
        bad = (self.slot_mbs[..., None].astype(bool) & bad_mbn[:, :, None]).any(1)
        return jnp.where(self.keep_mbt1 & finite, x_mbtn, 0.0).astype(jnp.float32), bad

    def mean(self, x_mbtn: jax.Array) -> jax.Array:
        """Mean over the trials of each stimulus, [M, S, T, N]."""
        return self.add(x_mbtn) / frames_by_neuron(jnp.maximum(self.count_mst, 1))
