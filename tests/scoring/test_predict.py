"""Trials are cut, answered and put together again without moving a frame."""

import tracemalloc
from itertools import product

import numpy as np
import pytest

from sensorium_jax.asking import Asking
from sensorium_jax.data import statistics
from sensorium_jax.errors import UserError
from sensorium_jax.normalize import at_frames
from sensorium_jax.rules import FILMS, own
from sensorium_jax.scoring.predict import Inputs, beside, predict
from support.recordings import in_memory
from support.recordings.of_lengths import session

NEURONS = 3


class Recent:
    """Rates are sums over the last `reach` frames, so leading frames are lost."""

    def __init__(self, reach, **asking):
        self.reach, self.shapes = reach, []
        self.asking = Asking(**asking)

    def respond(self, video_bthwc, behavior_btk, pupil_bt2, mouse, first_frame_b=0):
        self.shapes.append(video_bthwc.shape[:2])
        x_bt = video_bthwc.mean((2, 3, 4)) + behavior_btk[..., 0] + pupil_bt2[..., 1]
        slid = np.lib.stride_tricks.sliding_window_view(x_bt, self.reach, axis=1)
        return np.stack([slid.sum(-1) * (n + 1) for n in range(NEURONS)], -1)


class First:
    """Rates are the mean grey of each frame, after something done to the clip."""

    def __init__(self, change=lambda x_bt: x_bt, **asking):
        self.change, self.asking = change, Asking(**asking)

    def respond(self, video_bthwc, *_, first_frame_b=0):
        x_bt = self.change(video_bthwc.mean((2, 3, 4)))
        return np.repeat(x_bt[..., None], NEURONS, -1)


def direct(one, row, reach):
    clips = (one.read(what, row)[None] for what in ("videos", "behavior"))
    pupil = one.read("pupil_center", row)[None]
    return Recent(reach).respond(*clips, pupil, one.name)[0]


def window(frames, **asking):
    return {"mode": "window", "frames": frames, **asking}


@pytest.mark.parametrize("batch", [1, 4])
def test_whole_trials_align_with_their_end(batch):
    one = session((300, 299, 300, 41, 281, 280))
    model = Recent(19)
    got = list(predict(model, one, range(6), batch=batch))
    assert [p.trial for p in got] == list(range(6))
    for row, answer in enumerate(got):
        assert (answer.mouse, answer.start) == (one.name, 18)
        assert answer.responses_tn is None
        np.testing.assert_allclose(answer.rates_tn, direct(one, row, 19), rtol=1e-6)
    assert set(model.shapes) <= {(batch, n) for n in (60, 280, 300)}


def test_pictures_are_not_lengthened():
    model = Recent(1)
    got = list(predict(model, session([1] * 5), range(5), batch=4))
    assert [g.rates_tn.shape for g in got] == [(1, NEURONS)] * 5
    assert set(model.shapes) == {(4, 1)}


def test_models_that_look_ahead_see_every_length_as_it_is():
    """A frame more at the end would change what they answer before it."""

    def centered(x_bt):
        return x_bt - x_bt.mean(1, keepdims=True)

    one, model = session((33, 33, 35)), First(centered, causal=False)
    got = list(predict(model, one, range(3), batch=2))
    for row, answer in enumerate(got):
        grey = one.read("videos", row).mean((1, 2, 3))
        want = grey - grey.mean()
        np.testing.assert_allclose(answer.rates_tn[:, 0], want, rtol=1e-5, atol=1e-6)
    recent = Recent(3, causal=False)
    list(predict(recent, one, range(3), batch=2))
    assert recent.shapes == [(2, 33), (2, 35)]


@pytest.mark.parametrize("blend", ["uniform", "last"])
@pytest.mark.parametrize(
    ("frames", "width", "hop", "reach"),
    [*product((40, 47), (16,), (1, 5, 8), (1, 4)), (30, 30, 15, 16), (16, 16, 3, 2)],
)
def test_windows_agree_with_the_whole(frames, width, hop, reach, blend):
    one = session((frames, frames + 1))
    model = Recent(reach, **window(width, hop=hop, blend=blend))
    for row, got in enumerate(predict(model, one, [0, 1], batch=3)):
        assert got.start == reach - 1
        want = direct(one, row, reach)
        np.testing.assert_allclose(got.rates_tn, want, rtol=1e-5, atol=1e-6)


