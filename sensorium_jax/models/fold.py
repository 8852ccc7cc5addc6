"""Merge mice, windows and frames into one axis of images without moving any data.

A plain reshape of [M, B] to M*B makes the compiler gather mice whenever the mesh does
not hold exactly M of them, and a scan over a sharded axis gathers that axis. Folding
each device's own block, and scanning only within it, avoids both.
"""

from typing import Any

import jax
import jax.numpy as jnp

from sensorium_jax import axes

Array = Any
Tree = Any


def fold(x_mb: Array) -> Array:
    """[M, B, ...] to [M*B, ...], each device's block contiguous."""
    dm, dd = _shards(x_mb)
    m, b, *rest = x_mb.shape
    y = x_mb.reshape(dm, m // dm, dd, b // dd, *rest).swapaxes(1, 2)
    return y.reshape(m * b, *rest)


def unfold(y: Array, mice: int) -> Array:
    """[M*B, ...] back to [M, B, ...]; the inverse of fold."""
    batch, rest = y.shape[0] // mice, y.shape[1:]
    dm, dd = axes.shard_counts()
    x = y.reshape(dm, dd, mice // dm, batch // dd, *rest).swapaxes(1, 2)
    return x.reshape(mice, batch, *rest)


def steps(tree: Tree, shards: int, chunk: int) -> Tree:
    """[I, ...] to [steps, shards, chunk, ...]; the steps axis is local to a device."""
    return jax.tree.map(
        lambda x: jnp.moveaxis(x.reshape(shards, -1, chunk, *x.shape[1:]), 1, 0), tree
    )


def unsteps(tree: Tree) -> Tree:
    """[steps, shards, chunk, ...] back to [I, ...]; the inverse of steps."""
    return jax.tree.map(lambda y: jnp.moveaxis(y, 0, 1).reshape(-1, *y.shape[3:]), tree)


def _shards(x_mb: Array) -> tuple[int, int]:
    dm, dd = axes.shard_counts()
    m, b = x_mb.shape[:2]
    if m % dm or b % dd:
        raise ValueError(
            f"{m} mice and {b} windows cannot be cut over a mesh of mouse={dm}, "
            f"data={dd}; pad the mice to a multiple of {dm} and the windows to a "
            f"multiple of {dd}."
        )
    return dm, dd
