"""What repeats of a stimulus tell of a neuron: how much of it any model could explain.

Trials arrive in any order; each belongs to a slot, the stimulus it showed. Kept are the
mean and the spread over repeats of every frame of a slot, so memory grows with stimuli
and never with trials. A picture is a stimulus of one frame. Where repeats of a clip
have different lengths, the frames that all of them have are compared.

Formulas, with r a repeat, i a frame of a stimulus, R repeats:
jackknife: correlation of y_r with the mean of the other repeats, over everything;
conservative: V / sqrt(V (V + s2)), V = var_i(mean_r y), s2 = mean_i(var_r y), ddof 0;
explainable: (total - noise) / total, total = var of all y, noise = mean_i(var_r y),
ddof 1; snr: mean_i (mean_r - grand mean)^2 / mean_i var_r, of Anscombe's transform.
ceiling: the highest correlation with single trials, from the jackknife k: the
reliability q of one trial solves k^2 = (R - 1) q^2 / (1 + (R - 2) q), the ceiling is
sqrt(q). A stimulus shown once says nothing of noise and is left out.
"""

from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from sensorium_jax import axes
from sensorium_jax.metrics import compensated as two
from sensorium_jax.metrics.correlation import EPS
from sensorium_jax.metrics.slots import EXACT, Slots, frames_by_neuron
from sensorium_jax.metrics.summary import Summary, summarize

TOTAL_EPS = 1e-9  # added to the total variance, as in the originals
FLAT = 3e-7  # spread relative to the mean that rounding alone explains

Sums = TypeVar("Sums")  # a pytree of [M, S, ...]


class State(NamedTuple):
    """Sums of each stimulus; a pytree, so it shards, merges and saves."""

    # int32 repeats that have the frame; [M, S, T, N] where neurons miss repeats
    count_mst: jax.Array
    mean_mstn: jax.Array
    square_mstn: jax.Array  # squared deviations from the mean over repeats
    within_msn: jax.Array  # variance over frames of each repeat, added up
    bad_msn: jax.Array  # bool: a response is NaN or infinite


class Repeats(NamedTuple):
    """Ceilings and reliability of each neuron."""

    jackknife: Summary
    conservative: Summary
    explainable: Summary
    ceiling: Summary
    repeats_m: jax.Array  # mean number of repeats


def zero(
    mice: int, stimuli: int, frames: int, neurons: int, some: bool = False
) -> State:
    """The state before any trial, for clips of up to `frames` frames.

    some: not every neuron has every trial.
    """
    none = jnp.zeros((mice, stimuli, frames, neurons), jnp.float32)
    flat = jnp.zeros((mice, stimuli, neurons), jnp.float32)
    count = jnp.zeros(none.shape if some else none.shape[:3], jnp.int32)
    return State(count, none, none, flat, flat.astype(bool))


def update(
    state: State,
    responses_mbtn: jax.Array,
    valid_mbt: jax.Array,
    stimulus_mb: jax.Array,
    observed_mbn: jax.Array | None = None,
) -> State:
    """Add trials of the stimuli stimulus_mb (-1: of none); T is that of the state.

    observed_mbn: False where a neuron's responses to a trial are missing; the state
    must then have been begun with some=True.
    """
    axes.check(
        responses_mbtn=responses_mbtn,
        valid_mbt=valid_mbt,
        stimulus_mb=stimulus_mb,
        mean_mstn=state.mean_mstn,
        observed_mbn=observed_mbn,
    )
    stimuli = state.count_mst.shape[1]
    slots = Slots.of(valid_mbt, stimulus_mb, stimuli, observed_mbn)
    return merge(state, _moments(slots, responses_mbtn))