def edges(x_bt):
    """A model that errs at the beginning of each window."""
    return x_bt + (np.arange(x_bt.shape[1]) == 0)


def test_uniform_blend_is_the_mean_over_windows():
    one = session([12])
    (got,) = predict(First(edges, **window(4)), one, [0])
    windows = np.minimum(np.minimum(np.arange(12) + 1, 12 - np.arange(12)), 4)
    first = np.arange(12) <= 8  # a frame that is the first of some window
    want = one.read("videos", 0).mean((1, 2, 3)) + first / windows
    np.testing.assert_allclose(got.rates_tn[:, 0], want, rtol=1e-5)


def test_last_blend_hears_only_the_newest_frames():
    one = session([12])
    model = First(edges, **window(4, hop=2, blend="last"))
    (got,) = predict(model, one, [0])
    want = one.read("videos", 0).mean((1, 2, 3)) + (np.arange(12) == 0)
    np.testing.assert_allclose(got.rates_tn[:, 0], want, rtol=1e-5)


@pytest.mark.parametrize(
    "asking", [*(window(16, stride=2, hop=h) for h in (1, 3, 5)), {"stride": 2}]
)
def test_strided_clips_reach_every_frame(asking):
    one = session([50])
    (got,) = predict(First(**asking), one, [0])
    assert got.start == 0 and got.rates_tn.shape == (50, NEURONS)
    want = one.read("videos", 0).mean((1, 2, 3))
    np.testing.assert_allclose(got.rates_tn[:, 2], want, rtol=1e-5)


class Scaled:
    """Normalizes as its training did: by the statistics of each frame of the trial."""

    def __init__(self, one, raw, **asking):
        self.raw, self.asking, self.rows = raw, Asking(**asking), {}
        for what in ("behavior", "pupil"):
            name = "pupil_center" if what == "pupil" else what
            self.rows[what] = statistics.row_stats(one, name)
        self.video = [x[0] for x in statistics.video_stats([one])]

    def respond(self, video_bthwc, behavior_btk, pupil_bt2, mouse, first_frame_b=0):
        frames = np.arange(video_bthwc.shape[1]) * self.asking.stride
        at_bt = first_frame_b[:, None] + frames
        if "video" in self.raw:
            mean, std = (at_frames(x, at_bt) for x in self.video)
            video_bthwc = (video_bthwc - mean) / std
        if "behavior" in self.raw:
            behavior_btk = behavior_btk / at_frames(self.rows["behavior"].std_tk, at_bt)
        if "pupil" in self.raw:
            mean, std = (at_frames(x, at_bt) for x in self.rows["pupil"][:2])
            pupil_bt2 = (pupil_bt2 - mean) / std
        rates = (
            video_bthwc[:, :, 0, :, 0].sum(2),
            behavior_btk[..., 0],
            pupil_bt2[..., 1],
        )
        return np.stack(rates, -1)


@pytest.mark.parametrize("raw", [(), ("video",), ("video", "behavior", "pupil")])
@pytest.mark.parametrize(
    "asking",
    [window(8, stride=2), window(8, stride=2, blend="last"), {"stride": 2}, {}],
)
def test_statistics_are_those_of_where_a_clip_lies(asking, raw):
    """Whoever normalizes, windows and whole trials are scaled frame by frame alike."""
    one = session((47, 40))
    rows = [statistics.row_stats(one, w) for w in ("behavior", "pupil_center")]
    video = [x[0] for x in statistics.video_stats([one])]
    for row, got in enumerate(
        predict(Scaled(one, raw, **asking), one, [0, 1], batch=5)
    ):
        frames = slice(one.reader.length(row))
        grey, behavior, pupil = Inputs(one, {}, 2).read(row)
        grey = (grey - video[0][frames]) / video[1][frames]
        behavior = behavior / rows[0].std_tk[frames]
        pupil = (pupil - rows[1].mean_tk[frames]) / rows[1].std_tk[frames]
        want = np.stack([grey[:, 0, :, 0].sum(1), behavior[:, 0], pupil[:, 1]], -1)
        np.testing.assert_allclose(got.rates_tn, want, rtol=1e-4, atol=1e-5)


