"""Merge mice, windows and frames into one axis of images without moving any data.

A plain reshape of [M, B] to M*B makes the compiler gather mice whenever the mesh does
not hold exactly M of them, and a scan over a sharded axis gathers that axis. Folding
each device's own block, and scanning only within it, avoids both.
"""

from typing import Any

from sensorium_jax import axes

Array = Any


def fold(x_mb: Array) -> Array:
    """[M, B, ...] to [shards, windows, ...], each device's own mice and windows."""
    dm, dd = _shards(*x_mb.shape[:2])
    m, b, *rest = x_mb.shape
    y = x_mb.reshape(dm, m // dm, dd, b // dd, *rest).swapaxes(1, 2)
    return y.reshape(dm * dd, -1, *rest)


def unfold(y: Array, mice: int, batch: int) -> Array:
    """[shards, windows, ...] back to [M, B, ...]; the inverse of fold."""
    dm, dd = _shards(mice, batch)
    rest = y.shape[2:]
    x = y.reshape(dm, dd, mice // dm, batch // dd, *rest).swapaxes(1, 2)
    return x.reshape(mice, batch, *rest)


def _shards(mice: int, batch: int) -> tuple[int, int]:
    dm, dd = axes.shard_counts()
    # A single mouse or window is not cut: it may be one of a mapped axis.
    dm, dd = dm if mice > 1 else 1, dd if batch > 1 else 1
    if mice % dm or batch % dd:
        raise ValueError(
            f"{mice} mice and {batch} windows cannot be cut over a mesh of mouse={dm}, "
            f"data={dd}; pad the mice to a multiple of {dm} and the windows to a "
            f"multiple of {dd}."
        )
    return dm, dd