def _moments(slots: Slots, responses_mbtn: jax.Array) -> State:
    """The state of one batch alone, in two passes."""
    x, bad = slots.clean(responses_mbtn)
    mean = slots.mean(x)
    own = jnp.einsum("mbs,mstn->mbtn", slots.slot_mbs, mean, precision=EXACT)
    off = jnp.where(slots.keep_mbt1, x - own, 0.0)
    frames = jnp.maximum(slots.keep_mbt1.sum(2), 1).astype(jnp.float32)
    middle = (x.sum(2) / frames)[:, :, None]
    apart = jnp.where(slots.keep_mbt1, x - middle, 0.0)
    variance_mbn = (apart * apart).sum(2) / frames
    within = jnp.einsum("mbs,mbn->msn", slots.slot_mbs, variance_mbn, precision=EXACT)
    return State(slots.count_mst, mean, slots.add(off * off), within, bad)


def merge(a: State, b: State) -> State:
    """The state of the trials of a and b together (Chan, Golub & LeVeque 1983)."""
    count = a.count_mst + b.count_mst
    part = frames_by_neuron(b.count_mst / jnp.maximum(count, 1)).astype(jnp.float32)
    step = b.mean_mstn - a.mean_mstn
    weight = frames_by_neuron(a.count_mst) * part
    return State(
        count,
        a.mean_mstn + step * part,
        a.square_mstn + b.square_mstn + step * step * weight,
        a.within_msn + b.within_msn,
        a.bad_msn | b.bad_msn,
    )


def whole(state: Sums) -> Sums:
    """A state of trials by stimulus, padded so that the mesh divides the stimuli."""
    _, parts = axes.shard_counts()
    more = -jax.tree.leaves(state)[0].shape[1] % parts
    return jax.tree.map(
        lambda x: jnp.pad(x, [(0, 0), (0, more)] + [(0, 0)] * (x.ndim - 2)), state
    )


def frames_of(state: State, *, least: int = 1) -> jax.Array:
    """Frames that every repeat has, of stimuli shown `least` times; as count_mst."""
    most = state.count_mst.max(2, keepdims=True)
    return (state.count_mst == most) & (most >= least)


class Variances(NamedTuple):
    """Sums over the frames of repeated stimuli, from which all formulas follow."""

    # The last axis is N where neurons miss repeats.
    keep_mst1: jax.Array
    repeats_mst1: jax.Array  # float; at least 2
    frames_m1: jax.Array
    trials_m1: jax.Array  # frames times repeats
    mean_mn: jax.Array  # over all trials
    away_mstn: jax.Array  # mean over repeats less that mean
    signal_mn: jax.Array  # sum over i of R (mean_r y - mean)^2
    inside_mn: jax.Array  # squared deviations from mean_r, added up
    noise_mn: jax.Array  # mean over i of var_r, ddof 1
    lost_mn: jax.Array  # bool: not finite, or without spread

    @property
    def total_mn(self) -> jax.Array:
        """Variance of all trials, ddof 1."""
        return self.scatter_mn / jnp.maximum(self.trials_m1 - 1, 1)

    @property
    def scatter_mn(self) -> jax.Array:
        """Squared deviations of all trials, added up."""
        return self.signal_mn + self.inside_mn


def over_stimuli(x_mstn: jax.Array) -> jax.Array:
    """Sum over stimuli and frames to [M, N], nearly without rounding."""
    return two.single(two.sum_frames(x_mstn))


def variances(state: State) -> Variances:
    """Signal and noise of every neuron over stimuli shown at least twice."""
    keep = frames_by_neuron(frames_of(state, least=2))
    repeats = frames_by_neuron(jnp.maximum(state.count_mst, 2)).astype(jnp.float32)
    frames = keep.sum((1, 2)).astype(jnp.float32)
    trials = jnp.where(keep, repeats, 0.0).sum((1, 2))
    count = jnp.maximum(trials, 1)
    mean = over_stimuli(jnp.where(keep, repeats * state.mean_mstn, 0.0)) / count
    away = jnp.where(keep, state.mean_mstn - mean[:, None, None], 0.0)
    square = jnp.where(keep, state.square_mstn, 0.0)
    signal, inside = over_stimuli(repeats * away * away), over_stimuli(square)
    noise = over_stimuli(square / (repeats - 1)) / jnp.maximum(frames, 1)
    still = jnp.sqrt((signal + inside) / count) <= FLAT * jnp.abs(mean)
    lost = state.bad_msn.any(1) | still | (frames == 0)
    return Variances(
        keep, repeats, frames, trials, mean, away, signal, inside, noise, lost
    )


