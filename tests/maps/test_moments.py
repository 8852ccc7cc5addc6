from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec as P

from sensorium_jax.axes import Batch
from sensorium_jax.errors import UserError
from sensorium_jax.maps import moments, reduce
from sensorium_jax.maps.moments import Pair, Sample

PLAN = reduce.choose((6, 8, 1), hertz=10.0, signals=2, features=60)
MICE, WINDOWS, FRAMES, NEURONS = 2, 4, 23, 3


def drawn(seed=0, frames=FRAMES):
    """A batch with padding, invalid frames that hold NaN, and unequal mice."""
    rng = np.random.default_rng(seed)
    lead = (MICE, WINDOWS, frames)
    video = rng.standard_normal((*lead, *PLAN.frame)).astype(np.float32) + 0.3
    signals = rng.standard_normal((*lead, 2)).astype(np.float32) + 1
    responses = rng.gamma(1.0, 1.0, (*lead, NEURONS)).astype(np.float32)
    valid = np.ones(lead, bool)
    valid[0, 1, frames // 2 :] = valid[1, 3] = False
    responses[1, :, :, 2] = 0  # a neuron that only pads
    for x in (video, signals, responses):
        x[~valid] = np.nan
    return Sample(video, signals, responses, valid)


@jax.jit
def reduced(video, signals):
    """Light and contrast features of whole trials."""
    contrast = reduce.contrasts(PLAN, video)
    before = jnp.zeros((*contrast.shape[:-2], PLAN.taps - 1, contrast.shape[-1]))
    joined = jnp.concatenate([before, contrast], -2)
    late = reduce.in_time(joined, PLAN.taps, PLAN.contrast_bases)
    return reduce.light(PLAN, video, signals), late


def features_of(sample, mouse):
    """Features and responses of every valid frame, trial by trial."""
    keep = sample.valid_mbt[mouse]
    shown = sample.video_mbthwc[mouse], sample.signals_mbtk[mouse]
    x, e = reduced(*(np.nan_to_num(v) for v in shown))
    y = sample.responses_mbtn[mouse]
    return tuple(np.asarray(v)[keep].astype(np.float64) for v in (x, e, y))


ADD = jax.jit(partial(moments.update, PLAN))


def gathered(samples, add=ADD):
    state = moments.zero(PLAN, MICE, NEURONS)
    for sample in samples:
        state = add(state, sample)
    return state


def check(state, samples, mouse):
    parts = [features_of(s, mouse) for s in samples]
    x, e, y = (np.concatenate(v) for v in zip(*parts, strict=True))
    for kind, f in (("light", x), ("contrast", e)):
        c = moments.centered(state, mouse, NEURONS, kind)
        assert c.frames == len(f)
        close = partial(np.testing.assert_allclose, rtol=1e-5, atol=2e-6)
        close(c.x_d, f.mean(0))
        close(c.xx_de, np.cov(f.T, bias=True))
        close(c.y_n, y.mean(0))
        close(c.yy_n, y.var(0))
        close(c.xy_dn, (f - f.mean(0)).T @ (y - y.mean(0)) / len(f))


def test_sums_are_those_of_numpy_whatever_is_invalid(monkeypatch):
    # Trials longer than what is in memory at a time, so that lags cross its borders.
    monkeypatch.setattr(moments, "TOGETHER", 10)
    samples = [drawn(0), drawn(1)]
    state = gathered(samples, jax.jit(partial(moments.update, PLAN)))
    for mouse in range(MICE):
        check(state, samples, mouse)
    np.testing.assert_allclose(
        state.least_mn[0],
        np.nanmin(np.stack([s.responses_mbtn[0] for s in samples]), (0, 1, 2)),
    )


def test_merged_passes_are_one_pass():
    one, two = gathered([drawn(0)]), gathered([drawn(1)])
    both, merged = gathered([drawn(0), drawn(1)]), jax.jit(moments.merge)(one, two)
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-4), both, merged
    )
    for mouse in range(MICE):
        a, b = (moments.centered(s, mouse, NEURONS) for s in (both, merged))
        for x, y in zip(a, b, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-9)


