"""Folders of films: doubles, Fortran order, gaps, unequal tails, odd statistics."""

import shutil

import numpy as np
import pytest

from sensorium_jax.data import statistics
from sensorium_jax.data.check.check import check
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.release import dynamic2023
from sensorium_jax.data.release.write import SessionWriter
from sensorium_jax.errors import UserError

T, N, H, W = 12, 5, 6, 8


def write(folder, shape=(H, W, 1), tiers=("train",) * 4 + ("oracle",) * 2, pad_to=16):
    r = np.random.default_rng(0)
    writer = SessionWriter(
        folder, rules="2023", neurons=N, frame_shape=shape, pad_to=pad_to
    )
    for i in range(len(tiers)):
        rows = (r.random((T, k)) for k in (N, 2, 2))
        writer.add(i, r.integers(0, 256, (T, *shape)), *rows)
    writer.finish(tiers)
    return folder


def change(folder, what, function, files=range(6)):
    for i in files:
        path = folder / f"data/{what}/{i}.npy"
        np.save(path, function(np.load(path)))


def statistic(folder, what, array, names=("mean", "std")):
    for name in names:
        np.save(folder / f"meta/statistics/{what}/all/{name}.npy", array)


def test_length_is_the_first_nan_of_any_modality(tmp_path):
    folder = write(tmp_path / "m")
    tails = {"videos": 11, "responses": 10, "behavior": 9, "pupil_center": 8}
    for i, (what, length) in enumerate(tails.items()):
        x = np.load(folder / f"data/{what}/{i}.npy")
        x[..., length:] = np.nan
        np.save(folder / f"data/{what}/{i}.npy", x)
    session = dynamic2023.open_session(folder)
    assert [session.reader.length(i) for i in range(6)] == [11, 10, 9, 8, 12, 12]
    assert {len(x) for x in session.trial(3)} == {8}


def test_a_trial_longer_than_its_statistics_ends_with_them(tmp_path):
    folder = write(tmp_path / "m")
    std = np.ones((2, 16))
    std[:, 7:] = np.nan
    statistic(folder, "behavior", std)
    assert dynamic2023.open_session(folder).reader.length(0) == 7


RAGGED = (10, 10, 10, 14, 15, 9)  # a training trial and one to score go beyond 10


def ragged(folder, layout, *, rules="2023", pad_to=None):
    """Trials of these lengths, as our writer writes them."""
    r = np.random.default_rng(2)
    writer = SessionWriter(
        folder, rules=rules, neurons=N, frame_shape=(H, W, 1), pad_to=pad_to
    )
    for i, t in enumerate(RAGGED):
        video = r.integers(0, 256, (t, H, W, 1))
        writer.add(i, video, *(r.random((t, k)) for k in (N, 2, 2)))
    return writer.finish(["train"] * 4 + ["oracle"] * 2, layout=layout)


def bare_statistics(folder, whats=("videos", "responses", "behavior", "pupil_center")):
    """Mean and std of every value over the training trials, whoever reaches it."""
    for what in whats:
        files = [np.load(folder / f"data/{what}/{i}.npy") for i in range(6)]
        every = np.full((6, *files[0].shape[:-1], max(RAGGED)), np.nan)
        for row, x in zip(every, files, strict=True):
            row[..., : x.shape[-1]] = x
        there = ~np.isnan(every[:4]).all(0)
        for name, function in (("mean", np.nanmean), ("std", np.nanstd)):
            values = function(np.where(there, every[:4], 0), axis=0)
            statistic(folder, what, np.where(there, values, np.nan), [name])


