"""Everything a run needs to go on: one record of arrays."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

Tree = Any


class TrainState(NamedTuple):
    """The whole state of a run; batches and random keys follow from seed and step."""

    step: jax.Array  # int32, steps done
    params: Tree
    batch_stats: Tree
    info: Tree  # constants of the mice: coordinates, masks
    opt: Tree
    ema: Tree  # {"params", "batch_stats"}, or {} without averaging
    rate: jax.Array  # float32 factor on the learning rate, lowered by plateaus
    seed: jax.Array  # uint32


USES = ("sample", "dropout", "mix")


def key_for(seed: jax.Array, step: jax.Array, use: str) -> jax.Array:
    """The key of one use at one step."""
    key = jax.random.fold_in(jax.random.key(seed), step)
    return jax.random.fold_in(key, USES.index(use))


def create(
    variables: Tree, optimizer: optax.GradientTransformation, seed: int, *, ema: bool
) -> TrainState:
    """The state before the first step."""
    # A weakly typed leaf would make the second step trace again.
    variables = jax.tree.map(lambda x: jnp.asarray(x, x.dtype), variables)
    params, stats = variables["params"], variables.get("batch_stats", {})
    copy = jax.tree.map(jnp.copy, {"params": params, "batch_stats": stats})
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=stats,
        info=variables.get("info", {}),
        opt=optimizer.init(params),
        ema=copy if ema else {},
        rate=jnp.ones((), jnp.float32),
        seed=jnp.asarray(seed, jnp.uint32),
    )


def variables_of(state: TrainState, *, averaged: bool = True) -> Tree:
    """What the model's apply takes; the moving average where there is one."""
    if averaged and state.ema:
        return {**state.ema, "info": state.info}
    return {
        "params": state.params,
        "batch_stats": state.batch_stats,
        "info": state.info,
    }
