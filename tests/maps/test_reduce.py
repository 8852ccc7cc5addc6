import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax.errors import UserError
from sensorium_jax.maps import reduce

FRAMES = [
    (7, 5, 1),
    (20, 18, 1),
    (36, 64, 1),
    (36, 64, 2),
    (144, 256, 1),
    (256, 144, 3),
]


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("still", [False, True])
def test_grids_fit_every_frame_and_stay_within_their_bounds(frame, still):
    plan = reduce.choose(frame, still=still, signals=3)
    assert plan.pixels <= reduce.PIXELS and plan.bases <= reduce.BASES
    assert plan.light - 3 <= reduce.FEATURES
    assert plan.grid[0] <= frame[0] and plan.grid[1] <= frame[1]
    assert plan.coarse[0] * plan.coarse[1] <= reduce.CONTRASTS
    if min(plan.grid) > 4:  # the frame's shape is kept
        aspect = plan.grid[0] / plan.grid[1] * frame[1] / frame[0]
        assert 0.8 < aspect < 1.25
    assert (plan.taps == 1) == still
    large = reduce.choose(frame, still=still, features=4800)
    assert large.pixels >= plan.pixels and large.light <= 4800


def test_lags_follow_the_frame_rate():
    slow, usual, fast = (
        reduce.choose((36, 64, 1), hertz=hertz) for hertz in (4.0, 30.0, 60.0)
    )
    assert slow.taps == 3 and slow.bases == 3
    assert (usual.taps, fast.taps) == (24, 48)
    assert fast.bases == usual.bases
    with pytest.raises(UserError, match="above zero"):
        reduce.choose((36, 0, 1))


@pytest.mark.parametrize(("cells", "size"), [(3, 7), (5, 5), (1, 4), (11, 36)])
def test_pooling_averages_equal_shares(cells, size):
    weight = reduce.pooling(cells, size)
    np.testing.assert_allclose(weight.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(weight.sum(0), cells / size, rtol=1e-5)
    middle = weight @ np.arange(size)
    np.testing.assert_allclose(
        middle, (np.arange(cells) + 0.5) * size / cells - 0.5, atol=0.1
    )


def test_bumps_are_orthonormal_and_reach_all_lags():
    for taps, bases in ((24, 6), (48, 8), (10, 4)):
        basis = reduce.bumps(taps, bases)
        np.testing.assert_allclose(basis @ basis.T, np.eye(bases), atol=1e-5)
        assert np.abs(basis).max(0).min() > 0.02
    np.testing.assert_array_equal(reduce.bumps(5, 5), np.eye(5))


@pytest.mark.parametrize("frames", [1, 5, 64, 65, 200])
@pytest.mark.parametrize(("taps", "bases"), [(1, 1), (9, 4), (80, 3)])
def test_lags_are_those_of_a_plain_filter(frames, taps, bases):
    rng = np.random.default_rng(frames)
    x = rng.standard_normal((2, taps - 1 + frames, 3)).astype(np.float32)
    basis = reduce.bumps(taps, bases)
    want = np.zeros((2, frames, bases, 3))
    for lag in range(taps):
        part = x[:, taps - 1 - lag : taps - 1 - lag + frames]
        want += basis[None, None, :, lag, None] * part[:, :, None]
    got = reduce.in_time(jnp.asarray(x), taps, bases)
    np.testing.assert_allclose(got, want.reshape(2, frames, -1), atol=1e-4)


def test_pixels_and_contrasts_against_numpy():
    plan = reduce.choose((8, 12, 2), features=60)
    rng = np.random.default_rng(0)
    video = rng.standard_normal((3, 8, 12, 2)).astype(np.float32)
    rows, columns = (
        reduce.pooling(cells, size)
        for cells, size in zip(plan.grid, (8, 12), strict=True)
    )
    want = np.einsum("gh,thwc,vw->tcgv", rows, video, columns).reshape(3, -1)
    np.testing.assert_allclose(reduce.pixels(plan, video), want, atol=1e-5)
    found = np.asarray(reduce.contrasts(plan, video))
    assert found.shape == (3, plan.coarse[0] * plan.coarse[1]) and (found > 0).all()
    # Plain light has no contrast, and a patch of noise has it where it lies.
    video[:] = 2.0
    plain = np.asarray(reduce.contrasts(plan, video))
    video[:, 2:4, 8:10] += rng.choice([-1, 1], (3, 2, 2, 2))
    patched = np.asarray(reduce.contrasts(plan, video)).reshape(3, *plan.coarse)
    assert plain.max() < 0.01
    row, column = np.unravel_index(patched[0].argmax(), plan.coarse)
    at = reduce.cells(plan, plan.coarse).reshape(*plan.coarse, 2)[row, column]
    assert 7 <= at[0] <= 10.5 and 1 <= at[1] <= 4.5


def test_features_do_not_see_the_future_and_begin_from_grey():
    plan = reduce.choose((6, 7, 1), hertz=10.0, signals=1)
    rng = np.random.default_rng(0)
    video = rng.standard_normal((1, 30, 6, 7, 1)).astype(np.float32)
    signals = rng.standard_normal((1, 30, 1)).astype(np.float32)
    one = np.asarray(reduce.light(plan, video, signals))
    assert one.shape == (1, 30, plan.light)
    video[:, 20:] = 5.0
    two = np.asarray(reduce.light(plan, video, signals))
    np.testing.assert_allclose(one[:, :20], two[:, :20], atol=1e-5)
    assert not np.allclose(one[:, 20], two[:, 20])
    # What the first frame says is what a lone frame says.
    alone = np.asarray(reduce.light(plan, video[:, :1], signals[:, :1]))
    np.testing.assert_allclose(one[:, :1], alone, atol=1e-5)
