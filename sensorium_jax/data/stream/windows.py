"""Which frames to draw: pure functions of (seed, i), so that resuming needs only i."""

from typing import NamedTuple

import numpy as np

from sensorium_jax.axes import Window


class Picks(NamedTuple):
    """Drawn windows of one mouse before the lengths of their trials are known."""

    pool_b: np.ndarray  # positions in the mouse's pool of trials
    where_b: np.ndarray  # 0..1, where between the first and the last possible start


def generator(
    seed: int, i: int, lane: int = 0, draw: int = 0, purpose: int = 0
) -> np.random.Generator:
    """Independent random numbers for every (seed, i, lane, draw, purpose).

    Counter-based (Philox), so that asking in another order, from another process or for
    some of the mice only changes nothing. Lanes are mice.
    """
    key = np.array([seed % 2**64, i % 2**64], np.uint64)
    counter = np.array([0, purpose, lane, draw], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def independent(
    seed: int, i: int, mouse: int, pool: int, batch: int, *, draw: int = 0
) -> Picks:
    """Windows of batch i drawn with replacement from a pool of trials."""
    random = generator(seed, i, mouse, draw)
    return Picks(random.integers(pool, size=batch), random.random(batch))


def steps_per_epoch(pools: list[int], batch: int) -> int:
    """Batches until the mouse with most trials has shown each of them once."""
    return max(-(-pool // batch) for pool in pools)


def permuted(
    seed: int,
    i: int,
    mouse: int,
    pool: int,
    batch: int,
    *,
    steps: int,
    draw: int = 0,
) -> Picks:
    """Windows of batch i drawn without replacement, as the official loaders do.

    Within an epoch of `steps` batches a mouse runs through random orders of its whole
    pool, one after the other; mice with fewer trials start again until the largest is
    through. A pass that ends inside a batch is topped up from the next one (the
    official loader gives a smaller batch there).
    """
    epoch, step = divmod(i, steps)
    turn_b, place_b = np.divmod(step * batch + np.arange(batch), pool)
    pool_b = np.empty(batch, np.int64)
    for turn in np.unique(turn_b):
        order = generator(seed, epoch, mouse, draw, 1 + int(turn)).permutation(pool)
        pool_b[turn_b == turn] = order[place_b[turn_b == turn]]
    return Picks(pool_b, generator(seed, i, mouse, draw).random(batch))


def once(seed: int, i: int, mouse: int, pool: int, batch: int) -> Picks:
    """Batch i of a single pass in order; -1 where the pool has ended."""
    pool_b = i * batch + np.arange(batch)
    where_b = generator(seed, i, mouse).random(batch)
    return Picks(np.where(pool_b < pool, pool_b, -1), where_b)


def mixed_mice(seed: int, i: int, weights_m: np.ndarray, batch: int) -> np.ndarray:
    """The mouse of every sample of batch i, drawn in proportion to the weights."""
    share_m = np.cumsum(weights_m / np.sum(weights_m))
    drawn_b = generator(seed, i, purpose=1).random(batch)
    return np.minimum(np.searchsorted(share_m, drawn_b, side="right"), share_m.size - 1)


def mixed(seed: int, i: int, pools_b: np.ndarray, *, draw: int = 0) -> Picks:
    """A trial and a place for every sample, given the size of its mouse's pool."""
    random = generator(seed, i, draw=draw)
    return Picks(random.integers(pools_b), random.random(pools_b.size))


def span(frames: int, stride: int) -> int:
    """Frames of film from the first to the last frame of a window."""
    return (frames - 1) * stride + 1


def place(
    mouse: int,
    trial: int,
    length: int,
    frames: int,
    stride: int,
    start: str | int,
    where: float,
) -> Window:
    """The window of a trial: at a fixed start, or at `where` between its extremes.

    Every start from 0 to length - span is possible; the official loader leaves out the
    last. Named by their last frame these are DwiseNeuro's indexes, span - 1 to
    length - 1. Where the trial ends before the window does, Window.frames is smaller
    than asked and the rest is left to the mask.
    """
    room = max(length - span(frames, stride) + 1, 1)
    first = min(int(where * room), room - 1) if isinstance(start, str) else start
    there = len(range(first, length, stride))
    return Window(mouse, trial, first, min(frames, there), stride)


def frames_of(window: Window) -> slice:
    """The window's frames within its trial."""
    stop = window.start + span(window.frames, window.stride) if window.frames else 0
    return slice(window.start if window.frames else 0, stop, window.stride)
