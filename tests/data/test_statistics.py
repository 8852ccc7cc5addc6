"""The smallest arrays that still say what a release's statistics say."""

import numpy as np
import pytest

from sensorium_jax.data import statistics
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.release.write import SessionWriter
from sensorium_jax.errors import UserError
from sensorium_jax.normalize import at_frames, standardize

H, W, N = 4, 6, 5


@pytest.fixture
def sessions(tmp_path):
    r = np.random.default_rng(0)
    for name in "ab":
        writer = SessionWriter(
            tmp_path / name, rules="2023", neurons=N, frame_shape=(H, W, 1)
        )
        for i in range(5):
            video = r.integers(0, 256, (9, H, W, 1))
            writer.add(i, video, *(r.gamma(1, size=(9, k)) for k in (N, 2, 2)))
        writer.finish(["train"] * 4 + ["oracle"], layout="per_frame")
    return tmp_path


def put(folder, what, name, values):
    np.save(folder / f"meta/statistics/{what}/all/{name}.npy", values)


def test_constant_arrays_collapse():
    x = np.ones((7, 3, 4, 1))
    assert statistics.collapse(x, (0, 1, 2)).shape == (1, 1, 1, 1)
    x[5:] = np.nan
    assert statistics.collapse(x, (0, 1, 2)).shape == (1, 1, 1, 1)
    x[2] = 2
    assert statistics.collapse(x, (0, 1, 2)).shape == (7, 1, 1, 1)
    y = np.arange(3.0)[None, :, None, None] * np.ones((7, 1, 4, 1))
    got = statistics.collapse(y, (0, 1, 2))
    assert got.shape == (1, 3, 1, 1) and got.ravel().tolist() == [0, 1, 2]


def test_video_statistics_share_a_shape(sessions):
    recordings = Recordings.open(sessions)
    plain = statistics.video_stats(recordings.sessions)
    assert plain.mean_mthwc.shape == (2, 1, 1, 1, 1)
    assert plain.mean_mthwc.dtype == np.float32
    full = np.random.default_rng(1).random((H, W, 9)) + 1
    full[..., 8] = np.nan
    full[0, 0, 0] = 0
    for name in ("mean", "std"):
        put(sessions / "b", "videos", name, full)
    mixed = statistics.video_stats(Recordings.open(sessions).sessions)
    assert mixed.std_mthwc.shape == (2, 9, H, W, 1)
    np.testing.assert_allclose(mixed.std_mthwc[1, 3, ..., 0], full[..., 3], rtol=1e-6)
    np.testing.assert_array_equal(mixed.std_mthwc[0], plain.std_mthwc[0].item())
    assert mixed.std_mthwc[1, 8, 0, 0, 0] == 1 and mixed.mean_mthwc[1, 8, 0, 0, 0] == 0
    assert mixed.std_mthwc[1, 0, 0, 0, 0] == 1  # nothing to divide by


def test_precision_floors_before_it_is_cut(sessions):
    std = np.random.default_rng(1).random((N, 9)) + 1
    std[3, 4], std[:, 8] = 1e-5, np.nan
    put(sessions / "a", "responses", "std", std)
    session = Recordings.open(sessions)["a"]
    precision = statistics.precision(session)
    floor = 0.01 * np.nanmean(std)
    assert precision.shape == (9, N)
    np.testing.assert_allclose(precision[4, 3], 1 / floor, rtol=1e-6)
    np.testing.assert_allclose(precision[8], 1 / floor, rtol=1e-6)
    np.testing.assert_allclose(precision[:8, 0], 1 / std[0, :8], rtol=1e-6)
    assert at_frames(precision, slice(2, 6, 2)).shape == (2, N)
    pooled = statistics.precision(session, "per_neuron")
    assert pooled.shape == (1, N) and at_frames(pooled, slice(2, 6)) is pooled


def test_mean_rates_are_in_normalized_units(sessions):
    session = Recordings.open(sessions)[0]
    precision = statistics.precision(session)
    trials = [session.read("responses", i) * precision for i in range(4)]
    np.testing.assert_allclose(
        statistics.mean_rates(session), np.mean(trials, (0, 1)), rtol=1e-5
    )


