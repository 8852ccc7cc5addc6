"""What is written: resumable, the same after any kill, in bounded memory."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sensorium_jax.cli import main
from sensorium_jax.errors import UserError
from support.recordings import foreign
from support.recordings.official import snapshot

ROOT = Path(__file__).parents[3]


class Killed(BaseException):
    """What no handler of the package catches."""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A description of arrays, and the tree it becomes undisturbed."""
    root = tmp_path_factory.mktemp("source")
    path = foreign.described(root / "y", foreign.recorded())
    foreign.bring(path, root / "whole")
    return path, snapshot(root / "whole/fish")


def interrupt(monkeypatch, after):
    """Die at the given file that takes its final name, before or after it does."""
    replace, count = os.replace, iter(range(10_000))

    def dying(*args):
        number = next(count)
        if number == after and after % 2:
            raise Killed
        replace(*args)
        if number == after:
            raise Killed

    monkeypatch.setattr(os, "replace", dying)


@pytest.mark.parametrize("after", [0, 1, 2, 5, 9, 14, 23, 31, 44, 52, 57])
def test_killed_at_any_instant_and_rerun_gives_the_same_tree(
    source, tmp_path, monkeypatch, after
):
    path, whole = source
    with monkeypatch.context() as patch:
        interrupt(patch, after)
        with pytest.raises(Killed):
            foreign.bring(path, tmp_path)
    kept = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("data/*/*.npy")}
    outcome = foreign.bring(path, tmp_path)
    assert snapshot(tmp_path / "fish") == whole and outcome.code == 0
    # Trials that were there are not made again.
    responses = {p for p in kept if p.parent.name == "responses"}
    assert all(p.stat().st_mtime_ns == kept[p] for p in responses)


def test_the_kills_above_cover_the_whole_run(source, tmp_path, monkeypatch):
    calls, replace = [], os.replace
    monkeypatch.setattr(os, "replace", lambda *a: (calls.append(a), replace(*a)))
    foreign.bring(source[0], tmp_path)
    assert 57 < len(calls) < 62


def test_again_is_nothing_to_do_and_other_flags_are_refused(source, tmp_path):
    path, whole = source
    foreign.bring(path, tmp_path)
    again = foreign.bring(path, tmp_path)
    assert "there already" in again.text and snapshot(tmp_path / "fish") == whole
    with pytest.raises(UserError, match="imported with other flags"):
        foreign.bring(path, tmp_path, method="nearest")
    foreign.bring(path, tmp_path, method="nearest", name="other")
    assert {p.name for p in tmp_path.iterdir() if p.is_dir()} == {"fish", "other"}