def test_without_squares_the_covariance_stays_and_the_rest_is_new():
    whole, part = (
        gathered([drawn(0)]),
        gathered([drawn(0)], jax.jit(partial(moments.update, PLAN, squares=False))),
    )
    assert not np.asarray(part.light.xx_mde.high).any()
    assert np.asarray(whole.light.xx_mde.high).any()
    np.testing.assert_array_equal(part.light.yx_mnd.high, whole.light.yx_mnd.high)
    np.testing.assert_array_equal(part.y_mn.high, whole.y_mn.high)


def test_unknown_responses_are_left_out():
    sample = drawn(0)
    observed = np.ones((MICE, WINDOWS, NEURONS), bool)
    observed[0, 2, 1] = False
    got = moments.centered(gathered([sample._replace(observed_mbn=observed)]), 0, 3)
    responses = np.array(sample.responses_mbtn)
    keep = sample.valid_mbt[0].copy()
    keep[2] = False
    assert got.y_n[1] == pytest.approx(responses[0, ..., 1][keep].mean(), rel=1e-5)
    whole = moments.centered(gathered([sample]), 0, 3)
    np.testing.assert_allclose(got.xy_dn[:, 0], whole.xy_dn[:, 0])
    assert not np.allclose(got.xy_dn[:, 1], whole.xy_dn[:, 1])


def test_many_small_numbers_are_not_lost_beside_a_large_sum():
    total = Pair(jnp.full(2, 1e6), jnp.zeros(2))
    add = jax.jit(
        lambda p: jax.lax.fori_loop(
            0, 20_000, lambda _, q: moments.plus(q, jnp.full(2, 0.01)), p
        )
    )
    got = add(total)
    exact = 1e6 + 20_000 * float(np.float32(0.01))
    assert float(got.high[0]) + float(got.low[0]) == pytest.approx(exact, abs=1e-3)


def test_pictures_have_no_lags_and_colors_are_pixels():
    plan = reduce.choose((6, 8, 3), still=True)
    rng = np.random.default_rng(0)
    video = rng.standard_normal((1, 30, 1, 6, 8, 3)).astype(np.float32)
    responses = rng.gamma(1.0, 1.0, (1, 30, 1, 2)).astype(np.float32)
    none = np.zeros((1, 30, 1, 0), np.float32)
    sample = Sample(video, none, responses, np.ones((1, 30, 1), bool))
    state = moments.update(plan, moments.zero(plan, 1, 2), sample)
    x = np.moveaxis(video[0, :, 0], -1, 1).reshape(30, -1)
    assert plan.grid == (6, 8) and plan.light == 6 * 8 * 3
    c = moments.centered(state, 0, 2)
    np.testing.assert_allclose(c.xx_de, np.cov(x.T, bias=True), atol=1e-5)


@pytest.mark.optimized
@pytest.mark.parametrize("mesh", [(2, 1), (1, 2)])
def test_a_mesh_adds_alike_and_only_reduces(mesh):
    want = gathered([drawn(0)])
    made = jax.make_mesh(
        mesh, ("mouse", "data"), axis_types=(jax.sharding.AxisType.Auto,) * 2
    )
    with jax.set_mesh(made):
        rows, both = (NamedSharding(made, p) for p in (P("mouse"), P("mouse", "data")))
        state = jax.device_put(moments.zero(PLAN, MICE, NEURONS), rows)
        sample = jax.device_put(drawn(0), both)
        add = jax.jit(partial(moments.update, PLAN), out_shardings=rows)
        program = add.lower(state, sample).compile()
        text = program.as_text()
        got = program(state, sample)
    moved = ("all-gather", "all-to-all", "collective-permute")
    assert not [word for word in moved if word in text]
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-4), got, want)


def test_gather_takes_batches_and_normalizes_them():
    sample = drawn(0)
    signals = np.nan_to_num(np.asarray(sample.signals_mbtk))
    batch = Batch(
        np.nan_to_num(np.asarray(sample.video_mbthwc)),
        signals[..., :0],
        signals,
        sample.responses_mbtn,
        sample.valid_mbt,
        np.ones((MICE, NEURONS), bool),
        np.zeros(sample.valid_mbt.shape, np.int32),
    )
    state = moments.gather(PLAN, [batch, batch], lambda b: 2 * b.video_mbthwc)
    twice = sample._replace(video_mbthwc=2 * batch.video_mbthwc, signals_mbtk=signals)
    want = gathered([twice, twice])
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-4), state, want)
    with pytest.raises(UserError, match="no batch"):
        moments.gather(PLAN, [], lambda b: b.video_mbthwc)