def test_silent_mice_stay_finite(sessions):
    for name in ("mean", "std"):
        put(sessions / "a", "responses", name, np.zeros(N))
    session = Recordings.open(sessions)["a"]
    assert (statistics.mean_rates(session) == 0).all()
    assert np.isfinite(statistics.precision(session)).all()


def test_behavior_that_varies_per_frame(sessions):
    session = Recordings.open(sessions)[0]
    mean, std, usual = statistics.row_stats(session, "behavior")
    assert usual.shape == std.shape == (9, 2) and not mean.any()
    put(sessions / "a", "behavior", "std", np.array([2.0, 3.0]))
    std = statistics.row_stats(Recordings.open(sessions)["a"], "behavior").std_tk
    assert std.tolist() == [[2, 3]]


@pytest.mark.parametrize("what", ["behavior", "pupil_center"])
def test_minmax_signals_are_0_to_1_over_the_training_trials(sessions, what):
    session = Recordings.open(sessions)["a"]
    x_btk = np.stack([session.read(what, i) for i in range(4)])
    mean, std, usual = statistics.row_stats(session, what, "minmax")
    np.testing.assert_allclose(mean, x_btk.min(0), rtol=1e-6)
    np.testing.assert_allclose(std, x_btk.max(0) - x_btk.min(0), rtol=1e-5)
    np.testing.assert_allclose(usual, x_btk.mean(0), rtol=1e-5)


def test_minmax_video_is_0_to_1_over_the_training_trials(sessions):
    session = Recordings.open(sessions)["a"]
    mean, std = statistics.video_stats([session], "minmax")
    assert mean.shape == std.shape == (1, 1, 1, 1, 1)
    x_bthwc = np.stack([session.read("videos", i) for i in range(4)])
    got = standardize(x_bthwc, mean, std)
    assert got.min() == 0 and got.max() == 1


def test_constant_signals_are_divided_by_one(sessions):
    for name in ("min", "max"):
        put(sessions / "a", "behavior", name, np.array([3.0, 4.0]))
        put(sessions / "a", "videos", name, np.array(7.0))
    session = Recordings.open(sessions)["a"]
    mean, std, _ = statistics.row_stats(session, "behavior", "minmax")
    assert mean.tolist() == [[3, 4]] and std.tolist() == [[1, 1]]
    video = statistics.video_stats([session], "minmax")
    assert video.mean_mthwc.ravel() == [7] and video.std_mthwc.ravel() == [1]


def test_raw_inputs_have_nothing_to_undo(sessions):
    session = Recordings.open(sessions)["a"]
    video = statistics.video_stats([session, session], "raw")
    assert video.mean_mthwc.shape == (2, 1, 1, 1, 1)
    assert not video.mean_mthwc.any() and (video.std_mthwc == 1).all()
    stacked = statistics.stacked_rows([session], "pupil_center", 2, "raw")
    assert not stacked["mean"].any() and (stacked["std"] == 1).all()
    assert stacked["usual"][0].any()  # a mean as recorded, whatever the inputs


def test_missing_extremes_and_unknown_inputs_are_named(sessions):
    (sessions / "a/meta/statistics/pupil_center/all/max.npy").unlink()
    session = Recordings.open(sessions)["a"]
    statistics.row_stats(session, "pupil_center")
    with pytest.raises(UserError, match="no min and max of pupil_center"):
        statistics.row_stats(session, "pupil_center", "minmax")
    with pytest.raises(UserError, match="Did you mean 'minmax'"):
        statistics.video_stats([session], "min-max")


def test_raw_responses_stay_and_are_brought_to_the_judges_units(sessions):
    for session in Recordings.open(sessions).sessions:
        raw = statistics.precision(session, "raw")
        np.testing.assert_array_equal(raw, np.ones((1, session.neurons)))
        judged = statistics.to_judged(session, "raw")
        np.testing.assert_array_equal(judged, statistics.precision(session))
