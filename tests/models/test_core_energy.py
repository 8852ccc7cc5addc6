import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax.models.cores.energy import (
    EnergyCore,
    divided,
    log_bumps,
    oriented,
    simple_and_complex,
    waves,
)
from support.models.whole import ask, start
from support.quick import quick  # noqa: F401


def build(shape=(2, 1, 12, 10, 14), channels=1, **options):
    core = EnergyCore(pairs=2, mixtures=3, bases=2, input_channels=channels, **options)
    x = jax.random.normal(jax.random.key(0), (*shape, channels))
    return core, start(core, jax.random.key(1), x, train=False), x


@pytest.mark.parametrize(
    "options",
    [
        {"lags": 5, "pool": 2, "kernels": (5, 3)},
        {"lags": 1, "kernels": (7, 3), "contrast": 0, "channels": 3},
    ],
)
def test_shape_is_foretold_for_films_and_pictures_in_colour(options):
    core, variables, x = build(**options)
    y = ask(core, variables, x, train=False)
    assert y.shape[2:] == core.out_shape(*x.shape[2:5])
    light = 3 if options["lags"] == 1 else 2
    assert y.shape[-1] == light + 3 * 2 + 3


def test_no_frame_after_its_own_changes_an_answer():
    core, variables, x = build(lags=4, kernels=(5, 3))
    whole = ask(core, variables, x, train=False)
    other = ask(core, variables, x.at[:, :, 8:].add(1.0), train=False)
    np.testing.assert_array_equal(whole[:, :, :5], other[:, :, :5])
    assert float(jnp.abs(whole[:, :, 5:] - other[:, :, 5:]).max()) > 0.1


def test_training_answers_every_second_frame_up_to_the_last():
    core, variables, x = build(lags=4, kernels=(5, 3), train_stride=2)
    every = ask(core, variables, x, train=False)
    some = ask(core, variables, x, train=True)
    np.testing.assert_allclose(some, every[:, :, 0::2], rtol=1e-4, atol=1e-5)


def test_a_complex_cell_does_not_care_for_the_phase_of_a_wave():
    at = np.arange(9) - 4
    y, x = np.meshgrid(at, at, indexing="ij")
    kernel = oriented(jax.random.key(0), (9, 9, 1, 8))  # four pairs
    phases = np.linspace(0, 2 * np.pi, 13)[:-1]
    along = x  # the first orientation
    shown = np.stack([np.cos(2 * np.pi * along / (0.62 * 9) - p) for p in phases])
    answers = simple_and_complex(jnp.einsum("phw,hwcf->pf", shown, kernel))
    simple, energy = np.asarray(answers[:, 0]), np.asarray(answers[:, 8])
    assert np.ptp(energy) < 0.1 * energy.mean() and np.ptp(simple) > 0.8 * energy.mean()
    assert (energy > 2 * np.asarray(answers[:, 10])).all()  # of the crossed wave


def test_waves_are_blind_to_uniform_light_and_of_unit_norm():
    both = np.concatenate([waves(7, 4, 0.0), waves(7, 4, np.pi / 2)], -1)
    np.testing.assert_allclose(both.sum((0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose((both**2).sum((0, 1)), 1, rtol=1e-5)


def test_contrast_is_divided_out_by_its_power():
    x = jax.random.normal(jax.random.key(0), (1, 1, 1, 12, 12, 1))
    spread = [[divided(k * x, 5, p).std() for k in (1, 10)] for p in (0, 1)]
    untouched, whole = (float(loud / soft) for soft, loud in spread)
    assert untouched == pytest.approx(10, rel=1e-4) and 1 < whole < 1.3
    blank = jax.grad(lambda x: divided(x, 5, 0.5).sum())(jnp.zeros_like(x))
    assert bool(jnp.isfinite(blank).all())


def test_bumps_are_orthonormal_and_narrow_for_new_frames():
    bumps = log_bumps(18, 6)
    np.testing.assert_allclose(bumps.T @ bumps, np.eye(6), atol=1e-5)
    assert np.abs(bumps[-1]).argmax() == 0 and np.abs(bumps[:9, 0]).max() < 0.1
    np.testing.assert_array_equal(log_bumps(3, 3), np.eye(3)[::-1])
