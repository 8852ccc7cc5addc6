"""Conversion survives kills, mends damage and refuses to overwrite strangers."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from sensorium_jax.cli import main
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.store import build
from sensorium_jax.data.store.verify import damaged
from sensorium_jax.errors import UserError
from support.recordings import official


def convert(source, target, **options):
    """Without waiting for the disk, which is most of the time of small stores."""
    return build.convert(source, target, **{"durable": False} | options)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return official.tree(tmp_path_factory.mktemp("convert") / "tree")


@pytest.fixture(scope="module")
def whole(tree):
    """Files of an undisturbed conversion."""
    convert(tree, tree.parent / "whole")
    return official.snapshot(tree.parent / "whole")


def test_nothing_but_the_store_is_left(whole):
    assert not [name for name in whole if "partial" in name or "lock" in name]
    assert "LICENSE.txt" in whole


def test_converting_twice_changes_nothing(tree, whole):
    done = convert(tree, tree.parent / "whole", verify=True)
    assert done.written_groups == 0 and done.verified
    assert official.snapshot(tree.parent / "whole") == whole


def test_a_store_converts_to_itself(tree, whole, tmp_path):
    convert(tree.parent / "whole", tmp_path / "copy", durable=True)
    assert official.snapshot(tmp_path / "copy") == whole


KILLED = """
import sys
from sensorium_jax.data.store.build import convert
print("ready", flush=True)
convert(*sys.argv[1:])
print("done", flush=True)
"""


def run_and_kill(source, target, after):
    """Whether the conversion was over before the kill, and how long it took."""
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(source), str(target)],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout and process.stdout.readline() == "ready\n"
        began = time.monotonic()
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
        return process.stdout.read() == "done\n", time.monotonic() - began


def kill_often(source, whole, target, kills, seed=0):
    rng = random.Random(seed)
    finished, took = run_and_kill(source, target / "timed", 60)
    assert finished
    landed = 0
    for i in range(kills):
        done, _ = run_and_kill(source, target / f"{i}", rng.uniform(0, took))
        landed += not done
        if rng.random() < 0.3:
            run_and_kill(source, target / f"{i}", rng.uniform(0, took / 2))
        build.convert(source, target / f"{i}")
        assert official.snapshot(target / f"{i}") == whole
    return landed


def test_two_kills(tree, whole, tmp_path):
    kill_often(tree, whole, tmp_path, 2)


@pytest.mark.soak
def test_twenty_kills(tmp_path):
    source = official.tree(tmp_path / "tree", neurons=(900, 700))
    convert(source, tmp_path / "whole")
    whole = official.snapshot(tmp_path / "whole")
    assert kill_often(source, whole, tmp_path / "killed", 20) >= 10


@pytest.mark.parametrize(
    ("how", "name"),
    [
        ("cut", "dynamic0/videos/c/1/0/0/0/0"),
        ("flip", "dynamic1/responses/c/0/0/0"),
        ("gone", "dynamic0/behavior/c/2/0/0"),
        ("flip", "dynamic0/meta.npz"),
        ("cut", "dynamic1/complete.json"),
        ("cut", "dynamic1/groups/00001.json"),
    ],
)
def test_verify_mends_damage(tree, whole, tmp_path, how, name):
    store = tmp_path / "store"
    shutil.copytree(tree.parent / "whole", store)
    content = bytearray((store / name).read_bytes())
    content[len(content) // 2] ^= 64
    if how == "gone":
        (store / name).unlink()
    else:
        (store / name).write_bytes(content if how == "flip" else content[:-9])
    assert (store / name) in [path for path, _ in damaged(store)]
    convert(tree, store, verify=True)
    assert official.snapshot(store) == whole


def test_verify_sees_a_source_that_changed(tmp_path):
    source = official.tree(tmp_path / "tree", neurons=(4,))
    convert(source, tmp_path / "store")
    path = source / "dynamic0/data/responses/3.npy"
    responses = np.load(path)
    responses[1, 2] += 1
    np.save(path, responses)
    with pytest.raises(UserError, match="trial 3: responses differ at \\[2, 1\\]"):
        convert(source, tmp_path / "store", verify=True)


def test_fractions_of_grey_levels_stay_float(tmp_path):
    source = official.tree(tmp_path / "tree", neurons=(3,), fractions=True)
    assert convert(source, tmp_path / "s", verify=True).video_dtypes == ("float32",)
    pair = [Recordings.open(p)[0].trial(1) for p in (source, tmp_path / "s")]
    np.testing.assert_array_equal(pair[0].video_thwc, pair[1].video_thwc)


def test_a_single_fraction_anywhere_is_found(tmp_path):
    source = official.tree(tmp_path / "tree", neurons=(3,))
    path = source / "dynamic0/data/videos/40.npy"
    video = np.load(path)
    video[1, 2, 3] += 0.25
    np.save(path, video)
    assert convert(source, tmp_path / "s").video_dtypes == ("float32",)


def test_float16_reports_its_error(tmp_path):
    source = official.tree(tmp_path / "tree", neurons=(5,))
    done = convert(source, tmp_path / "s", responses="float16", verify=True)
    exact, kept = (Recordings.open(p)[0] for p in (source, tmp_path / "s"))
    rows = range(40)
    a = np.concatenate([exact.trial(r).responses_tn for r in rows])
    b = np.concatenate([kept.trial(r).responses_tn for r in rows])
    assert b.dtype == np.float32
    worst = done.response_rounding["largest_error"]
    assert np.abs(a - b).max() == pytest.approx(worst)
    rms = np.sqrt(np.mean((a - b) ** 2) / np.mean(a**2))
    assert rms == pytest.approx(done.response_rounding["relative_rms"], rel=1e-5)
    assert 0 < rms < 1e-3
    path = source / "dynamic0/data/responses/3.npy"
    np.save(path, np.load(path) * 1e6)
    with pytest.raises(UserError, match="more than float16"):
        convert(source, tmp_path / "t", responses="float16")


def test_bad_targets_are_refused(tree, tmp_path, monkeypatch):
    (tmp_path / "letter.txt").write_text("dear mother")
    for target, words in (
        (tmp_path, "other files and no store"),
        (tmp_path / "letter.txt", "is a file"),
        (tree, "source and target"),
        ("http://example.org/store", "is a URL"),
    ):
        with pytest.raises(UserError, match=words):
            convert(tree, target)
    with pytest.raises(UserError, match="Did you mean"):
        convert(tree, tmp_path / "new", responses="float61")
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(UserError, match="0.07 GB are needed for the store"):
        convert(tree, tmp_path / "new")


def test_command(tree, tmp_path, capsys):
    assert main(["convert", str(tree), str(tmp_path / "s"), "--json"]) == 0
    assert '"mice": 2' in capsys.readouterr().out
    assert main(["convert", str(tree), str(tmp_path / "s"), "--verify"]) == 0
    assert "all was there already" in capsys.readouterr().out
    assert main(["convert", str(tmp_path / "none"), str(tmp_path / "t")]) == 1
