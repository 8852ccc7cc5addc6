"""Sums over trials from which maps and linear models follow, gathered in one pass.

For every mouse: means and covariance of the reduced stimulus, and its covariance with
every neuron's responses, for light and for local contrast. Sums are zero / update /
merge, as in metrics, in pairs of float32; a batch's own sums are added plainly, frame
after frame, and meet the pairs once. Before a trial the stimulus is at its mean.

A mouse takes 8 (D^2 + D N) bytes for D features and N neurons, for light and contrast:
with 2048 and 600 of them and 8,000 neurons 206 MB, and ten mice 2.1 GB.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.axes import Batch, shard_counts
from sensorium_jax.errors import UserError
from sensorium_jax.maps import reduce
from sensorium_jax.maps.reduce import EXACT, Plan

TOGETHER = 256  # most frames whose features are in memory at a time
Array = Any


class Pair(NamedTuple):
    """A sum in two words: high + low, about 48 bits."""

    high: Array
    low: Array


class Block(NamedTuple):
    """Sums of one kind of features, over the valid frames of a mouse."""

    x_md: Pair
    xx_mde: Pair
    yx_mnd: Pair


class Moments(NamedTuple):
    """Everything that is summed; a pytree whose leaves lead with M."""

    count_m: Array  # float32 frames; exact up to 16 million
    seen_mn: Pair  # frames in which a neuron's response is known
    y_mn: Pair
    yy_mn: Pair
    least_mn: Array  # smallest response
    light: Block
    contrast: Block


class Sample(NamedTuple):
    """One batch as moments take it; fields as in axes.Batch."""

    video_mbthwc: Array  # normalized
    signals_mbtk: Array  # behavior and pupil together; K may be 0
    responses_mbtn: Array
    valid_mbt: Array
    observed_mbn: Array | None = None  # False where a response is not known


def zero(plan: Plan, mice: int, neurons: int) -> Moments:
    """The sums before any frame."""

    def pair(*shape: int) -> Pair:
        return Pair(jnp.zeros((mice, *shape)), jnp.zeros((mice, *shape)))

    def block(features: int) -> Block:
        return Block(pair(features), pair(features, features), pair(neurons, features))

    return Moments(
        count_m=jnp.zeros(mice),
        seen_mn=pair(neurons),
        y_mn=pair(neurons),
        yy_mn=pair(neurons),
        least_mn=jnp.full((mice, neurons), jnp.inf),
        light=block(plan.light),
        contrast=block(plan.contrast),
    )


def plus(a: Pair, x: Array) -> Pair:
    """The pair with a plain array added (Knuth's exact sum)."""
    total = a.high + x
    part = total - a.high
    low = a.low + ((a.high - (total - part)) + (x - part))
    high = total + low
    return Pair(high, low - (high - total))


def merge(a: Moments, b: Moments) -> Moments:
    """The sums of the frames of a and b together."""

    def both(x: Any, y: Any) -> Any:
        return plus(plus(x, y.low), y.high) if isinstance(x, Pair) else x + y

    out = jax.tree.map(both, a, b, is_leaf=lambda x: isinstance(x, Pair))
    return out._replace(least_mn=jnp.minimum(a.least_mn, b.least_mn))


def update(plan: Plan, state: Moments, sample: Sample, *, squares: bool = True):
    """Add the valid frames of a batch; invalid ones may hold anything, also NaN.

    Without squares the covariance of the stimulus stays as it is, which saves most of
    the work where only responses are new.
    """
    batch, known_mn, seen_mgbn = _folded(sample)
    frames = batch.valid.shape[3]
    parts = -(-frames // TOGETHER)
    size = -(-frames // parts)
    batch = _Folded(*(_lengthened(x, parts * size - frames) for x in batch))

    def sums_of(at: Array, before: tuple) -> tuple[Any, tuple]:
        part = _Folded(
            *(jax.lax.dynamic_slice_in_dim(x, at * size, size, 3) for x in batch)
        )
        features, after = _features(plan, part, before)
        return _sums(features, part, squares=squares), after

    def add(carry: Any, at: Array) -> tuple[Any, None]:
        sums, before = carry
        new, after = sums_of(at, before)
        return (jax.tree.map(jnp.add, sums, new), after), None

    before = _before(plan, batch)
    none = jax.tree.map(jnp.zeros_like, jax.eval_shape(sums_of, 0, before)[0])
    (sums, _), _ = jax.lax.scan(add, (none, before), jnp.arange(parts))
    # Until here every device has added its own; now they meet, once.
    light, contrast, (y, yy, count) = jax.tree.map(lambda x: x.sum(1), sums)
    real = batch.valid[..., None] > 0
    if seen_mgbn is not None:
        real = real & seen_mgbn[:, :, :, None]
    least = jnp.min(batch.responses, (1, 2, 3), where=real, initial=jnp.inf)
    return Moments(
        state.count_m + count,
        plus(state.seen_mn, known_mn),
        plus(state.y_mn, y),
        plus(state.yy_mn, yy),
        jnp.minimum(state.least_mn, least),
        _grown(state.light, light),
        _grown(state.contrast, contrast),
    )


def _grown(block: Block, sums: tuple[Array, Array | None, Array]) -> Block:
    """A block with the sums of a batch added."""
    x, xx, yx = sums
    more = block.xx_mde if xx is None else plus(block.xx_mde, xx)
    return Block(plus(block.x_md, x), more, plus(block.yx_mnd, yx))


class _Folded(NamedTuple):
    """A batch cut into what each device holds: [M, devices, windows, T, ...]."""

    video: Array
    signals: Array
    responses: Array
    valid: Array


def _folded(sample: Sample) -> tuple[_Folded, Array, Array | None]:
    """The batch with zeros where nothing is valid, and each neuron's known frames.

    Also which windows each neuron is known in, [M, devices, windows, N], or None.
    """
    valid = sample.valid_mbt.astype(bool)
    signals = jnp.where(valid[..., None], sample.signals_mbtk, 0.0)
    known = valid[..., None]
    if sample.observed_mbn is not None:
        known = known & sample.observed_mbn[:, :, None].astype(bool)
    responses = jnp.where(known, sample.responses_mbtn, 0.0)
    shape = sample.responses_mbtn.shape
    known_mn = jnp.broadcast_to(known, shape).astype(jnp.float32).sum((1, 2))
    _, devices = shard_counts()
    devices = devices if shape[1] % devices == 0 else 1

    def cut(x: Array) -> Array:
        m, b, *rest = x.shape
        return x.astype(jnp.float32).reshape(m, devices, b // devices, *rest)

    cuts = (cut(x) for x in (sample.video_mbthwc, signals, responses, valid))
    seen = sample.observed_mbn
    return _Folded(*cuts), known_mn, None if seen is None else cut(seen) > 0


def _lengthened(x: Array, more: int) -> Array:
    return jnp.pad(x, [(0, more if axis == 3 else 0) for axis in range(x.ndim)])


def _before(plan: Plan, batch: _Folded) -> tuple[Array, Array]:
    """Reduced frames of before the trial: the mean."""
    lead = (*batch.valid.shape[:3], plan.taps - 1)
    contrasts = plan.coarse[0] * plan.coarse[1]
    return jnp.zeros((*lead, plan.pixels)), jnp.zeros((*lead, contrasts))


def _features(plan: Plan, part: _Folded, before: tuple) -> tuple[Any, Any]:
    """Light and contrast features of a chunk, and what the next one must remember."""
    valid = part.valid[..., None]
    reduced = reduce.pixels(plan, part.video), reduce.contrasts(plan, part.video)
    new = [jnp.where(valid > 0, x, 0.0) for x in reduced]
    out, after = [], []
    for x, old, bases in zip(
        new, before, (plan.bases, plan.contrast_bases), strict=True
    ):
        joined = jnp.concatenate([old, x], axis=-2)
        out.append(valid * reduce.in_time(joined, plan.taps, bases))
        after.append(joined[..., x.shape[-2] :, :])
    out[0] = jnp.concatenate([out[0], part.signals], axis=-1)
    return tuple(out), tuple(after)


def _sums(features: tuple, part: _Folded, *, squares: bool) -> Any:
    """Each device's sums of a chunk, [M, devices, ...]."""
    y, count = part.responses, part.valid.sum((2, 3))

    def block(x: Array) -> tuple:
        return x.sum((2, 3)), _product(x, x) if squares else None, _product(y, x)

    of_y = (y.sum((2, 3)), (y * y).sum((2, 3)), count)
    return *(block(x) for x in features), of_y


def _product(a: Array, b: Array) -> Array:
    """Sums over windows and frames: [M, G, B, T, D] and [..., E] to [M, G, D, E]."""
    rows = [x.reshape(*x.shape[:2], -1, x.shape[-1]) for x in (a, b)]
    return jnp.matmul(rows[0].mT, rows[1], precision=EXACT)


def sample(batch: Batch, video_mbthwc: Array, plan: Plan) -> Sample:
    """A batch with its video normalized, its signals side by side where planned."""
    signals = [batch.behavior_mbtk, batch.pupil_mbt2]
    signals_mbtk = jnp.concatenate([jnp.asarray(s) for s in signals], -1)
    return Sample(
        video_mbthwc,
        signals_mbtk[..., : plan.signals],
        batch.responses_mbtn,
        batch.valid_mbt,
        batch.observed_mbn,
    )


def gather(
    plan: Plan,
    batches: Iterable[Batch],
    normalized: Callable[[Batch], Array],
    place: Callable[[Moments], Moments] = lambda state: state,
    *,
    squares: bool = True,
) -> Moments:
    """The sums over batches of whole trials; normalized gives the video of a batch.

    place puts the zeros where they should lie, which matters on a mesh only. Passes of
    equal shapes share one program.
    """
    state = None
    for batch in batches:
        if state is None:
            state = place(zero(plan, *batch.neurons_mn.shape))
        state = _add(plan, state, batch, normalized(batch), squares=squares)
    if state is None:
        raise UserError(
            "There is no batch to take maps from; expected training trials. Check the "
            "tier, and that the recordings have labelled trials."
        )
    return state


@partial(jax.jit, static_argnums=0, static_argnames="squares", donate_argnums=1)
def _add(
    plan: Plan, state: Moments, batch: Batch, video_mbthwc: Array, *, squares: bool
) -> Moments:
    return update(plan, state, sample(batch, video_mbthwc, plan), squares=squares)


class Centered(NamedTuple):
    """Means, covariances and counts of one mouse, in float64 on the host."""

    frames: float
    x_d: np.ndarray
    xx_de: np.ndarray  # covariance of the features
    xy_dn: np.ndarray  # of features with responses
    y_n: np.ndarray
    yy_n: np.ndarray  # variances of the responses


def centered(state: Moments, mouse: int, neurons: int, kind: str = "light") -> Centered:
    """What the sums say of the first neurons of one mouse; kind: light or contrast.

    Bring the state to the host first (jax.device_get) where several mice are asked for.
    """
    block: Block = getattr(state, kind)
    frames = max(float(np.asarray(state.count_m)[mouse]), 1.0)
    seen_n = np.maximum(_total(state.seen_mn, mouse)[:neurons], 1.0)
    y_n = _total(state.y_mn, mouse)[:neurons] / seen_n
    yy_n = _total(state.yy_mn, mouse)[:neurons] / seen_n - y_n**2
    x_d = _total(block.x_md, mouse) / frames
    xx_de = _total(block.xx_mde, mouse) / frames - x_d[:, None] * x_d
    yx_nd = _total(block.yx_mnd, mouse)[:neurons] / seen_n[:, None]
    xy_dn = yx_nd.T - x_d[:, None] * y_n
    return Centered(frames, x_d, xx_de, xy_dn, y_n, np.maximum(yy_n, 0.0))


def _total(pair: Pair, mouse: int) -> np.ndarray:
    high, low = (np.asarray(x)[mouse].astype(np.float64) for x in pair)
    return high + low
