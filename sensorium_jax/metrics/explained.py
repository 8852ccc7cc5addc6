"""What a model explains of repeated stimuli: correlation to average, FEVE, CC_norm.

correlation to average: of responses with predictions, both averaged over the repeats of
a stimulus; pictures are 2022's, frames of clips laid end to end 2023's.
FEVE = 1 - (mse - noise) / (total - noise), FEV = (total - noise) / total, with total
the variance of all trials and noise the mean variance over repeats, ddof 1; neurons
with FEV below a threshold are left out (Cadena et al. 2019; Willeke et al. 2022).
CC_norm: covariance over frames of the mean prediction with the mean response, over
sqrt(variance of the prediction * signal power), clip by clip (Schoppe et al. 2016).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from sensorium_jax import axes
from sensorium_jax.metrics import correlation, repeats
from sensorium_jax.metrics.slots import EXACT, Slots, frames_by_neuron
from sensorium_jax.metrics.summary import Summary, summarize

THRESHOLD = 0.15  # least FEV of a neuron whose FEVE counts
POWER = 1e-4  # signal power below which CC_norm of a clip is undefined


class State(NamedTuple):
    """Sums of each stimulus: what repeats tell, and the predictions beside."""

    responses: repeats.State
    near_msn: jax.Array  # a rate of the stimulus, near all others
    rates_mstn: jax.Array  # mean over repeats, less near_msn
    error_mstn: jax.Array  # squared errors, added up
    bad_msn: jax.Array  # bool: a prediction is NaN or infinite


class Explained(NamedTuple):
    """Scores of each neuron over repeats."""

    to_average: Summary
    fev: Summary
    feve: Summary  # of neurons with enough FEV only
    normalized: Summary  # CC_norm; undefined for pictures, which have no time


def zero(
    mice: int, stimuli: int, frames: int, neurons: int, some: bool = False
) -> State:
    """The state before any trial; sizes as in repeats.zero."""
    first = repeats.zero(mice, stimuli, frames, neurons, some)
    none = jnp.zeros_like(first.mean_mstn)
    near = jnp.zeros_like(first.within_msn)
    return State(first, near, none, none, jnp.zeros_like(first.bad_msn))


def update(
    state: State,
    rates_mbtn: jax.Array,
    responses_mbtn: jax.Array,
    valid_mbt: jax.Array,
    stimulus_mb: jax.Array,
    observed_mbn: jax.Array | None = None,
) -> State:
    """Add trials of the stimuli stimulus_mb (-1: of none); as repeats.update."""
    axes.check(rates_mbtn=rates_mbtn, responses_mbtn=responses_mbtn)
    new = repeats.update(
        jax.tree.map(jnp.zeros_like, state.responses),
        responses_mbtn,
        valid_mbt,
        stimulus_mb,
        observed_mbn,
    )
    stimuli = state.bad_msn.shape[1]
    slots = Slots.of(valid_mbt, stimulus_mb, stimuli, observed_mbn)
    rates, bad = slots.clean(rates_mbtn)
    responses, _ = slots.clean(responses_mbtn)
    error = slots.add((responses - rates) ** 2)
    near, off = _near(slots, rates)
    return merge(state, State(new, near, slots.mean(off), error, bad))


def _near(slots: Slots, rates_mbtn: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The lowest rate of each stimulus [M, S, N], and all rates less theirs.

    Rates that hardly vary around a large mean would lose their digits in averages. The
    lowest is one of them: a mean could be rounded here otherwise than in the state, as
    compilers fuse what it is computed from with what it is subtracted from.
    """
    low_mbn = jnp.where(slots.keep_mbt1, rates_mbtn, jnp.inf).min(2)
    own_mbsn = slots.slot_mbs[..., None].astype(bool)
    low_msn = jnp.where(own_mbsn, low_mbn[:, :, None], jnp.inf).min(1)
    near = jnp.where(jnp.isfinite(low_msn), low_msn, 0.0)
    own = jnp.einsum("mbs,msn->mbn", slots.slot_mbs, near, precision=EXACT)
    return near, jnp.where(slots.keep_mbt1, rates_mbtn - own[:, :, None], 0.0)


def merge(a: State, b: State) -> State:
    """The state of the trials of a and b together."""
    count = a.responses.count_mst + b.responses.count_mst
    part = b.responses.count_mst / jnp.maximum(count, 1)
    shown_a, shown_b = (_shown(x.responses) for x in (a, b))
    near = jnp.where(shown_a, a.near_msn, b.near_msn)
    moved = jnp.where(shown_b, b.near_msn - near, 0.0)[:, :, None]
    step = b.rates_mstn + moved - a.rates_mstn
    return State(
        repeats.merge(a.responses, b.responses),
        near,
        a.rates_mstn + step * frames_by_neuron(part),
        a.error_mstn + b.error_mstn,
        a.bad_msn | b.bad_msn,
    )


