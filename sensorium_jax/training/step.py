"""One jitted, donated training step that carries all mice."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sensorium_jax import axes
from sensorium_jax.axes import Batch
from sensorium_jax.errors import UserError
from sensorium_jax.training.mesh import shard
from sensorium_jax.training.state import TrainState, key_for

Tree = Any

# forward(variables, batch, keys, train) -> (rates_mbtn, new batch_stats)
Forward = Callable[..., tuple[jax.Array, Tree]]
# objective(rates_mbtn, batch, windows) -> loss_m; windows is the unsplit batch size
Objective = Callable[[jax.Array, Batch, int], jax.Array]
# penalty(params, neurons_mn, mice_m) -> scalar, already summed over mice
Penalty = Callable[[Tree, jax.Array, jax.Array], jax.Array]


class Tally(NamedTuple):
    """Sums since the last time they were read; they stay on the device until then."""

    steps: jax.Array
    loss: jax.Array  # objective and penalty
    penalty: jax.Array
    grad_norm: jax.Array
    correlation: jax.Array  # mean over real neurons, of the training windows
    bad_step: jax.Array  # first step whose loss was not finite, or -1

    @classmethod
    def zero(cls) -> "Tally":
        """Nothing counted yet."""
        f = jnp.zeros((), jnp.float32)
        return cls(jnp.zeros((), jnp.int32), f, f, f, f, jnp.full((), -1, jnp.int32))


def make_step(
    forward: Forward,
    objective: Objective,
    penalty: Penalty,
    optimizer: optax.GradientTransformation,
    *,
    accumulate: int = 1,
    ema_decay: float = 0.0,
    stride: int = 1,
    project: Callable[[Tree], Tree] = lambda params: params,
    lesson: Callable[[TrainState, Any], Any] = lambda state, batch: batch,
) -> Callable[[TrainState, Batch, Tally], tuple[TrainState, Tally]]:
    """The pure step; wrap it with jit_step.

    The loss is the sum over mice of objective and penalty. With `accumulate` > 1 the
    windows are cut into that many parts whose gradients are summed by a scan; batch
    norm then sees the parts one after another. stride is that of the frames which the
    model answers in training; project brings parameters back into their bounds; lesson
    makes what travels into a Batch, or what has its fields (targets.lesson).
    """

    gradients = summed_gradients(forward, objective, accumulate, stride)

    def step(state: TrainState, batch: Batch, tally: Tally):
        batch = lesson(state, batch)
        mice_m = batch.neurons_mn.any(1)
        loss, grads, stats, corr = gradients(state, batch)
        cost, cost_grads = jax.value_and_grad(penalty)(
            state.params, batch.neurons_mn, mice_m
        )
        grads = jax.tree.map(jnp.add, grads, cost_grads)
        norm = optax.tree.norm(grads)
        updates, opt = optimizer.update(grads, state.opt, state.params)
        updates = jax.tree.map(lambda u: u * state.rate, updates)
        now = {
            "params": project(optax.apply_updates(state.params, updates)),
            "batch_stats": stats,
        }
        ema = _average(state.ema, now, ema_decay) if state.ema else state.ema
        after = state._replace(step=state.step + 1, opt=opt, ema=ema, **now)
        fine = jnp.isfinite(loss + cost) & jnp.isfinite(norm) & (tally.bad_step < 0)
        # After a loss that is not finite the state stands still, so the last good one
        # survives the steps already on their way to the device.
        after = jax.tree.map(lambda new, old: jnp.where(fine, new, old), after, state)
        return after, _count(tally, state.step, fine, (loss + cost, cost, norm, corr))

    return step


def summed_gradients(
    forward: Forward, objective: Objective, accumulate: int, stride: int
) -> Callable[[TrainState, Batch], tuple]:
    """gradients(state, batch) -> (loss, gradients, batch_stats, correlation)."""

    def loss_of(params, stats, state, batch, windows, part):
        keys = {
            use: jax.random.fold_in(key_for(state.seed, state.step, use), part)
            for use in ("sample", "dropout")
        }
        variables = {"params": params, "batch_stats": stats, "info": state.info}
        rates, stats = forward(variables, batch, keys, train=True)
        batch = answered(batch, rates.shape[2], stride)
        loss = jnp.sum(objective(rates, batch, windows))
        return loss, (stats, train_correlation(rates, batch))

    def gradients(state: TrainState, batch: Batch):
        windows = batch.valid_mbt.shape[1]

        def body(carry, xs):
            part, piece = xs
            total, grads, stats, corr = carry
            (loss, (stats, c)), g = jax.value_and_grad(loss_of, has_aux=True)(
                state.params, stats, state, piece, windows, part
            )
            return (
                total + loss,
                jax.tree.map(jnp.add, grads, g),
                stats,
                corr + c,
            ), None

        zero = jnp.zeros((), jnp.float32)
        grads = jax.tree.map(jnp.zeros_like, state.params)
        carry = (zero, grads, state.batch_stats, zero)
        if accumulate == 1:
            return body(carry, (jnp.zeros((), int), batch))[0]
        pieces = split_windows(batch, accumulate)
        carry, _ = jax.lax.scan(body, carry, (jnp.arange(accumulate), pieces))
        return (*carry[:3], carry[3] / accumulate)

    return gradients


def answered(batch: Batch, frames: int, stride: int) -> Batch:
    """The batch with only the frames whose rates the model gave."""
    names = ("responses_mbtn", "valid_mbt", "frame_mbt")
    cut = {n: axes.last_frames(getattr(batch, n), 2, frames, stride) for n in names}
    return batch._replace(**cut)


def jit_step(step: Callable, mesh: Any = None) -> Callable:
    """Compile a step, giving the old state's memory to the new one.

    With a mesh every leaf comes out as it went in, so the step compiles only once.
    """

    def train_step(state: TrainState, batch: Batch, tally: Tally):
        after, tally = step(state, batch, tally)
        where = shard.state_shardings((after, tally), mesh)
        return jax.lax.with_sharding_constraint((after, tally), where)

    return jax.jit(train_step if mesh is not None else step, donate_argnums=0)


def split_windows(batch: Batch, parts: int) -> Batch:
    """Cut the windows into parts on a new leading axis, each device its own windows."""
    devices = axes.shard_counts()[1]

    def cut(name: str, x: jax.Array | None) -> jax.Array | None:
        if x is None:
            return None
        if name == "neurons_mn":
            return jnp.broadcast_to(x[None], (parts, *x.shape))
        m, b, *rest = x.shape
        if b % (devices * parts):
            raise UserError(
                f"{b} windows cannot be accumulated in {parts} parts over {devices} "
                f"devices; make config.train.batch a multiple of {devices * parts}."
            )
        y = x.reshape(m, devices, parts, b // (devices * parts), *rest)
        return jnp.moveaxis(y, 2, 0).reshape(parts, m, b // parts, *rest)

    return Batch(*(cut(n, x) for n, x in zip(Batch._fields, batch, strict=True)))


def train_correlation(rates_mbtn: jax.Array, batch: Batch) -> jax.Array:
    """Mean over neurons of the correlation within this batch; for the progress bar."""
    frames = rates_mbtn.shape[2]
    y = batch.responses_mbtn[:, :, -frames:].astype(jnp.float32)
    valid = batch.valid_mbt[:, :, -frames:, None]
    neurons_mn = batch.neurons_mn
    if batch.observed_mbn is not None:
        valid = valid & batch.observed_mbn[:, :, None]
        neurons_mn = neurons_mn & valid.any((1, 2))
    count = jnp.maximum(valid.sum((1, 2), keepdims=True), 1)

    def center(x: jax.Array) -> jax.Array:
        mean = jnp.sum(x, (1, 2), where=valid, keepdims=True) / count
        return jnp.where(valid, x - mean, 0.0)

    a, b = center(jax.lax.stop_gradient(rates_mbtn)), center(y)
    power = jnp.sum(a * a, (1, 2)) * jnp.sum(b * b, (1, 2))
    corr_mn = jnp.sum(a * b, (1, 2)) / jnp.sqrt(jnp.maximum(power, 1e-12))
    real = jnp.maximum(neurons_mn.sum(), 1)
    return jnp.sum(corr_mn, where=neurons_mn) / real


def _average(ema: Tree, now: Tree, decay: float) -> Tree:
    return jax.tree.map(lambda e, x: e + (1 - decay) * (x - e), ema, now)


def _count(tally: Tally, step: jax.Array, fine: jax.Array, sums: tuple) -> Tally:
    first = (tally.bad_step < 0) & ~fine
    total, cost, norm, corr = sums
    return Tally(
        steps=tally.steps + 1,
        loss=tally.loss + total,
        penalty=tally.penalty + cost,
        grad_norm=tally.grad_norm + norm,
        correlation=tally.correlation + corr,
        bad_step=jnp.where(first, step, tally.bad_step),
    )