def test_windows_of_several_trials_share_batches_and_compile_once():
    model = Recent(2, **window(8))
    list(predict(model, session((40, 53)), [0, 1], batch=6))
    assert set(model.shapes) == {(6, 8)}
    assert len(model.shapes) == -(-(33 + 46) // 6)


def test_a_model_of_the_stimulus_alone_is_shown_no_behavior():
    class Alone(First):
        behaviors = 0

        def respond(self, video_bthwc, behavior_btk, *others, first_frame_b=0):
            assert behavior_btk.shape[-1] == 0
            return super().respond(video_bthwc)

    assert len(list(predict(Alone(), session((30, 30)), [0, 1]))) == 2


@pytest.mark.parametrize("recorded", [0, 2])
def test_signals_that_a_mouse_lacks_are_zero_as_in_training(recorded):
    class Wants(First):
        behaviors = 3

        def respond(self, video_bthwc, behavior_btk, *others, first_frame_b=0):
            assert behavior_btk.shape[-1] == 3
            assert not behavior_btk[..., recorded:].any()
            assert recorded == 0 or behavior_btk[..., :recorded].any()
            return super().respond(video_bthwc)

    one = in_memory.session(neurons=NEURONS, behaviors=recorded, rules=own(FILMS))
    assert len(list(predict(Wants(), one, [0, 1]))) == 2


def test_frames_begin_where_the_rules_or_the_model_say():
    one = session((60, 60), rules=own(FILMS, skip=20))
    (got,) = predict(Recent(19), one, [0])
    assert got.start == 20
    np.testing.assert_allclose(got.rates_tn, direct(one, 0, 19)[2:], rtol=1e-6)
    (told,) = beside(one, [got])
    precision_tn = statistics.precision(one)
    want = (one.read("responses", 0) * precision_tn)[20:]
    np.testing.assert_allclose(told.responses_tn, want, rtol=1e-6)
    with pytest.raises(UserError, match="from frame 21 on.*from frame 20 on"):
        list(predict(Recent(22), one, [0]))
    free = session((60, 60))  # nothing is skipped: from where the model begins
    (told,) = beside(free, predict(Recent(22), free, [0]))
    assert told.start == 21 and told.rates_tn.shape == told.responses_tn.shape


def test_memory_does_not_grow_with_trials():
    class Silent(First):
        def respond(self, video_bthwc, *_, first_frame_b=0):
            return np.zeros((*video_bthwc.shape[:2], 500), np.float32)

    def peak(count):
        one = session([100] * count, neurons=500)
        tracemalloc.start()
        for _ in predict(Silent(), one, range(count), batch=2):
            pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(60) < 1.5 * peak(6)


@pytest.mark.parametrize(
    ("asking", "words"),
    [
        ({"mode": "windows"}, "Did you mean 'window'"),
        ({"blend": "linear"}, "Known: last, uniform"),
        ({"hop": 0}, "hop is 0"),
        (window(99), "a window of the model spans 99"),
        (window(8, hop=20), "No window answers for frame 8"),
        (window(16, stride=2, hop=2), "common factor"),
        ({}, "of 10 frames and the model loses 11"),
    ],
)
def test_bad_requests_are_named(asking, words):
    model = Recent(1 if asking else 12, **asking)
    with pytest.raises(UserError, match=words):
        list(predict(model, session((90, 10)), [0, 1], batch=2))


def test_bad_answers_are_named():
    class Odd(First):
        def respond(self, *inputs, first_frame_b=0):
            return super().respond(*inputs)[..., :2]

    with pytest.raises(UserError, match="with 2 neurons; it has 3"):
        list(predict(Odd(), session([30]), [0]))
    with pytest.raises(UserError, match="NaN or infinity"):
        list(predict(First(lambda x_bt: x_bt * np.nan), session([30]), [0]))
    with pytest.raises(UserError, match="per_trial"):
        list(predict(First(), session([30]), [0], units="per_trial"))


def test_a_model_of_raw_inputs_without_statistics_sees_what_was_recorded():
    class Shown(First):
        raw = ()

    one = session((40,))
    video, behavior, pupil = Inputs.of(Shown(inputs="raw"), one).read(0)
    for got, what in (
        (video, "videos"),
        (behavior, "behavior"),
        (pupil, "pupil_center"),
    ):
        np.testing.assert_array_equal(got, one.read(what, 0))
    normalized = Inputs.of(Shown(), one).read(0)[0]
    assert np.abs(normalized - video).max() > 1