def _shown(state: repeats.State) -> jax.Array:
    """Stimuli [M, S, 1 or N] of which there is any trial."""
    return frames_by_neuron(state.count_mst > 0).any(2)


def value(
    state: State,
    neurons_mn: jax.Array | None = None,
    *,
    threshold: float = THRESHOLD,
) -> Explained:
    """Scores over repeats; neurons_mn masks padded neurons."""
    state = repeats.whole(state)
    v = repeats.variances(state.responses)
    lost = v.lost_mn | state.bad_msn.any(1)
    able = v.total_mn - v.noise_mn
    fev = able / v.total_mn
    error = repeats.over_stimuli(jnp.where(v.keep_mst1, state.error_mstn, 0.0))
    mse = error / jnp.maximum(v.trials_m1, 1)
    feve = 1 - (mse - v.noise_mn) / able
    chosen = (fev >= threshold) & ~lost
    return Explained(
        to_average(state, neurons_mn),
        summarize(fev, neurons_mn, lost_mn=v.lost_mn),
        summarize(feve, neurons_mn, lost_mn=lost, chosen_mn=chosen),
        summarize(_normalized(state), neurons_mn, lost_mn=lost),
    )


def to_average(state: State, neurons_mn: jax.Array | None = None) -> Summary:
    """Correlation of both averages; stimuli shown once count too."""
    state = repeats.whole(state)
    keep = repeats.frames_of(state.responses)
    bad = state.bad_msn | state.responses.bad_msn
    averages = jnp.where(bad[:, :, None], jnp.nan, state.responses.mean_mstn)
    mice, _, neurons = state.bad_msn.shape
    start = correlation.zero(mice, neurons, keep.ndim > 3)
    shown = _shown(state.responses)
    near_msn = jnp.where(shown, state.near_msn, 0.0)
    middle_mn = near_msn.sum(1) / jnp.maximum(shown.sum(1), 1)
    apart_msn = jnp.where(shown, near_msn - middle_mn[:, None], 0.0)
    rates = state.rates_mstn + apart_msn[:, :, None]
    moments = correlation.moments(rates, averages, keep)
    sums = correlation.merge(start, moments)
    found = correlation.value(sums)
    # Neurons that are undefined answer 0 there; here they must also be told.
    x, y = (
        jnp.sqrt((s.high + s.low) / correlation.by_neuron(jnp.maximum(sums.count_m, 1)))
        for s in (sums.square_x_mn, sums.square_y_mn)
    )
    means = [s.high + s.low for s in (sums.mean_x_mn, sums.mean_y_mn)]
    means = [jnp.abs(means[0] + middle_mn), jnp.abs(means[1])]
    still = (x <= repeats.FLAT * means[0]) | (y <= repeats.FLAT * means[1])
    return summarize(
        found.per_neuron_mn, neurons_mn, lost_mn=still | bad.any(1) | jnp.isnan(x)
    )


def _normalized(state: State) -> jax.Array:
    """CC_norm [M, N], the mean over clips where it is defined."""
    keep = frames_by_neuron(repeats.frames_of(state.responses, least=2))
    frames = jnp.maximum(keep.sum(2), 1).astype(jnp.float32)
    shown = frames_by_neuron(state.responses.count_mst).max(2).astype(jnp.float32)

    def centered(x_mstn: jax.Array) -> jax.Array:
        middle = jnp.where(keep, x_mstn, 0.0).sum(2) / frames
        return jnp.where(keep, x_mstn - middle[:, :, None], 0.0)

    y, p = centered(state.responses.mean_mstn), centered(state.rates_mstn)
    both, spread = (y * p).sum(2) / frames, (p * p).sum(2) / frames
    summed = shown**2 * (y * y).sum(2) / frames  # variance of the sum over repeats
    power = (summed - state.responses.within_msn) / (shown * (shown - 1))
    good = (power > POWER) & (spread > 0) & (shown > 1)
    clip_msn = both / jnp.sqrt(jnp.where(good, spread * power, 1.0))
    total = jnp.where(good, clip_msn, 0.0).sum(1)
    return jnp.where(good.any(1), total / jnp.maximum(good.sum(1), 1), jnp.nan)


def only(state: State, chosen_ms: jax.Array) -> State:
    """The state as if no other stimuli than the chosen ones had been shown."""
    keep = chosen_ms.astype(bool)
    old = state.responses
    responses = old._replace(
        count_mst=jnp.where(
            keep.reshape(*keep.shape, *(1,) * (old.count_mst.ndim - 2)),
            old.count_mst,
            0,
        ),
        bad_msn=old.bad_msn & keep[..., None],
    )
    return state._replace(responses=responses, bad_msn=state.bad_msn & keep[..., None])
