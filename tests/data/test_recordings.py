"""Opening a path: what it finds, how lazily, and what it says of bad ones."""

import json
import shutil

import numpy as np
import pytest

from sensorium_jax import cli
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.release.write import SessionWriter, write_session
from sensorium_jax.errors import UserError
from sensorium_jax.io import npy

TIERS = ("train", "train", "oracle")


def film(folder, neurons=4, shape=(5, 6, 1), tiers=TIERS, **meta):
    r = np.random.default_rng(0)
    writer = SessionWriter(folder, rules="2023", neurons=neurons, frame_shape=shape)
    for i in range(len(tiers)):
        writer.add(i, r.random((8, *shape)), r.random((8, neurons)))
    writer.finish(tiers, **meta)
    return folder


@pytest.fixture
def tree(tmp_path):
    film(tmp_path / "dynamic2-1-1-Video-x", 3, coordinates=np.ones((3, 3)))
    film(tmp_path / "dynamic1-1-1-Video-x", 4)
    return tmp_path


def test_opens_trees_mice_and_nested_archives(tree):
    names = ("dynamic1-1-1-Video-x", "dynamic2-1-1-Video-x")
    assert Recordings.open(tree).names == names
    assert Recordings.open(tree / names[0]).names == names[:1]
    nested = tree / "unzip" / names[0]
    nested.mkdir(parents=True)
    (tree / names[0]).rename(nested / names[0])
    (tree / "__MACOSX" / names[0] / "data/videos").mkdir(parents=True)
    assert Recordings.open(tree).names == names
    assert Recordings.open(tree / "unzip").names == names[:1]


def test_selects_mice(tree):
    recordings = Recordings.open(tree)
    assert len(recordings) == 2 and recordings[1].neurons == 3
    assert recordings["dynamic2"].neurons == 3
    assert recordings.select(["dynamic2", 0]).names == recordings.names[::-1]
    assert recordings.select() is recordings
    with pytest.raises(UserError, match="Unknown mouse 'dynamic3'"):
        recordings.select(["dynamic3"])
    with pytest.raises(UserError, match="Unknown mouse 'dynamic'"):
        recordings["dynamic"]


def test_mouse_info_pads_neurons(tree):
    info = Recordings.open(tree).mouse_info()
    assert info.neurons == (4, 3) and not info.neurons_mn[1, 3]
    assert info.mean_rates_mn.shape == (2, 4) and info.mean_rates_mn[1, 3] == 0
    assert (info.mean_rates_mn[info.neurons_mn] > 0).all()
    assert info.train_trials_m.tolist() == [2, 2] and info.trials_m.tolist() == [3, 3]
    assert not info.has_coordinates and not info.has_pupil and info.behaviors == 0
    assert info.coordinates_mn3[1, 0].tolist() == [1, 1, 1]
    assert info.frame_shape == (5, 6, 1)


def test_opening_reads_no_trial(tmp_path, monkeypatch):
    for k in range(10):
        film(tmp_path / f"m{k}", 20, (18, 32, 1))
    headers, header = [], npy.header

    def refuse(path):
        raise AssertionError(f"{path} is read whole")

    monkeypatch.setattr(npy, "header", lambda p: headers.append(p) or header(p))
    monkeypatch.setattr(npy, "small", refuse)
    recordings = Recordings.open(tmp_path)
    assert len(recordings) == 10 and any("/data/" in str(p) for p in headers)


def test_both_kinds_in_one_folder(tmp_path):
    film(tmp_path / "a")
    images = [np.full((1, 5, 6), i) for i in range(10)]
    write_session(tmp_path / "b", videos=images, responses=[np.ones(2)] * 10)
    kinds = [s.rules.kind for s in Recordings.open(tmp_path).sessions]
    assert kinds == ["films", "pictures"]


def break_nothing(tree):
    return tree / "nowhere"


def break_empty(tree):
    (tree / "empty").mkdir()
    return tree / "empty"


def break_foreign(tree):
    (tree / "photos").mkdir()
    (tree / "photos/cat.jpg").write_text("")
    return tree / "photos"


def break_file(tree):
    (tree / "dynamic1-1-1-Video-x/data/videos/0.npy").write_bytes(b"\x93NUMPY\x01")
    return tree


def break_tiers(tree):
    (tree / "dynamic1-1-1-Video-x/meta/trials/tiers.npy").unlink()
    return tree


def break_count(tree):
    (tree / "dynamic1-1-1-Video-x/data/responses/1.npy").unlink()
    return tree


def break_table(tree):
    np.save(tree / "dynamic1-1-1-Video-x/meta/trials/tiers.npy", ["train"])
    return tree


def break_train(tree):
    np.save(tree / "dynamic1-1-1-Video-x/meta/trials/tiers.npy", ["oracle"] * 3)
    return tree


def break_statistics(tree):
    folder = tree / "dynamic1-1-1-Video-x/meta/statistics/responses/all"
    np.save(folder / "std.npy", np.ones((9, 9)))
    return tree


def break_units(tree):
    np.save(tree / "dynamic1-1-1-Video-x/meta/neurons/unit_ids.npy", np.arange(9))
    return tree


def break_config(tree):
    (tree / "dynamic1-1-1-Video-x/config.json").write_text("{")
    return tree


def break_shape(tree):
    shutil.rmtree(tree / "dynamic1-1-1-Video-x")
    film(tree / "dynamic3", shape=(7, 7, 1))
    return tree


def break_twin(tree):
    (tree / "copy").mkdir()
    shutil.copytree(tree / "dynamic1-1-1-Video-x", tree / "copy/dynamic1-1-1-Video-x")
    return tree


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (break_nothing, "is not a folder"),
        (break_empty, "is empty"),
        (break_foreign, "holds cat.jpg"),
        (break_file, "0.npy cannot be read"),
        (break_tiers, "tiers.npy is missing"),
        (break_count, "differ in trial 1"),
        (break_table, "has 1 rows"),
        (break_train, "has no training trials"),
        (break_statistics, "statistics of responses have shape (9, 9)"),
        (break_units, "has 9 rows"),
        (break_config, "config.json cannot be read"),
        (break_shape, "different shapes"),
        (break_twin, "Two sessions are named"),
    ],
)
def test_bad_input_is_one_paragraph(tree, capsys, harm, words):
    assert cli.main(["info", str(harm(tree))]) == 1
    out, err = capsys.readouterr()
    assert not out and err.startswith("sensorium: ") and err.count("\n") == 1
    assert words in err and "Traceback" not in err
    # What was expected, and what to do
    assert any(w in err for w in ("Expected", "expected", "needs", "need"))


def test_info_prints_a_table(tree, capsys):
    assert cli.main(["info", str(tree)]) == 0
    lines = capsys.readouterr().out.splitlines()
    heads = ["mouse", "rules", "neurons", "frame", "train", "oracle", "missing"]
    assert lines[0].split() == heads
    row = ["dynamic1-1-1-Video-x", "2023", "4", "5x6", "2", "1"]
    assert lines[1].split()[:6] == row
    assert lines[1].endswith("behavior, pupil_center, coordinates")
    assert lines[2].endswith("behavior, pupil_center")
    assert lines[3] == "2 mice, 7 neurons"
    assert lines[4:] == [
        "rules 2023: films; the first 50 frames of a trial are not scored; "
        "oracle validates"
    ]
    assert cli.main(["info", str(tree), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["neurons"] == 7 and facts["mice"][1]["trials"] == {
        "train": 2,
        "oracle": 1,
    }
