"""Trees come out in the releases' shapes, whole or not at all."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.release.write import SessionWriter, write_session
from sensorium_jax.errors import UserError
from sensorium_jax.io.atomic import save_npy

TIERS = ["train", "train", "train", "oracle", "live_test_main"]
LENGTHS = [20, 22, 24, 21, 23]


def trial(i, neurons=5, shape=(6, 8, 1)):
    r = np.random.default_rng(i)
    t = LENGTHS[i]
    video = r.integers(0, 256, (t, *shape)).astype(np.float32)
    return video, r.gamma(1, size=(t, neurons)), r.random((t, 2)), r.random((t, 2))


def write(folder, layout="per_neuron", **options):
    options = {"rules": "2023", "neurons": 5, "frame_shape": (6, 8, 1), **options}
    writer = SessionWriter(folder, **options)
    for i, tier in enumerate(TIERS):
        arrays = trial(i, options["neurons"], options["frame_shape"])
        writer.add(i, *arrays, hidden="test" in tier)
    return writer.finish(TIERS, coordinates=np.ones((5, 3)), layout=layout)


def test_round_trip(tmp_path):
    write(tmp_path / "m", pad_to=30)
    session = Recordings.open(tmp_path)[0]
    for i in range(4):
        video, responses, behavior, pupil = trial(i)
        got = session.trial(i)
        np.testing.assert_array_equal(got.video_thwc, video)
        np.testing.assert_allclose(got.responses_tn, responses, rtol=1e-6)
        np.testing.assert_allclose(got.behavior_tk, behavior, rtol=1e-6)
        np.testing.assert_allclose(got.pupil_t2, pupil, rtol=1e-6)
    hidden = np.load(tmp_path / "m/data/responses/4.npy")
    assert hidden.shape == (5, 30) and not hidden.any()
    assert session.trial(4).video_thwc.shape[0] == LENGTHS[4]


def test_statistics_are_those_of_the_training_trials(tmp_path):
    write(tmp_path / "m", "per_frame", pad_to=30)
    place = tmp_path / "m/meta/statistics"
    padded = np.full((3, 5, 30), np.nan)
    for i in range(3):
        padded[i, :, : LENGTHS[i]] = trial(i)[1].T
    std = np.load(place / "responses/all/std.npy")
    assert std.shape == (5, 30) and np.isnan(std[:, 24:]).all()
    np.testing.assert_allclose(std[:, :22], np.nanstd(padded[..., :22], 0), atol=1e-6)
    # One trial alone reaches further: the spread of the whole row.
    whole = np.nanstd(np.moveaxis(padded, 1, 0).reshape(5, -1), 1)
    np.testing.assert_allclose(std[:, 22:24], whole[:, None].repeat(2, 1), rtol=1e-5)
    median = np.load(place / "responses/all/median.npy")
    np.testing.assert_allclose(median[:, :22], np.nanmedian(padded[..., :22], 0))
    whole = np.median(np.nanmedian(padded[..., :24], 0), 1)
    np.testing.assert_allclose(median[:, 22:24], whole[:, None].repeat(2, 1))
    pixels = np.concatenate([trial(i)[0].ravel() for i in range(3)])
    for name, expected in (("mean", pixels.mean()), ("std", pixels.std())):
        found = np.load(place / f"videos/all/{name}.npy")
        assert found.shape == (6, 8, 30)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_statistics_per_neuron(tmp_path):
    write(tmp_path / "m")
    place = tmp_path / "m/meta/statistics"
    joined = np.concatenate([trial(i)[1] for i in range(3)])
    for name in ("mean", "std", "min", "max", "median"):
        found = np.load(place / f"responses/all/{name}.npy")
        assert found.shape == (5, 1)  # what the official loader can broadcast
        np.testing.assert_allclose(found[:, 0], getattr(np, name)(joined, 0), rtol=1e-5)
    assert np.load(place / "videos/all/mean.npy").shape == ()


def test_pictures_and_their_two_statistics(tmp_path):
    r = np.random.default_rng(0)
    images = [r.integers(0, 256, (1, 8, 12)) for _ in range(12)]
    images[10:] = [images[0], images[0]]
    responses = [r.random(3) for _ in range(12)]
    write_session(tmp_path / "p", videos=images, responses=responses)
    assert np.load(tmp_path / "p/data/images/3.npy").shape == (1, 8, 12)
    assert np.load(
        tmp_path / "p/meta/statistics/responses/stimulus_frame/std.npy"
    ).shape
    session = Recordings.open(tmp_path)[0]
    assert session.rules.kind == "pictures"
    assert session.trials_of("validation").tolist() == [0, 10, 11]
    assert session.columns["frame_image_id"][10] == session.columns["frame_image_id"][0]


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_colors(tmp_path, dtype):
    write(tmp_path / "m", frame_shape=(6, 8, 2), video_dtype=dtype, pad_to=30)
    session = Recordings.open(tmp_path)[0]
    assert session.frame_shape == (6, 8, 2) and session.video_dtype == dtype
    np.testing.assert_array_equal(
        session.trial(1).video_thwc, trial(1, 5, (6, 8, 2))[0]
    )


def test_resumes_after_a_kill(tmp_path):
    code = f"""
