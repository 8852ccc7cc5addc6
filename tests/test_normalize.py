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


@pytest.mark.parametrize("name", ["video", "pupil"])
def test_zscores_and_inverses(name):
    x = R.random((4, 6, 2), np.float32) * 200
    mean, std = np.float32(79), np.full((1, 1, 2), 57, np.float32)
    forward, back = (
        getattr(normalize, f"normalize_{name}"),
        getattr(normalize, f"restore_{name}"),
    )
    normal = both(forward, x, mean, std)
    np.testing.assert_allclose(normal, (x - 79) / 57, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(both(back, normal, mean, std), x, rtol=1e-5, atol=1e-4)


def test_video_may_be_bytes():
    x = R.integers(0, 256, (3, 4, 4, 1)).astype(np.uint8)
    normal = both(normalize.normalize_video, x, np.float32(100), np.float32(50))
    np.testing.assert_allclose(normal, (x.astype(float) - 100) / 50, atol=1e-6)
    assert normal.dtype == np.float32


def test_behavior_keeps_its_mean():
    x, std = R.random((6, 2), np.float32), np.array([[2.0, 4.0]], np.float32)
    normal = both(normalize.normalize_behavior, x, std)
    np.testing.assert_allclose(normal, x / [2, 4], rtol=1e-6)
    np.testing.assert_allclose(
        both(normalize.restore_behavior, normal, std), x, rtol=1e-6
    )


def test_precision_per_frame_has_the_floor():
    std = R.random((7, 5)).astype(np.float32) + 0.1
    std[2, 3], std[6] = 1e-6, np.nan
    floor = 0.01 * np.nanmean(std)
    expected = np.where(std > floor, 1 / std, 1 / floor)
    got = both(normalize.response_precision, std)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    assert got[2, 3] == got[6, 0]
    rates = R.random((7, 5)).astype(np.float32)
    normal = both(normalize.normalize_responses, rates, got)
    np.testing.assert_allclose(
        normalize.restore_responses(normal, got), rates, rtol=1e-5
    )


def test_precision_per_neuron_pools_frames():
    std = np.stack([np.full(4, 3.0), np.full(4, 4.0), np.full(4, np.nan)])
    std[:, 3] = [0, 0, np.nan]
    got = both(normalize.response_precision, std, mode="per_neuron")
    pooled = np.sqrt(12.5)
    np.testing.assert_allclose(got[:3], 1 / pooled, rtol=1e-6)
    np.testing.assert_allclose(got[3], 1 / (0.01 * pooled * 3 / 4), rtol=1e-6)
    with pytest.raises(UserError, match="Known: per_frame, per_neuron"):
        normalize.response_precision(std, "per_mouse")


def test_trial_index_is_a_zscore():
    index = np.arange(17)
    expected = (index - index.mean()) / index.std()
    np.testing.assert_allclose(normalize.normalize_trial_index(index, 17), expected)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_rescale_takes_the_middle(k):
    x = R.random((2, 12, 24, 3)).astype(np.float32)
    blocks = x.reshape(2, 12 // k, k, 24 // k, k, 3)
    a, b = (k - 1) // 2, k // 2 + 1
    expected = blocks[:, :, a:b, :, a:b].mean((2, 4))
    np.testing.assert_allclose(
        both(normalize.rescale, x, scale=1 / k), expected, rtol=1e-5
    )


def test_rescale_of_bytes_does_not_overflow():
    x = np.full((1, 4, 4, 1), 255, np.uint8)
    assert both(normalize.rescale, x, scale=0.25) == 255


@pytest.mark.parametrize("scale", [0.3, 0.2, 0, 2, -0.25])
def test_rescale_refuses_other_scales(scale):
    with pytest.raises(UserError, match="expected 1, 1/2, 1/3"):
        normalize.rescale(np.zeros((1, 12, 24, 1)), scale)


def test_statistics_follow_their_frames():
    stats = np.arange(10.0).reshape(2, 5)[..., None, None, None]
    frame = np.array([[[3, 4, 9]], [[0, 1, 2]]])
    got = both(normalize.at_frames, stats, frame)
    assert got[..., 0, 0, 0].tolist() == [[[3, 4, 4]], [[5, 6, 7]]]
    assert normalize.at_frames(stats[:, :1], frame).shape == (2, 1, 1, 1, 1, 1)
