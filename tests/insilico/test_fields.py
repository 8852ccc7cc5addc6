"""Receptive fields against the filters that made the rates."""

import numpy as np
import pytest

from sensorium_jax import insilico
from sensorium_jax.insilico import fields
from support.cells import cells, one_device, true_cells  # noqa: F401
from support.quick import quick  # noqa: F401


def correlation(a, b):
    return float(np.corrcoef(np.ravel(a), np.ravel(b))[0, 1])


@pytest.fixture(scope="module")
def twin():
    return cells()


@pytest.fixture(scope="module")
def subject(twin):
    """One for all: programs belong to a subject."""
    return insilico.subject(twin)


def test_gradients_show_the_filter(twin, subject):
    result = insilico.rf(subject, range(7), clips=8)
    assert result.neurons.tolist() == list(range(6)) and "flat" in result.failed[6]
    for n in range(3):
        assert correlation(result["field"][n], twin.even_nhw[n]) > 0.999
        assert result["linear"][n] > 0.3 > result["linear"][n + 3]
    angles = np.array([a["orientation"] for a in twin.about])
    centers = np.array([[a["x"], a["y"]] for a in twin.about])
    for rows in (range(3), range(3, 6)):
        apart = np.angle(np.exp(2j * (result["orientation"][rows] - angles))) / 2
        assert np.abs(np.degrees(apart)).max() < 5
        found = np.stack([result["x"][rows], result["y"][rows]], 1)
        assert np.abs(found - centers).max() < 1
    assert len(result.figure().axes) == 18


def test_noise_shows_it_too(twin, subject):
    result = insilico.rf(subject, [0, 3], method="noise", clips=3000)
    assert correlation(result["field"][0], twin.even_nhw[0]) > 0.85
    center = twin.about[0]
    assert np.hypot(result["x"][1] - center["x"], result["y"][1] - center["y"]) < 2


def test_a_gaussian_is_fitted_exactly():
    y, x = np.mgrid[:30, :40].astype(float)
    u = np.cos(0.5) * (x - 17.3) + np.sin(0.5) * (y - 12.6)
    v = np.cos(0.5) * (y - 12.6) - np.sin(0.5) * (x - 17.3)
    bump = 0.2 + 3 * np.exp(-0.5 * (u**2 / 16 + v**2 / 4))
    got = fields.fit(bump[None])
    np.testing.assert_allclose(got.center_n2[0], [17.3, 12.6], atol=0.01)
    np.testing.assert_allclose(got.sigma_n2[0], [4, 2], rtol=0.02)
    np.testing.assert_allclose(got.turn_n[0], 0.5, atol=0.01)


def test_true_cells_are_found_in_space_and_time():
    truth = true_cells("complex", 2)
    result = insilico.rf(insilico.subject(truth), clips=2)
    cells = truth.neurons[0]
    found = np.stack([result["x"], result["y"]], 1)
    assert np.median(np.hypot(*(found - cells.center_n2).T)) < 1
    apart = np.angle(np.exp(2j * (result["orientation"] - cells.orientation))) / 2
    assert np.median(np.abs(np.degrees(apart))) < 5
    assert result["field"].shape[1] == truth.memory
    assert ((result["latency_ms"] > 60) & (result["latency_ms"] < 350)).all()