def test_a_half_made_import_with_other_flags_is_refused(source, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt(patch, 9)
        with pytest.raises(Killed):
            foreign.bring(source[0], tmp_path)
    with pytest.raises(UserError, match="a part of another import"):
        foreign.bring(source[0], tmp_path, max_gap=1.0)


def test_other_folders_are_left_alone(source, tmp_path):
    (tmp_path / "fish").mkdir()
    (tmp_path / "fish/notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other files"):
        foreign.bring(source[0], tmp_path)
    assert (tmp_path / "fish/notes.txt").read_text() == "mine"
    inner = tmp_path / "whole"
    (inner / "data").mkdir(parents=True)
    with pytest.raises(UserError, match="is a recording itself"):
        foreign.bring(source[0], inner)


def test_flags_that_a_format_does_not_read_are_refused(source, tmp_path):
    words = "--stimulus-times x says nothing about arrays: the YAML file names it"
    with pytest.raises(UserError, match=words):
        foreign.bring(source[0], tmp_path, stimulus_times="x")
    with pytest.raises(UserError, match="--behavior run.npy says nothing"):
        foreign.bring(source[0], tmp_path, behavior="run.npy")
    with pytest.raises(UserError, match="--window is of pictures"):
        foreign.bring(source[0], tmp_path, window=(0.0, 1.0))
    folder = foreign.experanto(tmp_path / "exp", foreign.recorded())
    with pytest.raises(UserError, match="--tiers use says nothing about experanto"):
        foreign.bring(folder, tmp_path, tiers="use")
    path = tmp_path / "a.nwb"
    path.write_bytes(b"not read before flags")
    with pytest.raises(UserError, match="--neuropil 0.5 says nothing about nwb"):
        foreign.bring(path, tmp_path, neuropil=0.5)


def test_without_a_place_to_write_to_the_usage_is_told(source, capsys):
    assert main(["import", str(source[0])]) == 2
    assert "Say where to write to" in capsys.readouterr().err


def test_a_lone_trial_is_told_to_validate_nothing(tmp_path):
    path = foreign.described(tmp_path / "y", foreign.recorded())
    whole = {"trials": "none", "trial_seconds": 12.0}
    outcome = foreign.bring(path, tmp_path / "out", **whole)
    assert "no tier validates" in outcome.text and outcome.data["tiers"] == {"train": 1}


def test_dry_run_writes_nothing(source, tmp_path):
    outcome = foreign.bring(source[0], tmp_path / "out", dry_run=True)
    assert "8 trials of 20 frames" in outcome.text and "linear" in outcome.text
    assert not (tmp_path / "out").exists() and outcome.data["notes"] == []


def test_what_was_chosen_is_written_down(source, tmp_path):
    foreign.bring(source[0], tmp_path, pupil="none", rate=5.0, clip=True)
    config = json.loads((tmp_path / "fish/config.json").read_text())
    imported = config["imported"]
    assert imported["format"] == "arrays" and imported["source"] == "mine.yaml"
    assert imported["responses"] == ["dff.npy"] and "pupil_center" not in imported
    assert imported["methods"] == {"responses": ["linear"], "behavior": ["mean"]}
    assert imported["flags"] == {"pupil": "none", "rate": 5.0, "clip": True}
    assert imported["frames_per_second"] == config["frames_per_second"] == 5.0


def test_trials_with_long_nan_are_left_out_and_told(tmp_path):
    rec = foreign.recorded()
    path = foreign.described(tmp_path / "y", rec)
    values = foreign.activity(rec.imaging_s)
    values[(rec.imaging_s > 8.5) & (rec.imaging_s < 9.5), 2] = np.nan
    values[:, 4] = np.nan  # a unit without any number is left out instead
    np.save(tmp_path / "y/dff.npy", values)
    outcome = foreign.bring(path, tmp_path / "out")
    assert "1 trials have NaN for longer" in outcome.text
    assert "1 units are NaN throughout" in outcome.text
    session = foreign.opened(tmp_path / "out", "fish")
    assert session.neurons == 4 and session.unit_ids_n.tolist() == [0, 1, 2, 3]
    assert session.files.tolist() == [0, 1, 2, 4, 5, 6, 7]
    assert foreign.is_whole(session, rec, neurons=range(4), rows=[0, 1, 2])


def test_units_that_are_nan_in_whole_trials_are_missing_there(tmp_path):
    rec = foreign.recorded()
    values = foreign.activity(rec.imaging_s)
    gone = (rec.imaging_s > rec.starts[5] - 0.2) & (rec.imaging_s < rec.stops[5] + 0.2)
    values[gone, 2] = np.nan
    apart = [0, 1, 2, 3, 5, 7]  # so that no other trial touches the gap
    rec = rec._replace(starts=rec.starts[apart], stops=rec.stops[apart])
    path = foreign.described(tmp_path / "y", rec)
    np.save(tmp_path / "y/dff.npy", values)
    foreign.bring(path, tmp_path / "out")
    session = foreign.opened(tmp_path / "out", "fish")
    want_rn = np.zeros((6, 5), bool)
    want_rn[4, 2] = True
    np.testing.assert_array_equal(session.missing_rn, want_rn)
    others = [0, 1, 3, 4]
    seconds = rec.starts[4] + np.arange(20) / foreign.FPS
    kept = session.read("responses", 4)
    np.testing.assert_array_equal(kept[:, 2], 0)
    expected = foreign.activity(seconds)[:, others]
    np.testing.assert_allclose(kept[:, others], expected, atol=0.12)


def test_negative_responses_are_told_and_clipped(tmp_path):
    rec = foreign.recorded()
    path = foreign.described(tmp_path / "y", rec)
    np.save(tmp_path / "y/dff.npy", foreign.activity(rec.imaging_s) - 2)
    outcome = foreign.bring(path, tmp_path / "out")
    assert "of the responses are negative" in outcome.text
    foreign.bring(path, tmp_path / "clipped", clip=True)
    session = foreign.opened(tmp_path / "clipped", "fish")
    assert min(session.read("responses", i).min() for i in range(8)) == 0


def test_frames_are_made_smaller_by_area(tmp_path):
    rec = foreign.recorded()
    path = foreign.described(tmp_path / "y", rec)
    foreign.bring(path, tmp_path / "out", size=(3, 4))
    session = foreign.opened(tmp_path / "out", "fish")
    whole = rec.film_thw[:20].reshape(20, 3, 2, 4, 2).mean((2, 4))
    video = session.read("videos", 0)
    assert video.dtype == np.uint8 and np.abs(video[..., 0] - whole).max() <= 0.5


def test_without_a_table_the_recording_is_cut(tmp_path):
    rec = foreign.recorded()
    path = foreign.described(tmp_path / "y", rec)
    foreign.bring(path, tmp_path / "out", trials="none", trial_seconds=3.0)
    session = foreign.opened(tmp_path / "out", "fish")
    assert session.trials == 5 and session.reader.length(0) == 30
    np.testing.assert_array_equal(
        session.read("videos", 1)[..., 0], rec.film_thw[30:60]
    )


def test_the_page_is_drawn_also_without_repeats_behavior_and_pupil(tmp_path):
    rec = foreign.recorded()
    path = foreign.described(tmp_path / "y", rec)
    flags = {"trials": "none", "behavior": "none", "pupil": "none"}
    flags |= {"trial_seconds": 3.0, "figure": True}
    foreign.bring(path, tmp_path / "out", **flags)
    assert (tmp_path / "out/fish.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.soak
def test_a_real_kill_at_ten_instants(source, tmp_path):
    path, whole = source
    code = "from sensorium_jax.cli import main; main({!r})"
    words = ["import", str(path), str(tmp_path)]
    command = [sys.executable, "-c", code.format(words)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    for trial in range(10):
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        mark = tmp_path / f"fish/data/responses/{trial - 1}.npy"
        while process.poll() is None and trial and not mark.exists():
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    assert snapshot(tmp_path / "fish") == whole


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["arrays", "suite2p"])
def test_memory_does_not_grow_with_the_recording(tmp_path, kind):
    """100,000 neurons of 2 and 6 minutes: the same peak, below 2 GB."""
    peaks = []
    for minutes in (2, 6):
        place = tmp_path / str(minutes)
        words = [sys.executable, __file__, kind, str(place), str(minutes)]
        paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        environment = os.environ | {"PYTHONPATH": paths, "JAX_PLATFORMS": "cpu"}
        done = subprocess.run(words, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout.split()[-1]) / 1e6)  # GB
    print(f"peaks of {kind}: {peaks} GB")
    assert max(peaks) < 2 and peaks[1] < 1.15 * peaks[0], peaks


def large(kind, place, minutes, neurons=100_000, rate=10.0):
    """Import a large recording of noise, draw its page, print the peak memory in kB."""
    import resource

    place.mkdir()
    rng = np.random.default_rng(0)
    frames, samples = int(minutes * 60 * 30), int(minutes * 60 * rate)
    np.save(place / "film.npy", rng.integers(0, 256, (frames, 36, 64), np.uint8))
    stimulus = place / "film.npy"
    if kind == "suite2p":
        plane = place / "s/plane0"
        plane.mkdir(parents=True)
        _noise(plane / "spks.npy", neurons, samples)
        np.save(plane / "iscell.npy", np.ones((neurons, 2)))
        np.save(plane / "ops.npy", {"fs": rate})
        flags = {"stimulus": str(stimulus), "stimulus_times": "30"}
        source = place / "s"
    else:
        _noise(place / "x.npy", samples, neurons)
        flags, source = {}, place / "mine.yaml"
        source.write_text(
            "stimulus: {file: film.npy, rate: 30}\n"
            f"responses: {{file: x.npy, rate: {rate}}}\n"
        )
    foreign.bring(source, place / "out", figure=True, **flags)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _noise(path, rows, columns):
    """A .npy file of random numbers, written in parts.

    Not through a memory map, whose pages would count as memory of this process.
    """
    rng = np.random.default_rng(1)
    header = {"descr": "<f4", "fortran_order": False, "shape": (rows, columns)}
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for begin in range(0, rows, 100):
            rng.random((min(100, rows - begin), columns), np.float32).tofile(file)


if __name__ == "__main__":
    large(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]))
