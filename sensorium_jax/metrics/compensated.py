"""Sums in two float32 words: about 48 bits, on every device, without x64.

A value is a pair (high, low) with high = float32(high + low). The building block is
Knuth's exact sum of two floats; it needs only additions, so it survives fusing.
Ogita, Rump & Oishi 2005, "Accurate sum and dot product".
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from sensorium_jax.axes import shard_counts

RUN = 32  # frames added plainly: their rounding averages out over the runs


class Two(NamedTuple):
    """An unevaluated sum high + low; both have the same shape."""

    high: jax.Array
    low: jax.Array


def zero(shape: tuple[int, ...]) -> Two:
    """The number 0 in every place."""
    return Two(jnp.zeros(shape, jnp.float32), jnp.zeros(shape, jnp.float32))


def exact_sum(a: jax.Array, b: jax.Array) -> Two:
    """The sum of a and b and the error float32 makes in it."""
    total = a + b
    part = total - a
    return Two(total, (a - (total - part)) + (b - part))


def add(a: Two, b: Two) -> Two:
    """Sum of two pairs."""
    high, low = exact_sum(a.high, b.high)
    return exact_sum(high, low + (a.low + b.low))


def subtract(a: Two, b: Two) -> Two:
    """Difference of two pairs."""
    return add(a, Two(-b.high, -b.low))


def lift(a: jax.Array) -> Two:
    """A plain array as a pair."""
    return Two(a, jnp.zeros_like(a))


def single(a: Two) -> jax.Array:
    """The nearest float32."""
    return a.high + a.low


def scale(a: Two, factor: jax.Array) -> Two:
    """A pair times a plain factor; the product is rounded, not corrected."""
    return exact_sum(a.high * factor, a.low * factor)


def sum_frames(x_mbtn: jax.Array) -> Two:
    """Sum over windows and frames: [..., M, B, T, N] to a pair of [..., M, N].

    Runs of frames are added plainly, then the runs in a tree of exact sums; only one
    partial sum per device meets the others, so that a mesh needs a single reduction.
    """
    *lead, mice, windows, frames, neurons = x_mbtn.shape
    _, parts = shard_counts()
    rows = windows // parts * frames
    local = x_mbtn.reshape(*lead, mice, parts, rows, neurons)
    runs = -(-rows // RUN)
    local = jnp.pad(
        local, [(0, 0)] * (local.ndim - 2) + [(0, runs * RUN - rows), (0, 0)]
    )
    pair = lift(local.reshape(*lead, mice, parts, runs, RUN, neurons).sum(-2))
    while pair.high.shape[-2] > 1:
        pair = _halve(pair)
    if parts == 1:
        return Two(pair.high[..., 0, 0, :], pair.low[..., 0, 0, :])
    return exact_sum(pair.high[..., 0, :].sum(-2), pair.low[..., 0, :].sum(-2))


def _halve(pair: Two) -> Two:
    """Add the second half of the last axis but one to the first."""
    rows = pair.high.shape[-2]
    half = (rows + 1) // 2
    end = [(0, 0)] * (pair.high.ndim - 2) + [(0, 2 * half - rows), (0, 0)]
    first = Two(*(a[..., :half, :] for a in pair))
    second = Two(*(jnp.pad(a[..., half:, :], end) for a in pair))
    return add(first, second)
