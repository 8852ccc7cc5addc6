"""Linear probes, spectra and likeness, of representations made for the purpose."""

import numpy as np
import pytest

from sensorium_jax import insilico
from sensorium_jax.errors import UserError
from sensorium_jax.insilico.representations import alike, decode, spectrum
from sensorium_jax.insilico.representations.probe import Options, explained
from sensorium_jax.insilico.representations.shown import Labelled
from support.cells import cells, one_device  # noqa: F401
from support.quick import quick  # noqa: F401


def clusters(apart, rows=80, classes=4, size=30, seed=0):
    """Rows of noise around a mean for each class."""
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % classes
    noise, means = rng.normal(size=(rows, size)), rng.normal(size=(classes, size))
    return noise + apart * means[y], y


def test_what_is_there_is_told_and_what_is_not_is_not():
    x, y = clusters(1.0)
    told = decode.decode(x, y, draws=40)
    assert told.accuracy > 0.95 and told.p == pytest.approx(1 / 41)
    assert (told.chance, told.classes, told.samples) == (0.25, 4, 80)
    none = [decode.decode(*clusters(0.0, seed=s), draws=20, seed=s) for s in range(5)]
    assert np.mean([d.accuracy for d in none]) == pytest.approx(0.25, abs=0.06)
    assert np.mean([d.null for d in none]) == pytest.approx(0.25, abs=0.02)
    assert min(d.p for d in none) > 0.02 and max(d.p for d in none) > 0.3


def test_predictions_are_those_of_ridge_regression():
    """Against the normal equations, with the ridge that cross-validation chose."""
    rng = np.random.default_rng(1)
    x, y = clusters(0.7, rows=24, size=6)
    one = np.eye(4)[y][:, None]
    found = decode._predicted(x[:20], one[:20], x[20:])[:, 0]
    a, b = ((z - x[:20].mean(0)) / x[:20].std(0) for z in (x[:20], x[20:]))
    t = (one[:20, 0] - one[:20, 0].mean(0)) / one[:20, 0].std(0)
    size = np.trace(a @ a.T) / len(a)
    lost, want = [], []
    for ridge in size * decode.RIDGES:
        weights = np.linalg.solve(a.T @ a + ridge * np.eye(6), a.T @ t)
        hat = a @ np.linalg.solve(a.T @ a + ridge * np.eye(6), a.T)
        lost.append(((t - a @ weights) ** 2).sum() / (20 - np.trace(hat)) ** 2)
        want.append(b @ weights)
    np.testing.assert_allclose(found, want[int(np.argmin(lost))], rtol=1e-6)
    # Each permutation gets its own ridge, as if it were alone.
    many = np.concatenate([one, rng.permutation(one)], 1)
    both = decode._predicted(x[:20], many[:20], x[20:])
    np.testing.assert_allclose(both[:, 0], found, rtol=1e-9)


def test_rows_of_one_group_stay_together():
    """A group's own noise tells its label only to who has seen the group."""
    group = np.repeat(np.arange(20), 4)
    y, apart, mixed = group % 2, [], []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        own, rest = rng.normal(size=(20, 40))[group], rng.normal(size=(80, 40))
        x = own + 0.1 * rest
        mixed.append(decode.decode(x, y, draws=1).accuracy)
        apart.append(decode.decode(x, y, group, draws=1).accuracy)
    assert np.mean(mixed) > 0.9 and abs(np.mean(apart) - 0.5) < 0.2
    rare = np.where(np.arange(80) < 2, 7, y)  # in one group, so in one fold
    assert decode.decode(x, rare, group, draws=5).classes == 2
    with pytest.raises(UserError, match="fewer than two classes"):
        decode.decode(x, np.zeros(80), group)


def test_the_exponent_of_a_power_law_also_under_noise():
    rng = np.random.default_rng(0)
    fall = np.arange(1, 111) ** -0.6  # amplitudes: variances fall with 1.2
    x = rng.normal(size=(800, 110)) * fall
    clean = spectrum.spectrum(x)
    assert clean.exponent == pytest.approx(1.2, abs=0.1) and clean.ranks == (11, 55)
    one, two = (x + 0.15 * rng.normal(size=x.shape) for _ in range(2))
    crossed = spectrum.spectrum(one, two)
    assert abs(crossed.exponent - 1.2) < 0.25
    assert spectrum.spectrum(one).exponent < crossed.exponent - 0.2
    flat = spectrum.spectrum(rng.normal(size=(1000, 10)))
    assert flat.dimensions == pytest.approx(10, rel=0.05)


def test_likeness_knows_rotations_and_chance():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 60, 40))
    turn, _ = np.linalg.qr(rng.normal(size=(40, 40)))
    assert alike.alignment(x, 3 * x @ turn + 1) == pytest.approx(1)
    assert abs(alike.alignment(x, y)) < 0.1  # the biased estimate says .4
    cka, rsa, matrices = alike.every_pair([x, y, x + 0.3 * y])
    assert cka[0, 2] > 0.9 > cka[1, 2] and rsa[0, 2] > 0.7 > rsa[0, 1] + 0.5
    centered = x - x.mean(0)
    np.testing.assert_allclose(matrices[0], 1 - np.corrcoef(centered), atol=1e-12)
    ranks = alike._ranks(np.array([3.0, 1, 3, 0]))
    np.testing.assert_array_equal(ranks, [3.5, 2, 3.5, 1])
    with pytest.raises(UserError, match="at least 4"):
        alike.alignment(x[:3], y[:3])


def test_explained_is_the_share_between_classes():
    x, y = clusters(1.0, size=3)
    x[:, 2] = y
    share = explained(x, y)
    assert share[2] == pytest.approx(1) and (share[:2] < 1).all()
    means = np.stack([x[y == k].mean(0) for k in range(4)])[y]
    np.testing.assert_allclose(share, means.var(0) / x.var(0))


def test_cells_that_prefer_orientations_tell_them():
    subject = insilico.subject(cells(4, size=(12, 12)))
    shown = insilico.Gratings(directions=4, cycles=(1.5, 2.5), phases=4)
    given = insilico.shown_gratings(subject, range(8), shown, pieces=20)
    assert given.x_sd.shape == (32, 8) and given.wide_sd.shape == (20, 8)
    assert set(given.stimuli.labels) == {"orientation", "frequency"}
    result = insilico.probe(subject, {"rates": given}, range(8), Options(draws=50))
    told = {row["label"]: row for row in result.about["decoding"]}
    assert told["orientation"]["accuracy"] > 0.8 and told["orientation"]["p"] < 0.05
    assert set(result.arrays) == {"explained_by_orientation", "explained_by_frequency"}
    twice = {"rates": given, "again": given}
    both = insilico.probe(subject, twice, range(8), Options(draws=2))
    assert both["alignment"][0, 1] == pytest.approx(1)
    assert len(both.figure().axes) == 3
    with pytest.raises(UserError, match="no core of its own"):
        insilico.shown_gratings(subject, None, shown, core=True)
    few = given._replace(
        x_sd=given.x_sd[:8],
        stimuli=Labelled({"kind": np.arange(8.0) % 2}, np.arange(8)),
    )
    with pytest.raises(UserError, match="Nothing can be read from few. 8 rows"):
        insilico.probe(subject, {"few": few}, range(8))
    with pytest.raises(UserError, match="at least 2 folds"):
        insilico.probe(subject, twice, range(8), Options(folds=1))
