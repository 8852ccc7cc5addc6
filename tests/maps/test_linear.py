import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax.asking import of
from sensorium_jax.errors import UserError
from sensorium_jax.maps import fit, linear, moments, reduce, ridge
from support.recordings.planted import HEIGHT, HERTZ, WIDTH, planted

PLAN = reduce.choose((HEIGHT, WIDTH, 1), hertz=HERTZ, signals=1, features=600)


@pytest.fixture(scope="module")
def cells():
    return planted()


@pytest.fixture(scope="module")
def seen(cells):
    return moments.gather(PLAN, [cells.train], lambda b: b.video_mbthwc)


@pytest.fixture(scope="module")
def maps(cells):
    return fit.fit(
        PLAN,
        lambda: [cells.train],
        lambda: [cells.held],
        lambda b: b.video_mbthwc,
        cells.info,
    )


def design(batch):
    """Features [T, D] and responses [T, N] of every frame."""
    x = reduce.light(PLAN, batch.video_mbthwc[0], batch.behavior_mbtk[0])
    return np.asarray(x, np.float64).reshape(-1, PLAN.light), np.asarray(
        batch.responses_mbtn[0], np.float64
    ).reshape(-1, batch.responses_mbtn.shape[-1])


@pytest.mark.parametrize("strength", [0.01, 1.0, 30.0])
def test_ridge_is_that_of_the_whole_design(cells, seen, strength):
    s = ridge.spectrum(moments.centered(seen, 0, 16), PLAN.signals)
    x, y = design(cells.train)
    x, y = x - x.mean(0), y - y.mean(0)
    penalty = np.full(PLAN.light, strength * s.unit * len(x))
    penalty[-1] /= s.scale_d[-1] ** 2  # signals are hardly shrunk
    want = np.linalg.solve(x.T @ x + np.diag(penalty), x.T @ y)
    got = ridge.weights(s, strength)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())
    rounded = ridge.weights(ridge.rounded(s), strength)
    np.testing.assert_allclose(rounded, want, atol=1e-4 * np.abs(want).max())


def test_noise_of_weights_is_what_noise_gives(cells, seen):
    s = ridge.spectrum(moments.centered(seen, 0, 16), PLAN.signals)
    x, _ = design(cells.train)
    x = x - x.mean(0)
    noise = np.random.default_rng(0).standard_normal((len(x), 300))
    cross = s.axis_de.T @ (s.scale_d[:, None] * (x.T @ noise)) / len(x)
    w = ridge.weights(s._replace(cross_en=cross), 1.0)
    variance, rank = ridge.noise(s, 1.0)
    ratio = w.var(1) / variance
    assert ratio.mean() == pytest.approx(1, abs=0.02) and ratio.min() > 0.6
    assert 0 < rank < 1


def test_signals_that_matter_get_their_weight(cells):
    moved = cells.train.responses_mbtn + 2 + 0.5 * cells.train.behavior_mbtk
    batch = cells.train._replace(responses_mbtn=moved)
    seen = moments.gather(PLAN, [batch], lambda b: b.video_mbthwc)
    s = ridge.spectrum(moments.centered(seen, 0, 16), PLAN.signals)
    np.testing.assert_allclose(ridge.weights(s, 1.0)[-1], 0.5, atol=0.05)


def answers(twin, batch, **options):
    signals = batch.behavior_mbtk[0], batch.pupil_mbt2[0]
    return np.asarray(twin.respond(batch.video_mbthwc[0], *signals, **options))


def correlations(rates, batch):
    y = batch.responses_mbtn[0].reshape(-1, rates.shape[-1])
    x = rates.reshape(y.shape)
    keep = y.std(0) > 0
    x, y = x - x.mean(0), y - y.mean(0)
    power = np.sqrt((x**2).sum(0) * (y**2).sum(0))
    return np.where(keep, (x * y).sum(0) / np.maximum(power, 1e-9), 0.0)


def test_cells_that_are_linear_are_foretold_nearly_as_well_as_can_be(cells, maps):
    rates = answers(maps.linear, cells.held)
    got = correlations(rates, cells.held)
    n = len(cells.held.video_mbthwc[0])
    best = correlations(cells.rates_btn[-n:], cells.held)
    spots = cells.linear_n
    assert (got[spots] > 0.9 * best[spots]).all()
    # Complex cells are out of a linear model's reach, and it knows.
    assert np.median(got[~spots][:-2]) < 0.5 * np.median(best[~spots][:-2])
    assert rates.min() >= 0 and rates.std(axis=(0, 1))[-1] == 0


def test_the_curve_brings_rates_to_their_units(cells, maps):
    rates = answers(maps.linear, cells.held)
    y = cells.held.responses_mbtn[0]
    np.testing.assert_allclose(rates.mean((0, 1)), y.mean((0, 1)), atol=0.12)
    spots = np.flatnonzero(cells.linear_n)
    error = ((rates - y) ** 2).mean((0, 1))[spots]
    assert (error < y.var((0, 1))[spots]).all()
    # Rates bend: below threshold the slope is smaller than above.
    bend = np.asarray(maps.linear.weights.bend_mn3[0])[spots]
    assert (bend[:, 0] > -10).mean() > 0.7


