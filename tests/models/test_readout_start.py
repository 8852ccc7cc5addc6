"""Places of frames on the maps of cores, and in the parameters of readouts."""

import numpy as np
import pytest

from sensorium_jax.errors import UserError
from sensorium_jax.models.readouts import start
from sensorium_jax.models.readouts.attention import AttentionReadout
from sensorium_jax.models.readouts.factorized import FactorizedReadout
from sensorium_jax.models.readouts.gaussian import GaussianReadout
from sensorium_jax.zoo.assemble import build, original_inputs

SEEN = (36, 64, 1)
REAL = {"neurons_n": np.array([[True, True, False]])}


@pytest.mark.parametrize(
    ("name", "core", "size", "step"),
    [
        ("factorized2023", {}, (46, 18), 1),
        ("cnn2022", {}, (56, 28), 1),
        ("cnn2022", {"pad_input": True}, (64, 36), 1),
        ("cnn2022", {"pad_input": True, "input_stride": 2}, (32, 18), 2),
    ],
)
def test_pixels_of_maps_are_counted_from_the_core(name, core, size, step):
    encoder = build(name, original_inputs(name), core=core)
    got = start.map_pixels(encoder.core, SEEN)
    np.testing.assert_array_equal(got[0], size)
    np.testing.assert_array_equal(got[1], step)
    middle, right = np.array([31.5, 17.5]), np.array([31.5 + step, 17.5])
    places = start.on_maps(
        np.stack([middle, right, [-50, 99]])[None],
        np.full((1, 3, 2), float(step)),
        np.full((1, 3), float(step)),
        encoder.core,
        SEEN,
    )
    pixel = 2 / (np.array(size) - 1)
    want = [[0, 0], [pixel[0], 0], [-1, 1]]
    np.testing.assert_allclose(places.center_mn2[0], want, atol=1e-12)
    np.testing.assert_allclose(places.spread_mn2, np.tile(pixel, (1, 3, 1)))


def places(spread=0.2):
    center = np.array([[[0.5, -0.25], [-1.0, 1.0], [0.7, 0.7]]])
    return start.Places(center, np.full((1, 3, 2), spread), np.full((1, 3, 2), 0.1))


SHAPES = {"full": (2, 2), "uncorrelated": (2,), "isotropic": (1,)}


@pytest.mark.parametrize("kind", SHAPES)
def test_gaussian_readouts_take_means_and_widths(kind):
    old = {"mu": np.full((1, 3, 2), 9.0), "sigma": np.full((1, 3, *SHAPES[kind]), 9.0)}
    old["bias"] = np.ones((1, 3))
    readout = GaussianReadout(kind=kind, predictor=None)
    new = start.begin_at(readout, old, REAL, places(), (11, 21))
    np.testing.assert_array_equal(new["mu"][0, :2], places().center_mn2[0, :2])
    assert (new["mu"][0, 2] == 9).all() and (new["sigma"][0, 2] == 9).all()
    assert new["bias"] is old["bias"]
    widths = {"full": 0.2 * np.eye(2), "uncorrelated": [0.2, 0.2], "isotropic": [0.2]}
    np.testing.assert_allclose(new["sigma"][0, 0], widths[kind])
    sharp = start.begin_at(readout, old, REAL, places(0.0), (11, 21))["sigma"][0, 0]
    assert sharp.max() == pytest.approx(0.1 if kind != "isotropic" else 0.075)
    wide = start.begin_at(readout, old, REAL, places(7.0), (11, 21))["sigma"][0, 0]
    assert wide.max() == start.WIDEST


def test_edges_count_where_corners_do_not(monkeypatch):
    """-1 is then the outer edge of the first pixel."""
    old = {"mu": np.zeros((1, 3, 2)), "sigma": np.zeros((1, 3, 2, 2))}
    readout = GaussianReadout(predictor=None, align_corners=False)
    new = start.begin_at(readout, old, REAL, places(), np.array([5, 5]))
    np.testing.assert_allclose(new["mu"][0, 1], [-0.8, 0.8])


def test_masks_are_bumps_as_strong_as_random_ones():
    old = {"spatial": np.zeros((1, 3, 9, 17)), "features": np.ones((1, 3, 2))}
    new = start.begin_at(FactorizedReadout(), old, REAL, places(), (17, 9))["spatial"]
    peak = np.unravel_index(new[0, 0].argmax(), (9, 17))
    assert peak == (3, 12)
    norm = np.sqrt((new[0, :2] ** 2).sum((1, 2)))
    np.testing.assert_allclose(norm, 1e-3 * np.sqrt(9 * 17))
    assert not new[0, 2].any()


def test_readouts_without_places_say_so():
    with pytest.raises(UserError, match="AttentionReadout has no positions"):
        start.begin_at(AttentionReadout(), {}, REAL, places(), (5, 5))
    fixed = GaussianReadout()
    with pytest.raises(UserError, match="free_offset=True"):
        start.begin_at(fixed, {"mu": 0}, REAL, places(), (5, 5))
