"""Correlation equals numpy in float64, however large the mean."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax.metrics import correlation

GOLDEN = Path(__file__).parents[1] / "golden"
update = jax.jit(correlation.update)
value = jax.jit(correlation.value)
merge = jax.jit(correlation.merge)


def twin(x, y):
    """The official formula over axis 0, float64."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    x, y = x - x.mean(0), y - y.mean(0)
    std = [np.sqrt((a**2).mean(0)) + 1e-8 for a in (x, y)]
    return (x * y).mean(0) / std[0] / std[1]


def accumulate(x, y, step):
    """Score frames [T, N] in batches of `step` frames, the last one partly invalid."""
    state = correlation.zero(1, x.shape[1])
    for start in range(0, len(x), step):
        n = len(x[start : start + step])
        parts = [np.full((1, 1, step, x.shape[1]), np.nan, np.float32) for _ in "xy"]
        for part, a in zip(parts, (x, y), strict=True):
            part[0, 0, :n] = a[start : start + step]
        state = update(state, *parts, (np.arange(step) < n)[None, None])
    return state


@pytest.mark.parametrize("mean", [0, 1e4])
@pytest.mark.parametrize("std", [1e-6, 1e-2, 1, 100])
@pytest.mark.parametrize(("frames", "step"), [(1000, 300), (50_000, 7000)])
def test_equals_numpy(mean, std, frames, step):
    r = np.random.default_rng(0)
    base, noise = r.standard_normal((2, frames, 4)).astype(np.float32)
    x = (mean + std * base).astype(np.float32)
    y = (mean + std * (base + noise)).astype(np.float32)
    got = value(accumulate(x, y, step)).per_neuron_mn[0]
    np.testing.assert_allclose(got, np.nan_to_num(twin(x, y)), rtol=0, atol=1e-6)


def test_equals_numpy_on_ten_million_frames():
    r = np.random.default_rng(1)
    block = 10_000
    base, noise = r.standard_normal((2, block, 2)).astype(np.float32)
    x, y = 1e4 + 1e-2 * base, 1e4 + 1e-2 * (base + noise)
    x, y = x.astype(np.float32), y.astype(np.float32)
    one = (x[None, None], y[None, None], np.ones((1, 1, block), bool))

    @jax.jit
    def thousand(state):
        return jax.lax.fori_loop(0, 1000, lambda _, s: update(s, *one), state)

    state = thousand(correlation.zero(1, 2))
    assert int(state.count_m[0]) == 10_000_000
    got = value(state).per_neuron_mn[0]
    np.testing.assert_allclose(got, twin(x, y), rtol=0, atol=1e-6)


def test_drift_and_rare_large_events():
    r = np.random.default_rng(2)
    base = r.standard_normal((40_000, 3)).astype(np.float32)
    drift = np.linspace(0, 1, len(base), dtype=np.float32)[:, None]
    events = ((r.random(base.shape) < 1e-3) * 1e4).astype(np.float32)
    for x, y in (
        (1e4 + 1e3 * drift + base, abs(base) * drift),
        (events, events + base),
    ):
        got = value(accumulate(x, y, 300)).per_neuron_mn[0]
        np.testing.assert_allclose(got, twin(x, y), rtol=0, atol=1e-6)


def test_merge_is_the_whole():
    r = np.random.default_rng(3)
    x, y = r.standard_normal((2, 900, 3)).astype(np.float32) + 50
    whole = value(accumulate(x, y, 300))
    first, rest = accumulate(x[:100], y[:100], 100), accumulate(x[100:], y[100:], 400)
    for state in (
        merge(first, rest),
        merge(rest, first),
        merge(accumulate(x, y, 300), correlation.zero(1, 3)),
    ):
        got = value(state)
        np.testing.assert_allclose(got.per_neuron_mn, whole.per_neuron_mn, atol=2e-7)


