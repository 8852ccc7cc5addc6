from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax.errors import UserError
from sensorium_jax.rules import RELEASES
from sensorium_jax.simulation.cortex import (
    behavior,
    filters,
    neurons,
    rates as cortex,
    truth,
)
from sensorium_jax.simulation.design import TINY, preset
from sensorium_jax.simulation.trials import new_mouse
from sensorium_jax.simulation.write import simulate


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    out = tmp_path_factory.mktemp("truth")
    return out, simulate(out, preset="tiny", seed=5, trials=16)


def stored(folder, index):
    """Raw inputs [1, T, ...] and true rates [T, N] of one file."""
    video, behave, pupil = (
        np.load(folder / "data" / what / f"{index}.npy")
        for what in ("videos", "behavior", "pupil_center")
    )
    rates = np.load(truth.rates_file(folder, index))
    frames = rates.shape[1]
    inputs = (np.moveaxis(video, -1, 0)[..., None], behave.T, pupil.T)
    return [x[None, :frames] for x in inputs], rates.T


def test_respond_equals_the_rates_on_disk(tree):
    out, folders = tree
    found = cortex.load(out)
    assert found.mice == tuple(f.name for f in folders)
    for row, folder in enumerate(folders):
        for index in range(5):
            inputs, rates_tn = stored(folder, index)
            for mouse in (row, folder.name):
                again = np.asarray(found.respond(*inputs, mouse))
                np.testing.assert_allclose(again[0], rates_tn, rtol=1e-4, atol=1e-4)


def test_respond_equals_the_rates_of_pictures(tmp_path):
    few = {"mice": 1, "neurons": 8, "calibration": 16}
    small = replace(preset("tiny", RELEASES["2022"]).resized(16), **few)
    (folder,) = simulate(tmp_path, preset=small, year=2022, seed=5)
    found = cortex.load(tmp_path)
    for index in range(4):
        image, behave, pupil = (
            np.load(folder / "data" / what / f"{index}.npy")
            for what in ("images", "behavior", "pupil_center")
        )
        inputs = image[0][None, None, ..., None], behave[None, None], pupil[None, None]
        rates = np.load(truth.rates_file(folder, index))
        again = np.asarray(found.respond(*inputs, 0))[0, 0]
        np.testing.assert_allclose(again, rates.ravel(), rtol=1e-4, atol=1e-4)


def test_respond_jits_and_its_gradient_agrees_with_finite_differences(tree):
    out, folders = tree
    found = cortex.load(out)
    (video, behave, pupil), _ = stored(folders[0], 1)
    video, behave, pupil = (x[:, 40:64] for x in (video, behave, pupil))
    unit = 1 / np.asarray(found.neurons[0].scale, np.float32)[None, None]

    @jax.jit
    def total(video_bthwc):
        rates = found.respond(video_bthwc, behave, pupil, 0)
        return (jnp.log(rates[:, 18:] * unit + 1e-2)).sum()

    gradient = np.asarray(jax.grad(total)(jnp.asarray(video, jnp.float32)))
    assert np.isfinite(gradient).all() and gradient.std() > 0
    rng = np.random.default_rng(0)
    for _ in range(4):
        way = rng.standard_normal(video.shape).astype(np.float32)
        way = way + 3 * np.sign(gradient) * rng.random(video.shape).astype(np.float32)
        step = 0.05
        up, down = (float(total(video + s * step * way)) for s in (1, -1))
        slope = float((gradient * way).sum())
        np.testing.assert_allclose((up - down) / (2 * step), slope, rtol=0.03)


def test_rates_are_causal_and_positive(tree):
    out, folders = tree
    found = cortex.load(out)
    (video, behave, pupil), _ = stored(folders[1], 2)
    plain = np.asarray(found.respond(video, behave, pupil, 1))
    later = video.copy()
    later[:, 60:] = 255 - later[:, 60:]
    changed = np.asarray(found.respond(later, behave, pupil, 1))
    np.testing.assert_allclose(changed[:, :60], plain[:, :60], rtol=1e-5, atol=1e-6)
    assert np.abs(changed[:, 62:] - plain[:, 62:]).max() > 0.1
    assert (plain > 0).all()


