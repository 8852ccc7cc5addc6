"""Curves and indices against neurons whose rates are a formula."""

import numpy as np
import pytest

from sensorium_jax import insilico
from sensorium_jax.errors import UserError
from sensorium_jax.insilico import tuning
from sensorium_jax.insilico.stimuli import Frame, Product
from sensorium_jax.insilico.tuning import Values
from support.cells import UNIT, cells, one_device  # noqa: F401
from support.quick import quick  # noqa: F401

VALUES = Values(frequencies=(0.08, 0.15), sizes=(4, 8, 14), contrasts=(0.25, 1))
SIMPLE, COMPLEX, FLAT = [0, 1, 2], [3, 4, 5], 6


@pytest.fixture(scope="module")
def twin():
    return cells()


@pytest.fixture(scope="module")
def subject(twin):
    """One for all: programs belong to a subject."""
    return insilico.subject(twin)


@pytest.fixture(scope="module")
def result(twin, subject):
    centers = np.array([[a["x"], a["y"]] for a in 2 * twin.about] + [[8, 8]])
    options = {"draws": 99, "centers_n2": centers}
    return insilico.tune(subject, [*range(7), 7, -1], VALUES, **options)


def test_preferred_values_are_those_of_the_formula(twin, result):
    assert result.neurons.tolist() == SIMPLE + COMPLEX
    angles = np.array([a["orientation"] for a in twin.about])
    for rows in (SIMPLE, COMPLEX):
        apart = np.angle(np.exp(2j * (result["orientation"][rows] - angles))) / 2
        assert np.abs(np.degrees(apart)).max() < 5
    assert (result["frequency"] == 0.15).all()
    assert (result["osi"] > 0.5).all() and (result["osi_p"] == 0.01).all()
    assert (result["modulation"][SIMPLE] > 1).all()
    assert (result["modulation"][COMPLEX] < 0.3).all()


def test_size_and_contrast_curves_are_exact(twin, result):
    """A patch at the neuron's place, best angle and frequency, in numpy."""
    y, x = np.mgrid[:16, :20].astype(float)
    angles = np.pi * np.arange(12) / 12
    swing = 120.0 / UNIT  # grey is nearer to black
    for n in SIMPLE + COMPLEX:
        about, i = twin.about[n % 3], n % 3
        best = angles[result["orientation_curve"][n].argmax()]
        dx, dy = x - about["x"], y - about["y"]
        u = np.cos(best) * dx + np.sin(best) * dy
        want = np.zeros(3)
        for k, size in enumerate((4, 8, 14)):
            for phase in np.pi / 2 * np.arange(4):
                z = swing * (np.hypot(dx, dy) <= size / 2)
                z = z * np.cos(2 * np.pi * 0.15 * u + phase)
                even, odd = (z * twin.even_nhw[i]).sum(), (z * twin.odd_nhw[i]).sum()
                want[k] += max(even, 0) / 4 if n in SIMPLE else np.hypot(even, odd) / 4
        np.testing.assert_allclose(result["size_curve"][n], want, rtol=1e-4, atol=1e-5)
    # Without any normalization, rates follow contrast.
    curve = result["contrast_curve"]
    np.testing.assert_allclose(curve[:, 0], 0.25 * curve[:, 1], rtol=1e-4)
    np.testing.assert_allclose(result["c50"], 0.5, rtol=1e-3)
    assert result["size_contrast_curve"].shape == (6, 2, 3)
    np.testing.assert_allclose(result["suppression_by_contrast"], 0, atol=0.1)


def test_those_that_fail_leave_the_others_alone(result):
    assert set(result.failed) == {-1, 6, 7}
    assert "flat" in result.failed[6] and "numbers 0 to 6" in result.failed[7]
    text = str(result)
    assert "neuron 6 failed" in text and "6 neurons of made" in text
    assert result.as_dict()["about"]["input"] == "grey levels, 0 to 255"


def test_a_result_is_kept_whole(result, tmp_path):
    again = insilico.load(result.save(tmp_path / "tune.npz"))
    assert again.as_dict() == result.as_dict()
    np.testing.assert_array_equal(again["plaid_curve"], result["plaid_curve"])
    assert len(result.figure().axes) >= 6


