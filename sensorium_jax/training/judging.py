"""Validation between steps: one pass over a tier, all mice at once, on the mesh."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.axes import Batch
from sensorium_jax.metrics import correlation
from sensorium_jax.training.mesh import shard
from sensorium_jax.training.state import TrainState, variables_of
from sensorium_jax.training.step import Forward

SKIP = 50  # frames the judges drop from the start of every trial


class Validation(NamedTuple):
    """What a pass found; the score chooses the best checkpoint."""

    score: float  # mean over neurons of all mice, the official library's average
    per_mouse: tuple[float, ...]
    undefined: int  # neurons without a correlation, counted as 0


def make_validate(
    forward: Forward,
    batches: Callable[[int], Iterator[Batch]],
    *,
    skip: int = SKIP,
    averaged: bool = True,
) -> Callable[[TrainState], Validation]:
    """validate(state): single-trial correlation over the batches of one pass.

    batches(step) starts the pass anew. The first `skip` frames of a window, which are
    those of the trial where windows are whole trials, do not count.
    """

    def update(state: TrainState, batch: Batch, sums: correlation.State):
        variables = variables_of(state, averaged=averaged)
        rates, _ = forward(variables, batch, {}, train=False)
        frames = rates.shape[2]
        late_t = jnp.arange(batch.valid_mbt.shape[2]) >= skip
        scored = batch.valid_mbt & late_t[None, None]
        return correlation.update(
            sums, rates, batch.responses_mbtn[:, :, -frames:], scored[:, :, -frames:]
        )

    def finish(sums: correlation.State, neurons_mn: jax.Array):
        return correlation.value(sums, neurons_mn), jnp.any(neurons_mn, 1)

    @functools.cache
    def compiled(one: Any):
        """Sums lie as the state does, and every process may read what is found."""
        rows, every = shard.beside(one), shard.everywhere(one)
        zero = jax.jit(correlation.zero, static_argnums=(0, 1), out_shardings=rows)
        return (
            zero,
            jax.jit(update, out_shardings=rows),
            jax.jit(finish, out_shardings=every),
        )

    def validate(state: TrainState) -> Validation:
        zero, add, end = compiled(state.step.sharding)
        todo = batches(int(state.step))
        batch = next(todo)
        neurons_mn = batch.neurons_mn
        sums = add(state, batch, zero(*neurons_mn.shape))
        for batch in todo:
            sums = add(state, batch, sums)
        found, mice = jax.tree.map(np.asarray, end(sums, neurons_mn))
        return Validation(
            float(found.pooled),
            tuple(float(x) for x in found.per_mouse_m[mice]),
            int(found.undefined_m.sum()),
        )

    return validate
