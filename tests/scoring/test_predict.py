"""Trials are cut, answered and put together again without moving a frame."""

import tracemalloc
from itertools import product

import numpy as np
import pytest

from sensorium_jax.axes import Trial
from sensorium_jax.errors import UserError
from sensorium_jax.scoring.predict import predict

NEURONS = 3


def trial(frames, *, seed=0):
    r = np.random.default_rng([seed, frames])
    video = r.standard_normal((frames, 2, 2, 1)).astype(np.float32)
    behavior = r.standard_normal((frames, 2)).astype(np.float32)
    pupil = r.standard_normal((frames, 2)).astype(np.float32)
    return Trial(video, behavior, pupil, np.zeros((frames, NEURONS), np.float32))


class Recent:
    """Rates are sums over the last `reach` frames, so leading frames are lost."""

    def __init__(self, reach):
        self.reach, self.shapes = reach, []

    def __call__(self, video_bthwc, behavior_btk, pupil_bt2):
        self.shapes.append(video_bthwc.shape[:2])
        x_bt = video_bthwc.mean((2, 3, 4)) + behavior_btk[..., 0] + pupil_bt2[..., 1]
        slid = np.lib.stride_tricks.sliding_window_view(x_bt, self.reach, axis=1)
        return np.stack([slid.sum(-1) * (n + 1) for n in range(NEURONS)], -1)


def direct(one, reach):
    return Recent(reach)(
        one.video_thwc[None], one.behavior_tk[None], one.pupil_t2[None]
    )[0]


@pytest.mark.parametrize("batch", [1, 4])
def test_whole_trials_align_with_their_end(batch):
    trials = [trial(n) for n in (300, 299, 300, 41, 281, 280)]
    model = Recent(19)
    got = list(predict(model, iter(trials), batch=batch))
    assert len(got) == len(trials)
    for one, answer in zip(trials, got, strict=True):
        assert answer.start == 18
        np.testing.assert_allclose(answer.rates_tn, direct(one, 19), rtol=1e-6)
    lengths = {shape for shape in model.shapes}
    assert lengths <= {(batch, n) for n in (60, 280, 300)}


def test_pictures_are_not_lengthened():
    model = Recent(1)
    got = list(predict(model, [trial(1, seed=i) for i in range(5)], batch=4))
    assert [g.rates_tn.shape for g in got] == [(1, NEURONS)] * 5
    assert set(model.shapes) == {(4, 1)}


def test_every_length_as_it_is():
    model = Recent(3)
    list(predict(model, [trial(33), trial(35)], bucket=1))
    assert model.shapes == [(1, 33), (1, 35)]


@pytest.mark.parametrize("blend", ["uniform", "last"])
@pytest.mark.parametrize(
    ("frames", "window", "hop", "reach"),
    [*product((40, 47), (16,), (1, 5, 8), (1, 4)), (30, 30, 15, 16), (16, 16, 3, 2)],
)
def test_windows_agree_with_the_whole(frames, window, hop, reach, blend):
    one = trial(frames)
    (got,) = predict(
        Recent(reach),
        [one],
        mode="window",
        window=window,
        hop=hop,
        blend=blend,
        batch=3,
    )
    assert got.start == reach - 1
    np.testing.assert_allclose(got.rates_tn, direct(one, reach), rtol=1e-5, atol=1e-6)


def edges(video_bthwc, *_):
    """A model that errs at the beginning of each window."""
    x = video_bthwc.mean((2, 3, 4))
    x = x + (np.arange(x.shape[1]) == 0)
    return np.repeat(x[..., None], NEURONS, -1)


def test_uniform_blend_is_the_mean_over_windows():
    one = trial(12)
    (got,) = predict(edges, [one], mode="window", window=4)
    windows = np.minimum(np.minimum(np.arange(12) + 1, 12 - np.arange(12)), 4)
    first = np.arange(12) <= 8  # a frame that is the first of some window
    want = one.video_thwc.mean((1, 2, 3)) + first / windows
    np.testing.assert_allclose(got.rates_tn[:, 0], want, rtol=1e-5)


def test_last_blend_hears_only_the_newest_frames():
    one = trial(12)
    (got,) = predict(edges, [one], mode="window", window=4, hop=2, blend="last")
    want = one.video_thwc.mean((1, 2, 3)) + (np.arange(12) == 0)
    np.testing.assert_allclose(got.rates_tn[:, 0], want, rtol=1e-5)


@pytest.mark.parametrize("hop", [1, 3, 5])
def test_strided_windows_reach_every_frame(hop):
    def same(video_bthwc, *_):
        return np.repeat(video_bthwc.mean((2, 3, 4))[..., None], NEURONS, -1)

    one = trial(50)
    (got,) = predict(same, [one], mode="window", window=16, stride=2, hop=hop)
    assert got.start == 0 and got.rates_tn.shape == (50, NEURONS)
    want = one.video_thwc.mean((1, 2, 3))
    np.testing.assert_allclose(got.rates_tn[:, 2], want, rtol=1e-5)


def test_windows_compile_once():
    model = Recent(2)
    list(predict(model, [trial(40), trial(53)], mode="window", window=8, batch=6))
    assert set(model.shapes) == {(6, 8)}


def test_memory_does_not_grow_with_trials():
    def silent(video_bthwc, *_):
        return np.zeros((*video_bthwc.shape[:2], 500), np.float32)

    def peak(count):
        tracemalloc.start()
        for _ in predict(silent, (trial(100) for _ in range(count)), batch=2):
            pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(60) < 1.5 * peak(6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "windows"}, "Did you mean 'window'"),
        ({"blend": "linear"}, "Known: last, uniform"),
        ({"hop": 0}, "hop is 0"),
        ({"mode": "window", "window": 99}, "a window spans 99"),
        ({"mode": "window", "window": 8, "hop": 20}, "No window answers for frame 8"),
        ({"mode": "window", "stride": 2, "hop": 2}, "common factor"),
        ({"bucket": 1, "reach": 12, "short": True}, "the model loses"),
    ],
)
def test_bad_requests_are_named(options, words):
    reach = options.pop("reach", 1)
    trials = [trial(90)] + [trial(10)] * options.pop("short", False)
    with pytest.raises(UserError, match=words):
        list(predict(Recent(reach), trials, batch=2, **options))