def test_official_2023_score():
    fixture = np.load(GOLDEN / "corr_2023_single_trial.npz")
    x, y = (
        fixture[f"input/{k}"][:, :, 10:].transpose(0, 2, 1)[None]
        for k in ("predictions", "responses")
    )
    state = update(correlation.zero(1, 6), x, y, np.ones(x.shape[:3], bool))
    got = value(state).per_neuron_mn[0]
    np.testing.assert_allclose(got, fixture["output/corr"], atol=1e-6)


def test_official_library_on_axis_0():
    fixture = np.load(GOLDEN / "losses_corr.npz")
    x, y = (fixture[f"input/{k}"].reshape(1, 21, 1, 5) for k in ("pred", "target"))
    state = update(correlation.zero(1, 5), x, y, np.ones((1, 21, 1), bool))
    got = value(state).per_neuron_mn[0]
    np.testing.assert_allclose(got, fixture["output/np_corr_axis0"], atol=1e-6)


def test_undefined_neurons_score_zero_and_are_counted():
    r = np.random.default_rng(4)
    x, y = r.standard_normal((2, 2, 1, 50, 5)).astype(np.float32)
    x[0, ..., 0] = 3.0  # constant prediction
    y[0, ..., 1] = np.nan
    y[1, ..., 2] = 0.0  # hidden responses
    x[:, ..., 4] = np.nan  # padding, masked below
    mask = np.array([[1, 1, 1, 1, 0]] * 2, bool)
    state = update(correlation.zero(2, 5), x, y, np.ones((2, 1, 50), bool))
    got = value(state, mask)
    assert got.undefined_m.tolist() == [2, 1]
    assert got.per_neuron_mn[0, :2].tolist() == [0, 0] and got.per_neuron_mn[1, 2] == 0
    np.testing.assert_allclose(got.per_mouse_m, got.per_neuron_mn[:, :4].mean(1))
    np.testing.assert_allclose(got.mean, got.per_mouse_m.mean())


def test_means_over_mice_and_over_neurons_differ():
    r = np.random.default_rng(5)
    x = r.standard_normal((3, 1, 40, 4)).astype(np.float32)
    mask = np.array([[1, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]], bool)
    state = update(correlation.zero(3, 4), x, x + x[::-1], np.ones((3, 1, 40), bool))
    got = value(state, mask)
    each = np.asarray(got.per_neuron_mn)
    np.testing.assert_allclose(got.pooled, each[mask].mean(), rtol=1e-6)
    np.testing.assert_allclose(got.mean, (each[0].mean() + each[1, 0]) / 2, rtol=1e-6)


def test_no_frames_is_not_a_crash():
    got = value(correlation.zero(2, 3))
    assert not got.per_neuron_mn.any() and got.undefined_m.tolist() == [3, 3]


@pytest.mark.optimized
def test_sharded_over_windows():
    mesh = jax.make_mesh((1, 2), ("mouse", "data"), (jax.sharding.AxisType.Auto,) * 2)
    r = np.random.default_rng(6)
    x, y = 1e4 + r.standard_normal((2, 1, 4, 30, 3)).astype(np.float32)
    valid = r.random((1, 4, 30)) < 0.9
    one = update(correlation.zero(1, 3), x, y, valid)
    place = jax.sharding.NamedSharding(
        mesh, jax.sharding.PartitionSpec("mouse", "data")
    )
    with jax.set_mesh(mesh):
        args = [jax.device_put(jnp.asarray(a), place) for a in (x, y, valid)]
        step = jax.jit(correlation.update)
        two = step(correlation.zero(1, 3), *args)
        program = step.lower(correlation.zero(1, 3), *args).compile().as_text()
    for word in ("all-gather", "all-to-all", "collective-permute"):
        assert word not in program
    want = twin(x[0][valid[0]], y[0][valid[0]])
    for state in (one, jax.device_get(two)):
        got = value(state).per_neuron_mn[0]
        np.testing.assert_allclose(got, want, atol=1e-6)


def test_names_the_axis_that_disagrees():
    with pytest.raises(ValueError, match="responses_mbtn has 4 along 'n'"):
        correlation.update(
            correlation.zero(1, 3),
            np.zeros((1, 1, 5, 3)),
            np.zeros((1, 1, 5, 4)),
            np.ones((1, 1, 5), bool),
        )
