"""Every metric beside the original's function, on data made to be awkward."""

import warnings

import jax
import numpy as np
import pytest

from sensorium_jax.metrics import correlation, explained, repeats
from support.originals import peers
from support.recordings.repeated import feed

pytestmark = pytest.mark.parity
CLIPS, FRAMES, NEURONS, BATCH = 12, 5, 7, 8
DATA = ("random", "tied", "constant", "nan", "lengths", "uneven", "large")
update, value = jax.jit(explained.update), jax.jit(explained.value)
ceilings, snr = jax.jit(repeats.value), jax.jit(repeats.snr)


@pytest.fixture(scope="module")
def original():
    peers.use("sinzlab/neuralpredictors")
    from neuralpredictors.measures import np_functions

    return np_functions


def trials(kind, seed):
    """Responses and predictions [trial, T, N], the clip of each, which frames exist."""
    r = np.random.default_rng(seed)
    counts = r.integers(3, 9, CLIPS) if kind == "uneven" else np.full(CLIPS, 6)
    slot = np.repeat(np.arange(CLIPS), counts)
    signal = r.gamma(0.7, 1.0, (CLIPS, FRAMES, NEURONS))
    noise = r.gamma(0.7, 1.0, (len(slot), FRAMES, NEURONS))
    share = r.uniform(0, 1, NEURONS)
    y = share * signal[slot] + (1 - share) * noise
    p = signal[slot] * 0.8 + r.gamma(0.3, 0.5, y.shape)
    if kind == "tied":
        y, p = np.round(y), np.round(p)
    if kind == "constant":
        y[..., 0], p[..., 1], y[..., 2] = 2.5, 0.7, 0.0
    if kind == "nan":
        y[3, 2, 0] = p[5, 1, 1] = np.nan
    if kind == "large":
        y, p = y + 50, p + 50
    valid = np.ones(y.shape[:2], bool)
    if kind == "lengths":
        for row in r.choice(len(slot), 15, replace=False):
            valid[row, r.integers(2, FRAMES) :] = False
    order = r.permutation(len(slot))
    y, p = y.astype(np.float32), p.astype(np.float32)
    return y[order], p[order], slot[order], valid[order]


def groups(x, slot, valid):
    """Per frame of every clip the repeats [R, N], as the originals take pictures."""
    found = []
    for s in range(CLIPS):
        length = int(valid[slot == s].sum(1).min())
        found += [x[slot == s][:, t].astype(np.float64) for t in range(length)]
    return found


def close(ours, theirs, *, atol=1e-6):
    theirs = np.nan_to_num(np.asarray(theirs), nan=0.0, posinf=0.0, neginf=0.0)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=atol)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("kind", DATA)
def test_repeats(original, kind, seed):
    y, p, slot, valid = trials(kind, seed)
    state = explained.zero(1, CLIPS, FRAMES, NEURONS)
    state = feed(update, state, BATCH, slot, p, y, valid=valid)
    theirs, guesses = groups(y, slot, valid), groups(p, slot, valid)
    got, tops = value(state), ceilings(state.responses)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        fev, feve = original.fev(theirs, guesses, return_exp_var=True)
        jackknife = original.oracle_corr_jackknife(theirs)
        conservative = original.oracle_corr_conservative(theirs)
        means = [np.stack([g.mean(0) for g in x]) for x in (theirs, guesses)]
        average = original.corr(*means, axis=0)
    # The library leaves a NaN in a trial as 0 in the oracle of the others; a neuron
    # with a NaN has no score here, as in every other metric.
    fine = np.isfinite(y).all((0, 1))
    # Far from zero the means over repeats are rounded: to 4e-6 at 50.
    atol = 5e-6 if kind == "large" else 1e-6
    close(tops.jackknife.per_neuron_mn[0, fine], jackknife[fine], atol=atol)
    close(tops.conservative.per_neuron_mn[0, fine], conservative[fine], atol=atol)
    close(got.to_average.per_neuron_mn[0], average, atol=atol)
    close(got.fev.per_neuron_mn[0], fev, atol=atol)
    kept = np.nan_to_num(fev) >= 0.15
    close(got.feve.per_neuron_mn[0][kept], feve[kept], atol=5 * atol)
    assert int(got.feve.neurons_m[0]) == (kept & np.isfinite(feve)).sum()


@pytest.mark.parametrize("kind", ["random", "tied", "constant", "large"])
def test_explainable_variance_and_snr(original, kind):
    y, _, slot, valid = trials(kind, 3)
    state = repeats.zero(1, CLIPS, FRAMES, NEURONS)
    pictures = np.array(groups(y, slot, valid))
    add = jax.jit(repeats.update)
    found = ceilings(feed(add, state, BATCH, slot, y)).explainable
    atol = 5e-6 if kind == "large" else 1e-6
    close(found.per_neuron_mn[0], original.explainable_var(pictures), atol=atol)
    transformed = np.asarray(repeats.anscombe(y))
    ratio = snr(feed(add, state, BATCH, slot, transformed)).per_neuron_mn[0]
    with np.errstate(all="ignore"):
        want = np.nan_to_num(original.snr(pictures), posinf=0.0)
    spread = y.std((0, 1)) > 0
    np.testing.assert_allclose(ratio[spread], want[spread], rtol=2e-5)
    assert not ratio[~spread].any()


@pytest.mark.parametrize("kind", DATA)
def test_single_trial_correlation(original, kind):
    y, p, _, valid = trials(kind, 5)
    with np.errstate(all="ignore"):
        rows = [x[valid].astype(np.float64) for x in (p, y)]
        want = original.corr(*rows, axis=0)
    state = correlation.update(
        correlation.zero(1, NEURONS), p[None], y[None], valid[None]
    )
    close(correlation.value(state).per_neuron_mn[0], want)