def test_selectivity_and_its_test():
    angles = 2 * np.pi * np.arange(8) / 8
    even = np.ones((1, 8))
    one_way = np.maximum(np.cos(angles - np.pi / 4), 0)[None]
    both_ways = np.cos(angles - np.pi / 4)[None] ** 2
    for curve, osi, dsi in ((even, 0, 0), (both_ways, 0.5, 0), (one_way, None, None)):
        got = tuning.selectivity(curve, angles, films=True)
        if osi is not None:
            np.testing.assert_allclose(got[:2], [[osi], [dsi]], atol=1e-9)
    np.testing.assert_allclose(got[2][1], np.pi / 4)
    rng = np.random.default_rng(0)
    noise = rng.gamma(1.0, 1.0, (200, 8, 4))
    p = tuning.permutation(noise, angles, 2, 99, 0)
    assert 0.02 < (p <= 0.05).mean() < 0.1  # as often as it should by chance
    high, low = rng.gamma(1.0, 1.0, (2, 200, 6))
    p = tuning.lower(high, low, 99, 0)
    assert 0.02 < (p <= 0.05).mean() < 0.1
    assert (tuning.lower(high + 9, low, 999, 0) < 0.02).all()
    assert (tuning.lower(low, high + 9, 99, 0) > 0.9).all()
    signal = np.repeat(both_ways[..., None], 4, 2)
    assert tuning.permutation(signal, angles, 2, 99, 0)[0] == 0.01


def test_gradients_find_the_best_gabor(twin, subject):
    a = twin.about[0]
    start = {"x": a["x"] + 1, "y": a["y"] - 1, "orientation": a["orientation"] + 0.3}
    start = {k: np.array([v]) for k, v in start.items()}
    start |= {"frequency": np.array([0.12]), "sigma": np.array([2.0])}
    free = ("x", "y", "orientation", "frequency", "sigma")
    best, rate = insilico.refine(
        subject, [3], "gabor", start, free=free, steps=60, seconds=0.0
    )
    for name, near in (("x", 0.2), ("y", 0.2), ("orientation", 0.05)):
        assert abs(best[name][0] - a[name]) < near, name
    options = {"free": ("x",), "steps": 1, "rate": 0.0}
    _, before = insilico.refine(subject, [3], "gabor", start, **options)
    assert rate[0] > 1.05 * before[0]


def test_a_search_is_exhaustive(twin, subject):
    values = {"orientation": [0.2, 0.9, 1.7], "phase": [0.0, 2.0], "frequency": [0.15]}
    grid = Product("grating", values)
    films = tuning.drawn(subject, "grating", Frame(16, 20), grid.parameters())
    rates = np.asarray(twin.respond(films))[:, 0]
    best, top = insilico.search(subject, [4, 0], grid, memory=60_000.0)
    for i, n in enumerate((4, 0)):
        assert top[i] == pytest.approx(rates[:, n].max(), rel=1e-5)
        want = grid.of(int(rates[:, n].argmax()))
        assert {k: float(v[i]) for k, v in best.items()} == pytest.approx(want)
    with pytest.raises(UserError, match="Did you mean 'phase'"):
        insilico.search(subject, [0], Product("grating", {"phases": [0.0]}))
    with pytest.raises(UserError, match="Neuron 7: there is no such"):
        insilico.search(subject, [0, 7], grid)
    with pytest.raises(UserError, match="Neuron -1: there is no such"):
        insilico.refine(subject, [-1], "grating", {"phase": np.zeros(1)}, free=())


def test_odd_requests_are_refused(subject):
    with pytest.raises(UserError, match="Unknown curve 'sizes'. Did you mean 'size'"):
        insilico.tune(subject, curves=["sizes"])
    with pytest.raises(UserError, match="larger than the frame of 16 x 20"):
        insilico.tune(subject, values=VALUES._replace(sizes=(4, 40)))
    with pytest.raises(UserError, match="numbers 0 to 6"):
        insilico.tune(subject, [9])