def test_fields_follow_the_eye():
    """Gaze moves a field by eye_22 pixels per SD: a spot found by shifting finds it."""
    drawn = neurons.draw(0, 0, 12)
    built = cortex.weights(drawn)
    z = np.array([1.5, -1.0], np.float32)
    shift_2 = drawn.eye_22 @ z
    moved = drawn._replace(center_n2=drawn.center_n2 + shift_2)
    still = cortex.weights(moved)
    rng = np.random.default_rng(1)
    blurred = cortex._blur_matrix(64, 2.0)
    video = (
        85
        + 90 * cortex._blur_matrix(36, 2.0) @ rng.standard_normal((6, 36, 64)) @ blurred
    )
    video = video.astype(np.float32)
    mean = behavior.PUPIL_MEAN.astype(np.float32)
    gaze = np.tile(mean + behavior.PUPIL_SD * z, (6, 1)).astype(np.float32)
    by_eye, _ = cortex.drive(built, video, gaze)
    by_field, _ = cortex.drive(still, video, np.tile(mean, (6, 1)))
    inner = np.abs(drawn.center_n2 - [31.5, 17.5]).max(1) < 9
    same = np.corrcoef(np.ravel(by_eye[:, inner]), np.ravel(by_field[:, inner]))[0, 1]
    assert inner.sum() >= 3 and same > 0.97


def test_types_do_what_their_names_say():
    drawn = neurons.draw(2, 0, 240, centered=True)
    mouse = new_mouse(TINY, RELEASES["2023"], 2, 0)._replace(neurons=drawn)
    assert mouse.neurons.cells == 240
    w = cortex.weights(drawn)
    t, (y, x) = (
        np.arange(60),
        np.mgrid[:36, :64] - np.array([17.5, 31.5])[:, None, None],
    )
    gaze = np.tile(behavior.PUPIL_MEAN, (60, 1)).astype(np.float32)
    kind = drawn.kind

    def grating(n, sign=1, radius=99.0):
        a, k = drawn.orientation[n], 2 * np.pi / drawn.wavelength[n]
        phase = (
            k * (np.cos(a) * x + np.sin(a) * y)
            - sign * 2 * np.pi * 3 * t[:, None, None] / 30
        )
        return (85 + 45 * np.cos(phase) * (np.hypot(x, y) < radius)).astype(np.float32)

    run = jax.jit(cortex.drive)

    def swing(n, **how):
        drive, energy = (np.asarray(v)[20:, n] for v in run(w, grating(n, **how), gaze))
        return drive, energy

    for name in ("ds_simple", "ds_complex"):
        for n in np.flatnonzero(kind == name)[:3]:
            powers = [(swing(n, sign=s)[0] ** 2).mean() for s in (1, -1)]
            assert max(powers) > 2 * min(powers), (name, powers)
    for n in np.flatnonzero(kind == "simple")[:3]:
        powers = [(swing(n, sign=s)[0] ** 2).mean() for s in (1, -1)]
        assert max(powers) < 1.3 * min(powers), powers
        assert swing(n)[0].min() < 0
    for n in np.flatnonzero(kind == "complex")[:3]:
        drive = swing(n)[0]
        assert drive.min() > 0 and drive.std() < 0.3 * drive.mean()

    # A larger grating silences suppressed cells more than the others.
    def growth(name):
        cells = np.flatnonzero(kind == name)[:4]
        pool = [
            swing(n, radius=99)[1].mean() / swing(n, radius=6)[1].mean() for n in cells
        ]
        return np.mean(pool)

    assert growth("suppressed") > 1.3 * growth("simple")
    flash = np.full((60, 36, 64), 85, np.float32)
    flash[30:, 14:22, 28:36] = 200
    drive = np.asarray(run(w, flash, gaze)[0])[30:40]
    for n in np.flatnonzero(kind == "on")[:4]:
        assert drive[:, n].max() > -drive[:, n].min()
    for n in np.flatnonzero(kind == "off")[:4]:
        assert drive[:, n].max() < -drive[:, n].min()


def test_filters_are_unit_and_mixed_kinds_are_all_there():
    drawn = neurons.draw(0, 1, 100)
    assert set(drawn.kind) == set(neurons.NAMES)
    made = filters.build(drawn, block=33)
    np.testing.assert_allclose(np.linalg.norm(made.even_np, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(made.pool_np.sum(1), 1, rtol=1e-5)
    stripes = drawn.polarity == 0
    assert np.abs(made.even_np[stripes].sum(1)).max() < 1e-4
    assert not made.odd_np[~stripes].any()


def test_centered_fields_lie_in_the_middle():
    drawn = neurons.draw(0, 0, 10, centered=True)
    assert (drawn.center_n2 == [31.5, 17.5]).all()
    assert preset("centered", RELEASES["2023"]).centered
    spread = neurons.draw(0, 0, 300)
    place = np.column_stack([spread.coordinates_n3[:, :2], np.ones(300)])
    left = np.linalg.lstsq(place, spread.center_n2, rcond=None)[1]
    assert np.sqrt(left / 300).max() < 1.6  # the map is smooth up to its jitter
    assert len(np.unique(spread.coordinates_n3[:, 2])) == 10


def test_load_says_what_is_missing(tmp_path):
    with pytest.raises(UserError, match="sensorium simulate"):
        cortex.load(tmp_path)