def official_length(folder, i):
    """Frames that the official loader keeps: it normalizes, then cuts at a NaN."""
    ends = []
    for what in ("videos", "behavior", "pupil_center"):
        x = np.load(folder / f"data/{what}/{i}.npy")
        mean, std = (
            np.load(folder / f"meta/statistics/{what}/all/{name}.npy")[..., : RAGGED[i]]
            for name in ("mean", "std")
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            x = x * (1 / std) if what == "behavior" else (x - mean) / std
        gone = np.isnan(x).reshape(-1, RAGGED[i]).any(0)
        ends.append(int(gone.argmax()) if gone.any() else RAGGED[i])
    return min(ends)


def lengths(folder, rules="2023"):
    session = Recordings.open(folder, rules)[0]
    return [session.reader.length(i) for i in range(6)]


def test_frames_that_one_training_trial_reaches_are_cut_as_officially(tmp_path):
    folder = ragged(tmp_path / "m", "per_frame")
    bare_statistics(folder)
    official = [official_length(folder, i) for i in range(4)]
    assert official == [10, 10, 10, 10]
    assert lengths(folder)[:4] == official
    # Nothing is divided by zero in a trial to score that goes as far.
    assert lengths(folder)[4:] == [10, 9]
    assert lengths(folder, "own") == [10, 10, 10, 14, 14, 9]
    assert {len(x) for x in Recordings.open(folder)[0].trial(3)} == {10}
    alone = [f for f in check(folder) if "only one training trial" in f.finding]
    remedies = {f.file.split("/")[-3]: f.remedy for f in alone}
    assert set(remedies) == {"videos", "responses", "behavior", "pupil_center"}
    assert "trials end before them" in remedies["videos"]
    assert "smallest std" in remedies["responses"]
    assert {f.level for f in check(folder)} == {"warning"}


def test_our_writer_leaves_no_frame_without_a_spread(tmp_path):
    folder = ragged(tmp_path / "m", "per_frame")
    for what in ("videos", "responses", "behavior", "pupil_center"):
        std = np.load(folder / f"meta/statistics/{what}/all/std.npy")
        assert (std[..., :14] > 0).all()
    assert [official_length(folder, i) for i in range(4)] == list(RAGGED[:4])
    assert lengths(folder) == [10, 10, 10, 14, 14, 9]
    assert not any("only one training trial" in f.finding for f in check(folder))


def test_a_signal_that_never_varies_cuts_nothing(tmp_path):
    folder = write(tmp_path / "m", pad_to=None)
    statistic(folder, "behavior", np.zeros((2, T)), ["std"])
    assert dynamic2023.open_session(folder).reader.length(0) == T
    std = np.ones((2, T))
    std[0, 5:] = 0  # one of two signals: the animal stands still
    statistic(folder, "behavior", std, ["std"])
    assert dynamic2023.open_session(folder).reader.length(0) == T


@pytest.mark.parametrize("shape", [(H, W, 1), (H, W, 2)])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kinds_and_orders_of_files(tmp_path, shape, order, dtype):
    folder = write(tmp_path / "m", shape)
    plain = dynamic2023.open_session(folder).trial(1)
    for what in ("videos", "responses", "behavior", "pupil_center"):
        change(folder, what, lambda x: np.array(x, dtype, order=order))
    session = dynamic2023.open_session(folder)
    assert session.frame_shape == shape and session.video_dtype == np.float32
    for a, b in zip(plain, session.trial(1), strict=True):
        assert b.dtype == np.float32
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("frames", [slice(2, 9), slice(1, 12, 3), slice(4, 4)])
def test_reads_just_the_frames(tmp_path, frames):
    session = dynamic2023.open_session(write(tmp_path / "m", (H, W, 2)))
    for what in ("videos", "responses", "behavior", "pupil_center"):
        whole, part = session.read(what, 2), session.read(what, 2, frames)
        np.testing.assert_array_equal(part, whole[frames])


def test_bytes_stay_bytes(tmp_path):
    folder = write(tmp_path / "m", pad_to=None)
    change(folder, "videos", lambda x: x.astype(np.uint8))
    session = dynamic2023.open_session(folder)
    assert session.read("videos", 0).dtype == np.uint8
    change(folder, "videos", lambda x: x.astype(np.float32) + 0.5, files=[3])
    with pytest.raises(UserError, match="3.npy holds float32"):
        session.read("videos", 3)


def test_gaps_in_file_numbers(tmp_path):
    folder = write(tmp_path / "m", tiers=["train", "train", "none", "oracle", "train"])
    expected = dynamic2023.open_session(folder).trial(3)
    np.save(folder / "meta/trials/clip.npy", np.arange(5) * 10)
    for path in (folder / "data").glob("*/2.npy"):
        path.unlink()
    session = dynamic2023.open_session(folder)
    assert session.files.tolist() == [0, 1, 3, 4]
    assert session.tiers.tolist() == ["train", "train", "oracle", "train"]
    assert session.columns["clip"].tolist() == [0, 10, 30, 40]
    for a, b in zip(expected, session.trial(2), strict=True):
        np.testing.assert_array_equal(a, b)
    # A table with one row per file that is there
    np.save(folder / "meta/trials/tiers.npy", np.array(["a", "b", "c", "d"]))
    session = dynamic2023.open_session(folder)
    assert session.tiers.tolist() == list("abcd") and session.files[2] == 3


def test_extra_and_missing_pieces(tmp_path):
    folder = write(tmp_path / "m")
    for gone in ("config.json", "data/behavior", "data/pupil_center", "meta/neurons"):
        path = folder / gone
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    np.save(folder / "meta/trials/session.npy", np.array([b"x"] * 6))
    np.save(folder / "meta/trials/odd.npy", np.array([{}, None]), allow_pickle=True)
    (folder / "meta/ground_truth").mkdir()
    session = dynamic2023.open_session(folder)
    assert session.behaviors == 0 and not session.has_pupil
    assert session.coordinates_n3 is None
    assert session.unit_ids_n.tolist() == [0, 1, 2, 3, 4]
    assert session.columns["session"][0] == "x" and "odd" not in session.columns
    assert session.trial(0).behavior_tk.shape == (T, 0)
    assert session.trial(0).pupil_t2.shape == (T, 2)


def test_links_of_the_config(tmp_path):
    folder = write(tmp_path / "m")
    (folder / "data/responses").rename(folder / "data/spikes")
    (folder / "config.json").write_text('{"links": {"responses": "spikes"}}')
    assert dynamic2023.open_session(folder).read("responses", 0).shape == (T, N)


@pytest.mark.parametrize(
    ("what", "shape", "expected"),
    [
        ("videos", (), ()),
        ("videos", (1,), ()),
        ("videos", (2,), (1, 1, 2)),
        ("videos", (H, W), (H, W, 1)),
        ("videos", (2, H, W), (H, W, 2)),
        ("videos", (H, W, 16), (16, H, W, 1)),
        ("videos", (2, H, W, 16), (16, H, W, 2)),
        ("videos", (16,), (16, 1, 1, 1)),
        ("responses", (), (N,)),
        ("responses", (N,), (N,)),
        ("responses", (N, 1), (N,)),
        ("responses", (N, 16), (16, N)),
        ("behavior", (2,), (2,)),
        ("behavior", (2, 16), (16, 2)),
        ("pupil_center", (16,), (16, 1)),
    ],
)
def test_every_layout_of_statistics(tmp_path, what, shape, expected):
    folder = write(tmp_path / "m", (H, W, 2))
    values = np.random.default_rng(1).random(shape) + 1
    statistic(folder, what, values)
    session = dynamic2023.open_session(folder)
    found = session.statistics[what].std
    assert found.shape == expected
    np.testing.assert_allclose(np.sort(np.unique(found)), np.sort(values.ravel()))
    statistics.video_stats([session])
    statistics.precision(session)


@pytest.mark.parametrize(
    ("what", "shape"),
    [("videos", (H, W + 1, 16)), ("responses", (N + 1, 16)), ("behavior", (2, 9))],
)
def test_statistics_that_do_not_fit(tmp_path, what, shape):
    folder = write(tmp_path / "m")
    statistic(folder, what, np.ones(shape))
    with pytest.raises(UserError, match=f"statistics of {what} have shape"):
        dynamic2023.open_session(folder)


def test_stray_files_and_numbers(tmp_path):
    session = dynamic2023.open_session(write(tmp_path / "n"))
    path = tmp_path / "n/data/responses/1.npy"
    np.save(path, np.load(path)[:3])
    with pytest.raises(UserError, match="1.npy gives .* expected"):
        session.read("responses", 1)
    lost = np.ones((N, 16))
    lost[1] = np.nan
    np.save(path, lost)
    with pytest.raises(UserError, match="NaN at frame 2"):
        session.read("responses", 1, slice(2, 8))
    path.write_bytes(b"half a file")
    with pytest.raises(UserError, match="1.npy cannot be read"):
        session.read("responses", 1)
    path.unlink()
    with pytest.raises(UserError, match="1.npy is missing"):
        session.read("responses", 1)
