"""Validation between steps: one pass over a tier, all mice at once, on the mesh."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.axes import Batch
from sensorium_jax.metrics import correlation
from sensorium_jax.train.state import TrainState, variables_of
from sensorium_jax.train.step import Forward

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

    @jax.jit
    def update(state: TrainState, batch: Batch, sums: correlation.State):
        variables = variables_of(state, averaged=averaged)
        rates, _ = forward(variables, batch, {}, train=False)
        frames = rates.shape[2]
        late_t = jnp.arange(batch.valid_mbt.shape[2]) >= skip
        scored = batch.valid_mbt & late_t[None, None]
        return correlation.update(
            sums, rates, batch.responses_mbtn[:, :, -frames:], scored[:, :, -frames:]
        )

    finish = jax.jit(correlation.value)

    def validate(state: TrainState) -> Validation:
        todo = batches(int(state.step))
        batch = next(todo)
        neurons_mn = batch.neurons_mn
        sums = update(state, batch, correlation.zero(*neurons_mn.shape))
        for batch in todo:
            sums = update(state, batch, sums)
        found = finish(sums, neurons_mn)
        mice = np.asarray(jnp.any(neurons_mn, 1))
        per_mouse = np.asarray(found.per_mouse_m)[mice]
        return Validation(
            float(found.pooled),
            tuple(float(x) for x in per_mouse),
            int(found.undefined_m.sum()),
        )

    return validate