def value(state: State, neurons_mn: jax.Array | None = None) -> Repeats:
    """Ceilings and reliability; neurons_mn masks padded neurons."""
    state = whole(state)
    v = variances(state)
    repeats = v.trials_m1 / jnp.maximum(v.frames_m1, 1)
    jackknife = _jackknife(state, v)

    def told(raw_mn: jax.Array) -> Summary:
        return summarize(raw_mn, neurons_mn, lost_mn=v.lost_mn)

    return Repeats(
        told(jackknife),
        told(_conservative(state, v)),
        told((v.total_mn - v.noise_mn) / (v.total_mn + TOTAL_EPS)),
        told(corrected(jackknife, jnp.maximum(repeats, 2))),
        _over_neurons(repeats, v.frames_m1 > 0),
    )


def _over_neurons(repeats: jax.Array, some: jax.Array) -> jax.Array:
    """Mean number of repeats [M], over the neurons that have any."""
    if repeats.shape[1] == 1:
        return repeats[:, 0]
    return jnp.sum(repeats, 1, where=some) / jnp.maximum(some.sum(1), 1)


def _jackknife(state: State, v: Variances) -> jax.Array:
    # Over the repeats of one frame, with d the mean's deviation and q the squared
    # deviations from it: y o adds up to R d^2 - q / (R - 1), and o o to
    # R d^2 + q / (R - 1)^2.
    square = jnp.where(v.keep_mst1, state.square_mstn, 0.0)
    rest = v.repeats_mst1 - 1
    count = jnp.maximum(v.trials_m1, 1)
    both = (v.signal_mn - over_stimuli(square / rest)) / count
    other = jnp.sqrt((v.signal_mn + over_stimuli(square / rest**2)) / count)
    return both / (jnp.sqrt(v.scatter_mn / count) + EPS) / (other + EPS)


def _conservative(state: State, v: Variances) -> jax.Array:
    frames = jnp.maximum(v.frames_m1, 1)
    middle = over_stimuli(v.away_mstn) / frames
    apart = jnp.where(v.keep_mst1, v.away_mstn - middle[:, None, None], 0.0)
    signal = over_stimuli(apart * apart) / frames
    square = jnp.where(v.keep_mst1, state.square_mstn / v.repeats_mst1, 0.0)
    return jnp.sqrt(signal / (signal + over_stimuli(square) / frames))


def corrected(jackknife: jax.Array, repeats: jax.Array) -> jax.Array:
    """Ceiling of single-trial correlation from the jackknife's over R repeats."""
    s = jnp.maximum(jackknife, 0.0) ** 2
    b, rest = s * (repeats - 2), repeats - 1
    return jnp.sqrt((b + jnp.sqrt(b * b + 4 * rest * s)) / (2 * rest))


def anscombe(responses: jax.Array) -> jax.Array:
    """2 sqrt(x + 3/8), whose Poisson noise has one variance (Anscombe 1948)."""
    return 2 * jnp.sqrt(responses + 0.375)


def snr(state: State, neurons_mn: jax.Array | None = None) -> Summary:
    """Signal to noise ratio; the state must have been fed anscombe(responses)."""
    state = whole(state)
    v = variances(state)
    frames = jnp.maximum(v.frames_m1, 1)
    middle = over_stimuli(v.away_mstn) / frames
    apart = jnp.where(v.keep_mst1, v.away_mstn - middle[:, None, None], 0.0)
    ratio = over_stimuli(apart * apart) / frames / v.noise_mn
    return summarize(ratio, neurons_mn, lost_mn=v.lost_mn)