def test_windows_and_kernels_help_what_ridge_alone_foretells(cells, seen, maps):
    held = moments.gather(PLAN, [cells.held], lambda b: b.video_mbthwc)
    c = moments.centered(held, 0, 16)
    s = ridge.spectrum(moments.centered(seen, 0, 16), PLAN.signals)
    xx = s.centered.xx_de
    plain = np.max(
        [ridge.correlation(ridge.weights(s, x), xx, c) for x in linear.STRENGTHS], 0
    )
    spots = cells.linear_n
    assert maps.held_out[0][spots].mean() > plain[spots].mean()


def test_a_linear_model_is_a_twin(cells, maps):
    twin = maps.linear
    assert of(twin).mode == "whole" and twin.units == "per_neuron" and twin.raw == ()
    whole = answers(twin, cells.held, mouse="planted")
    np.testing.assert_array_equal(whole, answers(twin, cells.held, first_frame_b=7))
    assert whole.shape == cells.held.responses_mbtn[0].shape
    with pytest.raises(UserError, match="Did you mean 'planted'"):
        answers(twin, cells.held, mouse="plantde")
    none = twin.respond(cells.held.video_mbthwc[0])
    zeros = np.zeros_like(cells.held.behavior_mbtk[0])
    np.testing.assert_allclose(
        none, twin.respond(cells.held.video_mbthwc[0], zeros), rtol=1e-6
    )


def test_a_linear_model_is_causal_jitted_and_differentiable(cells, maps):
    video = jnp.asarray(cells.held.video_mbthwc[0, :1, :40])

    @jax.jit
    def total(twin, video):
        return twin.respond(video)[0, 20].sum()

    gradient = np.asarray(jax.grad(total, 1)(maps.linear, video))[0]
    assert np.abs(gradient[20 - PLAN.taps + 1 : 21]).max() > 0
    assert not gradient[21:].any() and not gradient[: 20 - PLAN.taps + 1].any()


def test_all_mice_have_rows_of_their_own(cells, maps):
    """Two mice, the second with fewer neurons, answer as each alone would."""

    def both(batch):
        def stack(x):
            return np.concatenate([x, x])

        there = {k: x for k, x in batch._asdict().items() if x is not None}
        two = batch._replace(**{k: stack(x) for k, x in there.items()})
        two.neurons_mn[1, 10:] = False
        return two

    info = cells.info
    pairs = {
        k: np.concatenate([getattr(info, k)] * 2)
        for k in info._fields
        if isinstance(getattr(info, k), np.ndarray)
    }
    pairs["neurons_mn"][1, 10:] = False
    info = info._replace(**pairs, names=("one", "two"))
    got = fit.fit(
        PLAN,
        lambda: [both(cells.train)],
        lambda: [both(cells.held)],
        lambda b: b.video_mbthwc,
        info,
    )
    want = answers(maps.linear, cells.held)
    np.testing.assert_allclose(answers(got.linear, cells.held), want, atol=1e-4)
    second = answers(got.linear, cells.held, mouse="two")
    assert second.shape[-1] == 10
    assert np.median(correlations(second[..., :8], _first(cells.held, 8))) > 0.3


def _first(batch, n):
    return batch._replace(responses_mbtn=batch.responses_mbtn[..., :n])


def test_a_bend_that_begins_where_held_out_drives_end_is_left_out():
    """Its gain would be any number, and other trials have larger drives."""
    rng = np.random.default_rng(0)
    z = rng.normal(0, 0.35, 400).clip(-0.9, 0.9)
    y = 1 + (z > 0.8) * 2.0 + 0.1 * rng.random(400)
    bins = np.floor((z - linear.LOWEST) / linear.STEP).astype(int) + 1
    sums = [np.bincount(bins, w, minlength=linear.BINS) for w in (None, z, y)]
    curves = linear.Curves(
        *(jnp.asarray(s[None, None], jnp.float32) for s in sums),
        jnp.asarray([[np.sum(y * y)]], jnp.float32),
    )
    one = jnp.ones((1, 1))
    bend = jnp.broadcast_to(jnp.asarray(linear.BENDS[0]), (1, 1, 3))
    weights = linear.Weights(
        jnp.ones((1, 1, 1)), jnp.zeros((1, 1)), one, bend, one, 0 * one, 0 * one
    )
    fitted = jax.tree.map(lambda x: x[0], linear.bent(weights, curves))
    rates = linear.curve(fitted, jnp.linspace(-3, 5, 20)[None, :, None])
    largest = (sums[2] / np.maximum(sums[0], 1)).max()
    assert float(rates.max()) <= linear.STEEPEST * largest
