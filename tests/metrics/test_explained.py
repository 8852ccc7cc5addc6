"""Correlation to average, FEVE and CC_norm equal the official formulas."""

from pathlib import Path

import jax
import numpy as np
import pytest

from sensorium_jax.metrics import explained
from support.recordings.repeated import correlate, feed, trials_of

GOLDEN = Path(__file__).parents[1] / "golden"
update = jax.jit(explained.update)
value = jax.jit(explained.value, static_argnames="threshold")


def scored(y, p, slot, *, batch=5, mask=None, valid=None, **options):
    clips, frames, neurons = slot.max() + 1, y.shape[1], y.shape[2]
    state = explained.zero(1, clips, frames, neurons)
    return value(feed(update, state, batch, slot, p, y, valid=valid), mask, **options)


def predicted(y, *, seed=1):
    r = np.random.default_rng(seed)
    return (0.5 * y + r.gamma(1.0, 0.3, y.shape)).astype(np.float32)


def feve_twin(groups, guesses):
    """FEV and FEVE over rows of repeats, float64."""
    y = np.concatenate(groups).astype(np.float64)
    p = np.concatenate(guesses).astype(np.float64)
    noise = np.mean([g.astype(np.float64).var(0, ddof=1) for g in groups], axis=0)
    total, mse = y.var(0, ddof=1), ((y - p) ** 2).mean(0)
    return (total - noise) / total, 1 - (mse - noise) / (total - noise)


@pytest.mark.parametrize("batch", [96, 11])
def test_official_2022_scores(batch):
    fixture = np.load(GOLDEN / "metrics_2022.npz")
    order = np.argsort(fixture["input/neuron_ids"])  # as the official scorer does
    names = ("responses", "predictions")
    y, p = (fixture[f"input/{k}"][:, None, order] for k in names)
    _, slot = np.unique(fixture["input/image_ids"], return_inverse=True)
    got = scored(y, p, slot, batch=batch)
    want = {k.removeprefix("output/"): fixture[k] for k in fixture.files}
    average = got.to_average.per_neuron_mn[0]
    np.testing.assert_allclose(
        average, want["correlation_to_mean_across_repeats"], atol=1e-6
    )
    np.testing.assert_allclose(got.fev.per_neuron_mn[0], want["fev"], atol=1e-6)
    kept = want["fev"] >= 0.15
    assert not kept.all()  # the threshold matters
    feve = got.feve.per_neuron_mn[0]
    np.testing.assert_allclose(feve[kept], want["feve_per_neuron"], atol=2e-6)
    np.testing.assert_allclose(got.feve.mean, want["feve_mean"], atol=2e-6)
    assert got.feve.neurons_m.tolist() == [5] and feve[~kept].tolist() == [0]
    loose = scored(y, p, slot, threshold=-1.0).feve.per_neuron_mn[0]
    np.testing.assert_allclose(loose, want["feve_all"], rtol=1e-4)  # one is 1267


def test_clips_end_to_end_cut_to_common_frames():
    y, slot = trials_of(clips=3, repeats=4, frames=15, neurons=4)
    p = predicted(y)
    valid = np.ones(y.shape[:2], bool)
    valid[2, 9:] = valid[7, 14:] = valid[:, :3] = False
    got = scored(y, p, slot, valid=valid)
    lengths = [min(int(v.sum()) for v in valid[slot == s]) for s in range(3)]
    assert lengths == [6, 11, 12]
    cut = [
        np.concatenate([a[slot == s].mean(0)[3 : 3 + n] for s, n in enumerate(lengths)])
        for a in (y.astype(np.float64), p.astype(np.float64))
    ]
    np.testing.assert_allclose(
        got.to_average.per_neuron_mn[0], correlate(*cut), atol=1e-6
    )
    rows = [
        [a[slot == s][:, 3 + t] for s, n in enumerate(lengths) for t in range(n)]
        for a in (y, p)
    ]
    fev, feve = feve_twin(*rows)
    np.testing.assert_allclose(got.fev.per_neuron_mn[0], fev, atol=1e-6)
    kept = fev >= 0.15
    np.testing.assert_allclose(
        got.feve.per_neuron_mn[0][kept], feve[kept], atol=1e-5, rtol=1e-5
    )


def test_tied_responses():
    y, slot = trials_of(clips=8, repeats=6, frames=1, neurons=5)
    y, p = np.round(y), np.round(predicted(y))
    got = scored(y, p, slot)
    groups = [[a[slot == s][:, 0] for s in range(8)] for a in (y, p)]
    fev, feve = feve_twin(*groups)
    np.testing.assert_allclose(got.fev.per_neuron_mn[0], fev, atol=1e-6)
    kept = fev >= 0.15
    assert kept.any()
    np.testing.assert_allclose(
        got.feve.per_neuron_mn[0][kept], feve[kept], atol=1e-5, rtol=1e-5
    )


