"""Validation between steps: one pass over a tier, all mice at once, on the mesh.

Models are asked as their `asking` says, and rates are brought to the judges' units, so
that the number is the one that scoring gives for the same trials.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax import asking as ask, normalize
from sensorium_jax.asking import Asking
from sensorium_jax.axes import Batch, last_frames
from sensorium_jax.metrics import correlation
from sensorium_jax.training.mesh import shard
from sensorium_jax.training.state import TrainState, variables_of
from sensorium_jax.training.step import Forward

Tree = Any


class Validation(NamedTuple):
    """What a pass found; the score chooses the best checkpoint."""

    score: float  # mean over neurons of all mice, the official library's average
    per_mouse: tuple[float, ...]
    undefined: int  # neurons without a correlation, counted as 0
    with_linear: float | None = None  # the same with the linear model's rates mixed in
    shares: tuple[float, ...] = ()  # of these rates, for each row of mice


# Of the linear model's rates; the first that is as good as any is taken.
SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
AS_GOOD = 1e-3  # of correlation


class Windows(NamedTuple):
    """How the trials of a batch are cut into clips; the same number for every trial."""

    seen_mbct: Any  # int32: the frames of each clip
    share_mbct: Any  # float32: how much each frame's answer counts in the trial's rate


class Judged(NamedTuple):
    """Whole trials, and what it takes to ask for their rates."""

    batch: Batch  # responses in the judges' units
    windows: Windows | None  # None where whole trials go in at once


def cut(asking: Asking, batch: Batch, lost: int) -> Windows | None:
    """The clips of a batch of whole trials, on the host; lost: frames without answer.

    Trials that are shorter than others have fewer clips: their last one is repeated and
    counts nothing.
    """
    if asking.mode == "whole" and asking.stride == 1:
        return None
    lengths_mb = np.asarray(batch.valid_mbt).sum(-1)
    frames = batch.valid_mbt.shape[-1]
    most = ask.clips(asking, frames)
    size = max(len(clip) for clip in most)
    lead = (*lengths_mb.shape, len(most))
    seen = np.zeros((*lead, size), np.int32)
    share = np.zeros((*lead, size - lost), np.float32)
    for at, length in np.ndenumerate(lengths_mb):
        plan = _plan(asking, int(length), lost)
        each, _ = ask.shares(asking, plan, lost) if plan else ([], 0)
        for c, (clip, counts) in enumerate(zip(plan, each, strict=True)):
            seen[at][c, : len(clip)] = clip
            seen[at][c, len(clip) :] = clip[-1]
            share[at][c, : len(counts)] = counts
    return Windows(seen, share)


def _plan(asking: Asking, length: int, lost: int) -> Sequence[np.ndarray]:
    """The clips of one trial; none where it is too short to be answered, or padding."""
    if length < (asking.span if asking.mode == "window" else 1):
        return []
    plan = ask.clips(asking, length)
    return plan if all(len(clip) > lost for clip in plan) else []


def stacked_factors(factors: Sequence[np.ndarray], mice: int) -> np.ndarray:
    """What rates are multiplied by, [T or 1, n] of each mouse, as [mice, T or 1, N]."""
    frames = max(map(len, factors))
    neurons = max(factor.shape[1] for factor in factors)
    stacked_mtn = np.ones((mice, frames, neurons), np.float32)
    for row, factor_tn in zip(stacked_mtn, factors, strict=False):
        row[: len(factor_tn), : factor_tn.shape[1]] = factor_tn
        row[len(factor_tn) :, : factor_tn.shape[1]] = factor_tn[-1:]
    return stacked_mtn


def make_validate(
    forward: Forward,
    batches: Callable[[int], Iterator[Judged]],
    *,
    skip: int,
    factor_mtn: Any = None,
    averaged: bool = True,
    linear: Forward | None = None,
) -> Callable[[TrainState], Validation]:
    """validate(state): single-trial correlation over the batches of one pass.

    batches(step) starts the pass anew. The first `skip` frames of a trial do not count.
    factor_mtn brings rates to the judges' units. With `linear`, rates of another model
    that answers the same frames, it also looks which mixture of both is best.
    """
    shares = SHARES if linear else SHARES[:1]

    def update(state: TrainState, judged: Judged, sums: tuple, factor: Any):
        variables = variables_of(state, averaged=averaged)
        batch = judged.batch
        rates, spoken = answered(forward, variables, judged)
        frames = rates.shape[2]
        other = answered(linear, variables, judged)[0] if linear else rates
        if factor is not None:
            late = last_frames(batch.frame_mbt, 2, frames)
            each = jax.vmap(normalize.at_frames)(factor, late)
            rates, other = rates * each, other * each
        # Counted from where reading began: the trial's start, or that of a crop.
        late_t = jnp.arange(batch.valid_mbt.shape[2]) >= skip
        counts = last_frames(batch.valid_mbt & late_t[None, None], 2, frames) & spoken
        targets = last_frames(batch.responses_mbtn, 2, frames)
        return tuple(
            correlation.update(
                *(one, mix(rates, other, share), targets, counts, batch.observed_mbn)
            )
            for one, share in zip(sums, shares, strict=True)
        )

    def finish(sums: tuple[correlation.State, ...], neurons_mn: jax.Array):
        values = [correlation.value(one, neurons_mn) for one in sums]
        return values, jnp.any(neurons_mn, 1), neurons_mn.sum(1)

    @functools.cache
    def compiled(one: Any):
        """Sums lie as the state does, and every process may read what is found."""
        rows, every = shard.beside(one), shard.everywhere(one)
        zero = jax.jit(correlation.zero, static_argnums=(0, 1, 2), out_shardings=rows)
        return (
            zero,
            jax.jit(update, out_shardings=rows),
            jax.jit(finish, out_shardings=every),
        )

    def validate(state: TrainState) -> Validation:
        zero, add, end = compiled(state.step.sharding)
        todo = batches(int(state.step))
        judged = next(todo)
        neurons_mn = judged.batch.neurons_mn
        some = judged.batch.observed_mbn is not None
        sums = tuple(zero(*neurons_mn.shape, some) for _ in shares)
        sums = add(state, judged, sums, factor_mtn)
        for judged in todo:
            sums = add(state, judged, sums, factor_mtn)
        values, mice, neurons_m = jax.tree.map(np.asarray, end(sums, neurons_mn))
        value = values[0]
        found = Validation(
            float(value.pooled),
            tuple(float(x) for x in value.per_mouse_m[mice]),
            int(value.undefined_m.sum()),
        )
        if not linear:
            return found
        each_km = np.stack([v.per_mouse_m for v in values])
        best_m = (each_km >= each_km.max(0) - AS_GOOD).argmax(0)
        chosen_m = np.take_along_axis(each_km, best_m[None], 0)[0]
        both = float((chosen_m * neurons_m).sum() / max(neurons_m.sum(), 1))
        return found._replace(with_linear=both, shares=tuple(SHARES[k] for k in best_m))

    return validate


def mix(rates: Any, other: Any, share: float) -> Any:
    """Rates of which a share is those of the other model."""
    return rates if share == 0 else (1 - share) * rates + share * other


def answered(
    forward: Forward, variables: Tree, judged: Judged
) -> tuple[jax.Array, jax.Array]:
    """Rates of the last frames of whole trials, and which frames have an answer."""
    batch, windows = judged
    if windows is None:
        rates = forward(variables, batch, {}, train=False)[0]
        return rates, jnp.ones(rates.shape[:3], bool)
    m, b, t = batch.valid_mbt.shape
    names = ("video_mbthwc", "behavior_mbtk", "pupil_mbt2", "frame_mbt")
    take = jax.vmap(jax.vmap(lambda x, at: x[at]))
    rows = jax.vmap(jax.vmap(lambda total, at, new: total.at[at].add(new)))

    def clip(total, part):
        seen_mbt, share_mbt = part
        cut = {name: take(getattr(batch, name), seen_mbt) for name in names}
        valid = jnp.ones(seen_mbt.shape, bool)
        one = batch._replace(**cut, valid_mbt=valid)
        rates = forward(variables, one, {}, train=False)[0]
        late = seen_mbt[:, :, seen_mbt.shape[2] - rates.shape[2] :]
        # One more column adds up the shares: 1 where the frame has an answer.
        rates = jnp.concatenate([rates, jnp.ones((*rates.shape[:3], 1))], -1)
        return rows(total, late, rates * share_mbt[..., None]), None

    parts = jax.tree.map(lambda x: jnp.moveaxis(x, 2, 0), tuple(windows))
    zero = jnp.zeros((m, b, t, batch.neurons_mn.shape[1] + 1), jnp.float32)
    total = jax.lax.scan(clip, zero, parts)[0]
    return total[..., :-1], total[..., -1] > 0
