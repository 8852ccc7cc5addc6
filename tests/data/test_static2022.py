"""Pictures are films of one frame."""

import numpy as np
import pytest

from sensorium_jax.data import statistics
from sensorium_jax.data.release import static2022
from sensorium_jax.data.release.write import SessionWriter
from sensorium_jax.errors import UserError

N, H, W = 4, 12, 16
TIERS = ["train"] * 4 + ["validation", "test", "final_test"]


def write(folder, channels=1):
    r = np.random.default_rng(0)
    shape = (H, W, channels)
    writer = SessionWriter(folder, rules="2022", neurons=N, frame_shape=shape)
    for i, tier in enumerate(TIERS):
        rows = (r.random((1, k)) for k in (N, 3, 2))
        writer.add(i, r.integers(0, 256, (1, *shape)), *rows, hidden="test" in tier)
    words = np.array([f"{i:032x}" for i in range(7)])
    writer.finish(TIERS, columns={"trial_idx": words})
    return folder


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("order", ["C", "F"])
def test_reads_one_frame(tmp_path, channels, order):
    folder = write(tmp_path / "m", channels)
    for path in (folder / "data").glob("*/*.npy"):
        np.save(path, np.array(np.load(path), np.float64, order=order))
    session = static2022.open_session(folder)
    image = np.load(folder / "data/images/2.npy")
    trial = session.trial(2)
    assert session.frame_shape == (H, W, channels) and session.rules.kind == "pictures"
    np.testing.assert_array_equal(trial.video_thwc[0], np.moveaxis(image, 0, -1))
    np.testing.assert_array_equal(
        trial.responses_tn[0], np.load(folder / "data/responses/2.npy").astype("f4")
    )
    assert trial.behavior_tk.shape == (1, 3) and trial.pupil_t2.shape == (1, 2)
    assert session.read("videos", 0, slice(0, 0)).shape == (0, H, W, channels)


def test_hidden_tiers_and_text_indexes(tmp_path):
    session = static2022.open_session(write(tmp_path / "m"))
    hidden = session.trials_of("final_test")
    assert hidden.tolist() == [6] and not session.read("responses", 6).any()
    assert session.columns["trial_idx"][6] == f"{6:032x}"
    assert session.trials_of("val").tolist() == [4]
    with pytest.raises(UserError, match="Did you mean 'validation'"):
        session.trials_of("validaton")


def test_statistics_of_all_before_stimulus_frame(tmp_path):
    folder = write(tmp_path / "m")
    other = folder / "meta/statistics/responses/stimulus_frame/std.npy"
    np.save(other, np.full(N, 7.0))
    session = static2022.open_session(folder)
    assert (session.statistics["responses"].std < 1).all()
    for path in (folder / "meta/statistics/responses/all").iterdir():
        path.unlink()
    (folder / "meta/statistics/responses/all").rmdir()
    session = static2022.open_session(folder)
    assert (session.statistics["responses"].std == 7).all()


@pytest.mark.parametrize("shape", [(), (1,), (2,), (2, 1, 1), (2, H, W), (H, W)])
def test_layouts_of_image_statistics(tmp_path, shape):
    folder = write(tmp_path / "m", 2)
    values = np.random.default_rng(0).random(shape)
    np.save(folder / "meta/statistics/images/all/mean.npy", values)
    session = static2022.open_session(folder)
    mean = statistics.video_stats([session]).mean_mthwc[0, 0]
    plain = values.reshape(-1, 1, 1) if values.ndim == 1 else values
    expected = np.broadcast_to(plain, (2, H, W))
    got = np.broadcast_to(mean, (H, W, 2))
    np.testing.assert_allclose(got, np.moveaxis(expected, 0, -1), rtol=1e-6)


def test_zeroed_behavior_divides_by_one(tmp_path):
    folder = write(tmp_path / "m")
    for name in ("mean", "std"):
        np.save(folder / f"meta/statistics/behavior/all/{name}.npy", np.zeros(3))
    session = static2022.open_session(folder)
    np.testing.assert_array_equal(statistics.row_stats(session, "behavior").std_tk, 1)


def test_misfitting_statistics(tmp_path):
    folder = write(tmp_path / "m")
    np.save(folder / "meta/statistics/responses/all/std.npy", np.ones(N + 1))
    with pytest.raises(UserError, match=r"responses have shape \(5,\)"):
        static2022.open_session(folder)