def test_normalized_correlation():
    y, slot = trials_of(clips=3, repeats=4, frames=15, neurons=4)
    p = predicted(y)
    found = []
    for s in range(3):
        y_rtn, guess = y[slot == s].astype(np.float64), p[slot == s].mean(0)
        guess = guess.astype(np.float64)
        power = (y_rtn.sum(0).var(0) - y_rtn.var(1).sum(0)) / 12
        mean = y_rtn.mean(0)
        both = ((guess - guess.mean(0)) * (mean - mean.mean(0))).mean(0)
        found.append(both / np.sqrt(guess.var(0) * power))
    got = scored(y, p, slot).normalized.per_neuron_mn[0]
    np.testing.assert_allclose(got, np.mean(found, axis=0), rtol=2e-5)


def test_pictures_have_no_normalized_correlation():
    y, slot = trials_of(clips=8, repeats=3, frames=1, neurons=5)
    got = scored(y, predicted(y), slot).normalized
    assert got.undefined_m.tolist() == [5] and not got.per_neuron_mn.any()


def test_undefined_neurons_score_zero_and_are_counted():
    y, slot = trials_of(clips=3, repeats=4, frames=15, neurons=6)
    p = predicted(y)
    clean = scored(y, p, slot)
    p[..., 0] = 0.1  # constant prediction
    p[3, 2, 1] = np.nan
    y[4, 4, 2] = np.nan
    y[..., 3] = 0.0  # hidden
    mask = np.array([[1, 1, 1, 1, 1, 0]], bool)
    got = scored(y, p, slot, mask=mask)
    assert got.to_average.undefined_m.tolist() == [4]
    assert got.feve.undefined_m.tolist() == [3]  # a constant has an error all the same
    assert got.to_average.per_neuron_mn[0, :4].tolist() == [0, 0, 0, 0]
    np.testing.assert_allclose(
        got.to_average.per_neuron_mn[0, 4],
        clean.to_average.per_neuron_mn[0, 4],
        atol=1e-6,
    )


def test_a_perfect_prediction_of_the_mean_explains_all():
    y, slot = trials_of(clips=8, repeats=10, frames=1, neurons=5)
    p = np.concatenate(
        [np.broadcast_to(y[slot == s].mean(0), (10, 1, 5)) for s in range(8)]
    )
    got = scored(y, p, slot)
    np.testing.assert_allclose(got.to_average.per_neuron_mn, 1, atol=1e-6)
    kept = got.fev.per_neuron_mn[0] >= 0.15
    f = np.asarray(got.fev.per_neuron_mn[0], np.float64)[kept]
    # Its error is noise (R - 1) / R, a little less than the noise of a trial.
    np.testing.assert_allclose(
        got.feve.per_neuron_mn[0][kept], 1 + (1 - f) / f / 10, rtol=1e-5
    )


@pytest.mark.parametrize(
    ("shape", "spread", "apart"),
    [
        ({"clips": 3, "repeats": 4, "frames": 15, "neurons": 4}, 1e-5, 0.0),
        ({"clips": 3, "repeats": 4, "frames": 15, "neurons": 4}, 1e-5, 2.0),
        ({"clips": 3, "repeats": 4, "frames": 15, "neurons": 4}, 1.0, 0.0),
        ({"clips": 8, "repeats": 6, "frames": 1, "neurons": 5}, 1e-5, 0.0),
    ],
)
def test_six_digits_where_predictions_hardly_vary(shape, spread, apart):
    y, slot = trials_of(**shape)
    p = 5 + spread * predicted(y) + apart * slot[:, None, None]
    p = p.astype(np.float32)
    averages = [
        np.concatenate([x[slot == s].astype(np.float64).mean(0) for s in set(slot)])
        for x in (p, y)
    ]
    want = correlate(*averages)
    order = np.random.default_rng(0).permutation(len(slot))
    for trials in (np.arange(len(slot)), order, order[::-1]):
        got = scored(y[trials], p[trials], slot[trials]).to_average
        assert not got.undefined_m.any()
        np.testing.assert_allclose(got.per_neuron_mn[0], want, atol=1e-6)
    start = explained.zero(1, *list(shape.values())[::2], shape["neurons"])
    parts = [feed(update, start, 5, slot[i::2], p[i::2], y[i::2]) for i in (0, 1)]
    for a, b in (parts, parts[::-1]):
        got = value(explained.merge(start, explained.merge(a, b))).to_average
        np.testing.assert_allclose(got.per_neuron_mn[0], want, atol=1e-6)


def test_merged_parts_are_the_whole():
    y, slot = trials_of(clips=3, repeats=4, frames=15, neurons=4)
    p = predicted(y)
    start = explained.zero(1, 3, 15, 4)
    whole = scored(y, p, slot)
    parts = [feed(update, start, 5, slot[i::2], p[i::2], y[i::2]) for i in (0, 1)]
    got = value(explained.merge(*parts))
    for a, b in zip(got, whole, strict=True):
        np.testing.assert_allclose(
            a.per_neuron_mn, b.per_neuron_mn, rtol=1e-5, atol=1e-6
        )
