"""Stimuli equal their formulas, as written down in numpy."""

import jax
import numpy as np
import pytest

from sensorium_jax.errors import UserError
from sensorium_jax.insilico import stimuli
from sensorium_jax.insilico.stimuli import Frame, Product
from support.quick import quick  # noqa: F401

H, W = 18, 24
FRAME = Frame(H, W)
Y, X = np.mgrid[:H, :W].astype(float)


def drawn(kind, frame=FRAME, **parameters):
    """As one program: compiling its parts one by one takes longer."""
    return np.asarray(jax.jit(lambda p: stimuli.KINDS[kind](frame, **p))(parameters))


def rotated(x, y, angle):
    return np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x


def test_gabor():
    got = drawn(
        "gabor", x=10, y=7, sigma=4, orientation=0.6, frequency=0.11, phase=0.4,
        aspect=0.7, contrast=0.8,
    )  # fmt: skip
    u, v = rotated(X - 10, Y - 7, 0.6)
    wave = np.cos(2 * np.pi * u * 0.11 + 0.4)
    want = 0.8 * np.exp(-0.5 * (u**2 / 16 + v**2 / (4 / 0.7) ** 2)) * wave
    np.testing.assert_allclose(got[0], want, atol=1e-5)


def test_center_and_surround():
    got = drawn(
        "center_surround", x=11, y=8, radius=8, center=0.4, surround=0.6,
        orientation=0.3, orientation_surround=1.1, frequency=0.1, phase=0.2,
        contrast=0.9, contrast_surround=0.5,
    )  # fmt: skip
    away = np.hypot(X - 11, Y - 8)
    (u, _), (s, _) = (rotated(X - 11, Y - 8, a) for a in (0.3, 1.1))
    inner = (away <= 3.2) * 0.9 * np.cos(2 * np.pi * 0.1 * u + 0.2)
    ring = ((away > 4.8) & (away <= 8)) * 0.5 * np.cos(2 * np.pi * 0.1 * s + 0.2)
    np.testing.assert_allclose(got[0], inner + ring, atol=1e-5)


def test_bar_and_its_way():
    got = drawn("bar", x=9, y=6, width=3, length=8, orientation=0.5, contrast=-0.7)
    u, v = rotated(X - 9, Y - 6, 0.5)
    inside = np.maximum(np.abs(u) / 1.5, np.abs(v) / 4) <= 1
    np.testing.assert_allclose(got[0], -0.7 * inside, atol=1e-6)
    moved = drawn("bar", Frame(H, W, 3, 10.0), x=9, y=6, width=3, length=8, speed=20.0)
    middles = [(f * X).sum() / f.sum() for f in moved]
    np.testing.assert_allclose(middles, [7, 9, 11], atol=1e-4)


def test_difference_of_gaussians():
    got = drawn("difference_of_gaussians", x=9, y=6, sigma=2, ratio=2, surround=0.4)
    r2 = (X - 9) ** 2 + (Y - 6) ** 2
    want = np.exp(-r2 / 8) - 0.4 * np.exp(-r2 / 32)
    np.testing.assert_allclose(got[0], want / np.abs(want).max(), atol=1e-5)


def test_both_parts_of_a_plaid_have_their_own_contrast():
    shared = {"x": 9.0, "y": 7.0, "orientation": 0.2, "frequency": 0.1}
    for kind, one, size in (
        ("plaid_of_gabors", "gabor", {"sigma": 4.0}),
        ("plaid_of_gratings", "patch", {"size": 9.0}),
    ):
        got = drawn(
            kind, **shared, **size, angle=1.0, contrast=0.3, contrast_second=0.6
        )
        turned = {**shared, "orientation": 1.2}
        want = drawn(one, **shared, **size, contrast=0.3)
        want = want + drawn(one, **turned, **size, contrast=0.6)
        np.testing.assert_allclose(got, want, atol=1e-5)
        alone = drawn(kind, **shared, **size, contrast=0.3, contrast_second=0.0)
        np.testing.assert_allclose(alone, drawn(one, **shared, **size, contrast=0.3))


def test_what_drifts_goes_where_its_orientation_points():
    film = drawn(
        "grating", Frame(H, W, 4, 8.0), orientation=0.0, frequency=0.125, tf=1.0
    )
    np.testing.assert_allclose(film[1][:, 1:], film[0][:, :-1], atol=1e-5)
    # A quarter of a turn more points down, as rows go.
    film = drawn(
        "grating", Frame(H, W, 4, 8.0), orientation=np.pi / 2, frequency=0.125, tf=1.0
    )
    np.testing.assert_allclose(film[1][1:], film[0][:-1], atol=1e-5)


def test_noise_and_dots_follow_from_their_seed():
    film = Frame(H, W, 3, 30.0)
    for kind, options in (("noise", {"exponent": 1.0}), ("dots", {"density": 0.03})):
        one, same, other = (drawn(kind, film, seed=s, **options) for s in (1.0, 1, 2))
        np.testing.assert_array_equal(one, same)
        assert np.abs(one - other).max() > 0.1 and np.abs(one).max() <= 1
    white = drawn("noise", Frame(64, 64, 4), seed=0)
    assert abs(white.std() - 1 / 3) < 0.02 and abs(white.mean()) < 0.01
    dots = drawn("dots", film, seed=0, radius=0.6, speed=30.0, direction=0.0)
    np.testing.assert_array_equal(dots[1], np.roll(dots[0], 1, axis=1))


def test_products_know_their_parameters():
    grid = Product("grating", {"orientation": [0.0, 1.0], "phase": [0.0, 0.5, 1.5]})
    assert grid.shape == (2, 3) and grid.count == 6
    rows = grid.parameters()
    for i in range(6):
        assert grid.of(i) == {k: v[i] for k, v in rows.items()}
    films = np.asarray(stimuli.draw("grating", FRAME, rows))
    alone = drawn("grating", orientation=1.0, phase=0.5)
    np.testing.assert_allclose(films[4], alone, atol=1e-5)  # compiled apart
    assert len(set(stimuli.some(range(9), 4))) == 4
    assert ((x := stimuli.uniform(2, 3, 5)) >= 2).all() and (x <= 3).all()


def test_what_nobody_knows_or_cannot_be_shown_is_said():
    with pytest.raises(UserError, match="Did you mean 'gabor'"):
        stimuli.check("gabour", [])
    with pytest.raises(UserError, match="Did you mean 'sigma'"):
        stimuli.check("gabor", ["sigmo"])
    with pytest.raises(UserError, match="larger than the frame of 18 x 24"):
        stimuli.check_size(FRAME, 30, "A patch")
