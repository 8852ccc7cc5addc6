"""Verbs of experiments: what they write, that they resume, and what they refuse."""

import importlib
import io
import json
import random
import subprocess
import sys
import time
from contextlib import redirect_stdout
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tensorstore

from sensorium_jax import insilico
from sensorium_jax.cli import main
from sensorium_jax.errors import UserError
from sensorium_jax.report.contents import Neuron
from sensorium_jax.run import report
from sensorium_jax.run.insilico import asked, rf, shown
from support.cells import GREY, UNIT, cells, kept, one_device, true_cells  # noqa: F401
from support.quick import quick  # noqa: F401

RF = "rf --neurons 0-1,9 --clips 2 --seed 3"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Three true cells on disk."""
    return kept(tmp_path_factory.mktemp("truth"), true_cells("simple", 3))


@pytest.fixture
def made(monkeypatch):
    """Whatever tree is named, small cells answer whose rates are a formula."""
    monkeypatch.setattr(asked.truths, "load", lambda path: cells())


def run(words, tree, out, capsys):
    """Exit code, JSON and words on standard error."""
    code = main([*words.split(), "--truth", str(tree), "--out", str(out), "--json"])
    said, err = capsys.readouterr()
    return code, json.loads(said), err


def test_a_result_is_written_and_resumed(made, tree, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(rf.BLOCK, "gradient", 1)
    out = tmp_path / "rf"
    code, said, _ = run(RF, tree, out, capsys)
    assert code == 0 and said["neurons"] == [0, 1]
    assert said["failed"] == {"9": "there is no such neuron: made has numbers 0 to 6"}
    assert said["about"]["seed"] == 3 and said["about"]["behavior"] == [0.0]
    names = {p.name for p in out.iterdir()}
    assert names == {"request.json", "rf.npz", "rf.json", "rf.png"}
    first = insilico.load(out / "rf.npz")

    # Killed after the first block: only the second is asked again.
    arrays = {k: v[:1] for k, v in first.arrays.items()}
    part = replace(first, failed={}, neurons=first.neurons[:1], arrays=arrays)
    part.save(out / "parts/0.npz")
    (out / "rf.npz").unlink()
    blocks = []
    ask = rf.ask
    monkeypatch.setattr(rf, "ask", lambda s, n, **o: blocks.append(n) or ask(s, n, **o))
    assert run(RF, tree, out, capsys)[0] == 0 and blocks == [[1]]
    again = insilico.load(out / "rf.npz")
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(array, again[name])
    assert again.failed == first.failed

    code, said, _ = run(RF.replace("--seed 3", "--seed 4"), tree, out, capsys)
    assert code == 1
    assert "holds another experiment, which differs in seed" in said["error"]


def test_tuning(made, tree, tmp_path, capsys):
    words = "tune --neurons 3 --curves orientation --orientations 4 --phases 1"
    words += " --frequencies 0.15cpp --draws 9 --no-figure"
    code, said, _ = run(words, tree, tmp_path / "tune", capsys)
    assert code == 0 and 0.3 <= said["osi"][0] <= 1 and said["frequency"] == [0.15]
    assert not (tmp_path / "tune/tune.png").exists()
    degrees = words.replace("0.15cpp", "0.15cpd")
    code, said, _ = run(degrees, tree, tmp_path / "other", capsys)
    assert code == 1 and "--degrees-per-pixel" in said["error"]


@pytest.fixture(scope="module")
def best(tree, tmp_path_factory):
    """Exit code, JSON and folder of a mei from pictures, and those pictures."""
    folder = tmp_path_factory.mktemp("best")
    (folder / "pictures").mkdir()
    filter_hw = cells().even_nhw[1]
    picture = (GREY + UNIT * 3 * filter_hw).clip(0, 255).astype(np.uint8)
    pictures = np.stack([np.full_like(picture, int(GREY)), picture])
    np.save(folder / "pictures/a.npy", pictures)
    words = f"mei --neurons 1,3 --steps 2 --starts 2 --start {folder / 'pictures'}"
    words += " --levels input --contrast 8 --memory 1 --no-figure --json"
    words = [*words.split(), "--truth", str(tree), "--check", str(tree)]
    out, said = folder / "mei", io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said):
        patch.setattr(asked.truths, "load", lambda path: cells())
        code = main([*words, "--out", str(out)])
    return code, json.loads(said.getvalue()), out, pictures


def test_optimal_stimuli_checked_on_a_second_twin(best):
    code, said, _, _ = best
    assert code == 0 and said["neurons"] == [1, 3]
    np.testing.assert_allclose(said["check_response"], said["response"], rtol=1e-4)
    np.testing.assert_allclose(said["contrast"], 8 / UNIT, rtol=1e-3)
    # One of its starts is its filter, and so two steps are enough.
    assert said["about"]["start"] == "clips"
    assert said["response"][0] > 0.98 * 0.2 * np.sqrt(320)


def test_a_contrast_that_no_stimulus_has_is_refused(made, tree, tmp_path, capsys):
    words = "mei --neurons 3 --levels input --contrast 300"
    code, said, _ = run(words, tree, tmp_path / "none", capsys)
    assert code == 1 and "No stimulus has a contrast of 7.5" in said["error"]


def test_screening(made, tree, tmp_path, capsys, best):
    """Pictures of files, beside the stimuli that were found."""
    _, _, found, pictures = best
    words = f"screen --neurons 0-1 --top 2 --no-figure --beside {found}"
    words += f" --data {found.parent / 'pictures'}"
    code, said, _ = run(words, tree, tmp_path / "screen", capsys)
    assert code == 0 and said["about"]["frames_ranked"] == 2
    ranked = insilico.load(tmp_path / "screen/screen.npz")
    assert ranked["best_clip"][1].tolist() == [1, 0]
    np.testing.assert_array_equal(ranked["best_picture"][1, 0, ..., 0], pictures[1])
    np.testing.assert_array_equal(ranked["worst_picture"][1, 0], GREY)
    assert np.isnan(ranked["mei_response"][0]) and ranked["mei_response"][1] > 3
    assert len(ranked.figure().axes) == 2 * 4
    words = words.replace(str(found), str(tmp_path))
    code, said, _ = run(words, tree, tmp_path / "none", capsys)
    assert code == 1 and "holds no mei.npz" in said["error"]


def test_pictures_are_read_from_files_in_their_order(tmp_path):
    av = pytest.importorskip("av")
    pictures = np.random.default_rng(0).integers(0, 255, (3, 16, 20), np.uint8)
    for name, picture in zip((2, 10, 1), pictures, strict=True):
        frame = av.VideoFrame.from_ndarray(picture, format="gray")
        frame.to_image().save(tmp_path / f"{name}.png")
    one = insilico.subject(cells())
    films = [clip.video_thwc[0, ..., 0] for clip in shown.clips(one, str(tmp_path))]
    np.testing.assert_array_equal(films, pictures[[2, 0, 1]])
    other = insilico.subject(cells(1, size=(16, 16)))
    with pytest.raises(UserError, match="expected 16 x 16"):
        list(shown.clips(other, str(tmp_path)))


@pytest.mark.parametrize(
    "words, given",
    [
        ("state --signal 0 --levels 0 1.5", {"signal": "0", "levels": [0.0, 1.5]}),
        ("invariance --points 4 --memory 2", {"points": 4, "memory": 2e9}),
    ],
)
def test_flags_reach_the_experiment(
    made, tree, tmp_path, capsys, monkeypatch, words, given
):
    """What the experiments themselves do is tested where they are."""
    verb, seen = words.split()[0], {}

    def ask(subject, neurons, **options):
        seen.update(options)
        arrays = {"level": np.ones(len(neurons))}
        return insilico.Result(verb, subject.about(), np.array(neurons), arrays)

    module = importlib.import_module(f"sensorium_jax.run.insilico.{verb}")
    monkeypatch.setattr(module, "ask", ask)
    words += " --neurons 3-4 --no-figure"
    code, said, _ = run(words, tree, tmp_path / "out", capsys)
    assert code == 0 and said["neurons"] == [3, 4] and said["level"] == [1, 1]
    assert given.items() <= seen.items()


def test_what_cannot_be_asked_is_said(tree, tmp_path, capsys):
    for words, said in (
        ("rf --neurons 9", "numbers 0 to 2"),
        ("rf --neurons x", "expected such as 0-19,30"),
        ("rf --mouse 5", "Mouse 5 was asked for"),
        ("rf --mouse nobody", "Unknown mouse 'nobody'"),
        ("rf --workdir run", "Say whom to ask"),
        ("rf --fps 10", "10 frames per second were given"),
    ):
        code, out, _ = run(words, tree, tmp_path / "none", capsys)
        assert code in (1, 2) and said in out["error"], words


def test_zarr_holds_the_same_and_is_gone_on_from(made, tree, tmp_path, capsys):
    out = tmp_path / "zarr"
    words = "rf --neurons 0-1,6 --clips 1 --no-figure --format zarr"
    code, said, _ = run(words, tree, out, capsys)
    assert code == 0 and str(out / "rf.zarr") in said["files"]
    assert {p.name for p in out.iterdir()} == {"request.json", "rf.zarr", "rf.json"}
    one = insilico.load(out / "rf.zarr")
    two = insilico.load(one.save(tmp_path / "rf.npz"))
    assert one.as_dict() == two.as_dict() and set(one.arrays) == set(two.arrays)
    for name, array in two.arrays.items():
        np.testing.assert_array_equal(one[name], array)
        assert one[name].dtype == array.dtype
    # As others read it.
    spec = {"driver": "file", "path": f"{out}/rf.zarr/of_neurons/field/"}
    store = tensorstore.open({"driver": "zarr3", "kvstore": spec}).result()
    np.testing.assert_array_equal(store.read().result(), two["field"])
    (out / "rf.zarr/zarr.json").write_text("{}")
    code, said, _ = run(words, tree, out, capsys)
    assert code == 1 and "no result of an experiment" in said["error"]


def test_a_report_finds_what_lies_in_the_run(best, tmp_path, monkeypatch):
    """The neurons that are predicted best first; what cannot be read in words."""
    _, _, found, _ = best
    result = insilico.load(found / "mei.npz")
    result.save(tmp_path / "insilico/mei/mei.npz")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/mei.npz").write_bytes(b"no archive")
    pairs = [(n, Neuron("best", "made", 70 + n, 0.1 * n)) for n in (3, 2, 1)]
    monkeypatch.setattr(report, "ranked", lambda mice: pairs)
    excited, notes = report.excited(str(tmp_path), [])
    assert [e.neuron.unit for e in excited] == [73, 71]
    z = (result["stimulus"][result.row(1)][0, ..., 0] - GREY) / UNIT
    np.testing.assert_allclose(excited[1].frame_hw, z, rtol=1e-6)
    assert excited[1].response == pytest.approx(result["response"][0])
    assert len(notes) == 1 and "other/mei.npz is no whole .npz" in notes[0]
    assert report.excited(str(tmp_path / "other"), [])[0] == []


def test_recordings_of_another_frame_rate_are_refused(monkeypatch):
    rules = SimpleNamespace(films=True)
    session = SimpleNamespace(name="fast", frames_per_second=60.0, rules=rules)
    kept = SimpleNamespace(sessions=[session])
    monkeypatch.setattr(shown.Recordings, "open", lambda path: kept)
    with pytest.raises(UserError, match="fast has 60 frames per second.*made for 30"):
        shown.clips(insilico.subject(cells(), fps=30), "nowhere")


KILLED = """
import sys
from sensorium_jax.cli import main
from sensorium_jax.run.insilico import mei, rf
mei.BLOCK, rf.BLOCK["gradient"] = 1, 1
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.soak
@pytest.mark.parametrize("verb", ["rf --clips 1", "mei --steps 3 --starts 1"])
@pytest.mark.parametrize("form", ["npz", "zarr"])
def test_killed_at_any_instant_ends_with_the_same_arrays(verb, form, tree, tmp_path):
    """Killed right after each file that it writes, and at odd moments between."""
    rng = random.Random(0)

    def start(out):
        words = [*verb.split(), "--truth", tree, "--out", out, "--format", form]
        command = [sys.executable, "-c", KILLED, *map(str, words), "--no-figure"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(command, **quiet)

    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert start(whole).wait() == 0
    kills = 0
    while True:
        process, before = start(cut), sorted(cut.rglob("*"))
        while process.poll() is None and sorted(cut.rglob("*")) == before:
            time.sleep(0.01)
        time.sleep(rng.choice([0, 0.05, 0.5]))
        process.kill()
        if process.wait() == 0:
            break
        kills += 1
        assert kills < 60
    assert kills >= 3
    name = f"{verb.split()[0]}.{form}"
    one, two = insilico.load(whole / name), insilico.load(cut / name)
    assert one.as_dict() == two.as_dict()
    for key, array in one.arrays.items():
        np.testing.assert_array_equal(array, two[key])
    left = {p.name for p in cut.iterdir()}
    assert left == {p.name for p in whole.iterdir()}