import os, numpy as np
from sensorium_jax.data.release.write import SessionWriter
w = SessionWriter({str(tmp_path / "m")!r}, neurons=5, frame_shape=(6, 8, 1))
w.add(0, np.zeros((9, 6, 8, 1)), np.zeros((9, 5)))
replace = os.replace
def dies(written, path):
    if "responses" in str(path): os._exit(9)
    replace(written, path)
os.replace = dies
w.add(1, np.zeros((9, 6, 8, 1)), np.zeros((9, 5)))
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    writer = SessionWriter(tmp_path / "m", neurons=5, frame_shape=(6, 8, 1))
    assert writer.has(0) and not writer.has(1) and not writer.finished
    names = [p.name for p in (tmp_path / "m/data").rglob("*") if p.is_file()]
    assert sorted(names) == ["0.npy", "0.npy", "1.npy"]
    with pytest.raises(UserError, match="tiers.npy is missing|differ in trial 1"):
        Recordings.open(tmp_path)
    writer.add(1, np.zeros((9, 6, 8, 1)), np.zeros((9, 5)))
    writer.finish(["train", "oracle"])
    assert writer.finished and not (tmp_path / "m/.partial").exists()
    assert Recordings.open(tmp_path)[0].trials == 2


def test_a_failing_save_leaves_the_old_file(tmp_path):
    save_npy(tmp_path / "a.npy", np.arange(3))
    with pytest.raises(ValueError):
        save_npy(tmp_path / "a.npy", [[1], [1, 2]])
    assert np.load(tmp_path / "a.npy").tolist() == [0, 1, 2]
    assert [p.name for p in tmp_path.iterdir()] == ["a.npy"]


def test_refuses_what_does_not_fit(tmp_path):
    writer = SessionWriter(tmp_path / "m", neurons=5, frame_shape=(6, 8, 1))
    video, responses, *_ = trial(0)
    with pytest.raises(UserError, match=r"responses has shape \(5, 20\).*\(20, 5\)"):
        writer.add(0, video, responses.T)
    gap = np.where(np.arange(20)[:, None] == 3, np.nan, responses)
    with pytest.raises(UserError, match="holds a NaN"):
        writer.add(0, video, gap)
    writer.add(0, video, responses)
    with pytest.raises(UserError, match="never added, the first is 1"):
        writer.finish(["train", "oracle"])
    with pytest.raises(UserError, match="no trial of tier 'train'"):
        writer.finish(["oracle"])
    with pytest.raises(UserError, match="4 rows, expected 5"):
        writer.finish(["train"], coordinates=np.zeros((4, 3)))
    done = write(tmp_path / "done")
    with pytest.raises(UserError, match="done holds a session. Remove it"):
        write_session(done, videos=[video], responses=[responses])
    with pytest.raises(UserError, match="as many of each"):
        write_session(tmp_path / "n", videos=[video], responses=[])


@pytest.mark.parametrize("neurons", [1, 100_000])
def test_any_number_of_neurons(tmp_path, neurons):
    videos = [np.zeros((2, 3, 3)), np.ones((2, 3, 3))] * 2
    responses = [np.full((2, neurons), i, np.float32) for i in range(4)]
    tiers = ["train", "train", "oracle", "oracle"]
    write_session(tmp_path / "m", videos=videos, responses=responses, tiers=tiers)
    recordings = Recordings.open(tmp_path)
    assert recordings[0].read("responses", 3).shape == (2, neurons)
    assert recordings.mouse_info().mean_rates_mn.shape == (1, neurons)


def test_the_example_of_the_docs_runs(tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs/your-data.md").read_text()
    code = re.findall(r"```python\n(.*?)```", page, re.S)[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "your-data.md", "exec"), {})
    assert capsys.readouterr().out == (
        "('fish1',) 12 [ 5  6  7  8  9 10 11 12 13 14]\n"
    )


def test_statistics_of_many_neurons_are_those_of_few(tmp_path, monkeypatch):
    from sensorium_jax.data.release import layout_statistics

    rng = np.random.default_rng(0)
    files = [tmp_path / f"{i}.npy" for i in range(11)]
    for file in files:
        np.save(file, rng.gamma(1, 2, (23, 9)).astype(np.float32))
    whole = layout_statistics.moments(files, "row")
    monkeypatch.setattr(layout_statistics, "ROWS", 5)
    parts = layout_statistics.moments(files, "row")
    for key, values in whole.items():
        np.testing.assert_array_equal(parts[key], values)
