"""Normalization against numpy twins, inverses, and the same under jit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax import normalize
from sensorium_jax.errors import UserError

R = np.random.default_rng(0)


def both(function, *arrays, **options):
    """The numpy result, after checking that jit gives the same."""
    plain = function(*arrays, **options)
    traced = jax.jit(lambda *a: function(*a, **options))(*map(jnp.asarray, arrays))
    np.testing.assert_allclose(plain, traced, rtol=1e-5, atol=1e-6)
    return plain


def test_standardized_and_back():
    x = R.random((4, 6, 2), np.float32) * 200
    mean, std = np.float32(79), np.full((1, 1, 2), 57, np.float32)
    normal = both(normalize.standardize, x, mean, std)
    np.testing.assert_allclose(normal, (x - 79) / 57, rtol=1e-5, atol=1e-6)
    back = both(normalize.restore, normal, mean, std)
    np.testing.assert_allclose(back, x, rtol=1e-5, atol=1e-4)


def test_video_may_be_bytes():
    x = R.integers(0, 256, (3, 4, 4, 1)).astype(np.uint8)
    normal = both(normalize.standardize, x, np.float32(100), np.float32(50))
    np.testing.assert_allclose(normal, (x.astype(float) - 100) / 50, atol=1e-6)
    assert normal.dtype == np.float32


def test_precision_per_frame_has_the_floor():
    std = R.random((7, 5)).astype(np.float32) + 0.1
    std[2, 3], std[6] = 1e-6, np.nan
    floor = 0.01 * np.nanmean(std)
    expected = np.where(std > floor, 1 / std, 1 / floor)
    got = both(normalize.response_precision, std)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    assert got[2, 3] == got[6, 0]
    rates = R.random((7, 5)).astype(np.float32)
    normal = both(normalize.scale_responses, rates, got)
    np.testing.assert_allclose(
        normalize.restore_responses(normal, got), rates, rtol=1e-5
    )


def test_judged_units_begin_at_the_first_scored_frame():
    x = R.random((7, 3), np.float32)
    for precision in (R.random((9, 3), np.float32), R.random((1, 3), np.float32)):
        got = both(normalize.judged, x, precision, start=2)
        want = x[2:] * (precision[2:7] if len(precision) > 1 else precision)
        np.testing.assert_allclose(got, want, rtol=1e-6)


def test_precision_per_neuron_pools_frames():
    std = np.stack([np.full(4, 3.0), np.full(4, 4.0), np.full(4, np.nan)])
    std[:, 3] = [0, 0, np.nan]
    got = both(normalize.response_precision, std, mode="per_neuron")
    pooled = np.sqrt(12.5)
    np.testing.assert_allclose(got[:3], 1 / pooled, rtol=1e-6)
    np.testing.assert_allclose(got[3], 1 / (0.01 * pooled * 3 / 4), rtol=1e-6)
    with pytest.raises(UserError, match="Known: per_frame, per_neuron"):
        normalize.response_precision(std, "per_mouse")


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_shrink_takes_the_middle(k):
    x = R.random((2, 12, 24, 3)).astype(np.float32)
    blocks = x.reshape(2, 12 // k, k, 24 // k, k, 3)
    a, b = (k - 1) // 2, k // 2 + 1
    expected = blocks[:, :, a:b, :, a:b].mean((2, 4))
    np.testing.assert_allclose(
        both(normalize.shrink, x, scale=1 / k), expected, rtol=1e-5
    )


def test_shrink_of_bytes_does_not_overflow():
    x = np.full((1, 4, 4, 1), 255, np.uint8)
    assert both(normalize.shrink, x, scale=0.25) == 255


@pytest.mark.parametrize("scale", [0.3, 0.2, 0, 2, -0.25])
def test_shrink_refuses_other_scales(scale):
    with pytest.raises(UserError, match="expected 1, 1/2, 1/3"):
        normalize.shrink(np.zeros((1, 12, 24, 1)), scale)


def test_statistics_follow_their_frames():
    stats = np.arange(5.0)[:, None, None, None]
    frame = np.array([[3, 4, 9], [0, 1, 2]])
    got = both(normalize.at_frames, stats, frame)
    assert got[..., 0, 0, 0].tolist() == [[3, 4, 4], [0, 1, 2]]
    assert normalize.at_frames(stats[:1], frame).shape == (1, 1, 1, 1, 1)
    assert normalize.at_frames(stats, slice(1, 5, 2)).ravel().tolist() == [1, 3]
    assert normalize.at_frames(stats[:1], slice(1, 5, 2)).ravel().tolist() == [0]


def test_a_canvas_holds_the_frame_in_its_middle():
    x = R.random((2, 3, 4, 1)).astype(np.float32)
    wide = both(normalize.on_canvas, x, canvas=(8, 7))
    assert wide.shape == (2, 8, 7, 1) and wide.sum() == x.sum()
    np.testing.assert_array_equal(wide[:, 2:5, 1:5], x)
    assert normalize.on_canvas(x, None) is x
    with pytest.raises(UserError, match="do not fit a canvas of 2 x 9"):
        normalize.on_canvas(x, (2, 9))


def test_a_film_is_prepared_by_the_statistics_of_its_frames():
    x = R.integers(0, 256, (2, 3, 4, 8, 1)).astype(np.float32)
    stats = {k: R.random((6, 1, 1, 1)).astype(np.float32) + 1 for k in ("mean", "std")}
    frames = np.array([[0, 1, 2], [3, 4, 5]])
    got = both(
        lambda x: normalize.prepare(x, stats, frames, scale=0.5, canvas=(4, 4)), x
    )
    mean, std = (stats[k][frames] for k in ("mean", "std"))
    want = normalize.shrink((x - mean) / std, 0.5)
    np.testing.assert_allclose(got[:, :, 1:3], want, rtol=1e-5, atol=1e-5)
    assert not got[:, :, [0, 3]].any()
