"""A stimulus that is shown again is stored once, and read as every other is."""

import os

import numpy as np
import pytest

import sensorium_jax as sj
from sensorium_jax.data.release import small_files
from sensorium_jax.findings import Fault
from sensorium_jax.io import npy

RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (3, 4, 6)).astype(np.float32)
SHOWN = np.array([0, 1, 0, 2, 1, 0, 0, 2, 1, 1])
TIERS = ["train"] * 8 + ["val"] * 2


def written(folder):
    responses = np.random.default_rng(1).gamma(1, 2, (len(SHOWN), 5))
    parts = {"responses": responses, "tiers": TIERS, "pictures": True}
    return sj.write_session(folder / "a", videos=PICTURES[SHOWN], **parts)


def nodes(folder):
    files = [folder / f"data/images/{i}.npy" for i in range(len(SHOWN))]
    return [os.stat(file).st_ino for file in files]


def statistics(folder):
    found = sj.open(folder)[0].statistics
    return [np.asarray(getattr(found[w], k)) for w in found for k in ("mean", "std")]


def test_repeats_are_names_of_one_file(tmp_path):
    folder = written(tmp_path)
    assert len(set(nodes(folder))) == 3
    session = sj.open(tmp_path)[0]
    for row, picture in enumerate(SHOWN):
        np.testing.assert_array_equal(
            session.read("videos", row)[0, :, :, 0], PICTURES[picture]
        )
    train = PICTURES[SHOWN[:8]].astype(np.float64)
    found = session.statistics["videos"]
    np.testing.assert_allclose(found.mean, train.mean(), rtol=1e-6)
    np.testing.assert_allclose(found.std, train.std(), rtol=1e-6)
    assert not list(folder.rglob(".*"))


def test_where_links_are_not_possible_files_are_copies(tmp_path, monkeypatch):
    linked = statistics(written(tmp_path / "linked"))

    def refuse(*_):
        raise OSError("no links on this disk")

    monkeypatch.setattr(os, "link", refuse)
    folder = written(tmp_path / "copied")
    assert len(set(nodes(folder))) == len(SHOWN)
    for ours, theirs in zip(statistics(folder), linked, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_a_trial_written_again_changes_no_other(tmp_path):
    """Also by another process, which knows the files from the notes of the first."""

    def writer():
        options = {"neurons": 2, "frame_shape": (4, 6, 1), "rules": "2022"}
        return sj.SessionWriter(tmp_path / "a", **options)

    def add(index, picture):
        writer().add(index, PICTURES[picture][None, ..., None], np.ones((1, 2)))

    def holds(index):
        return np.load(tmp_path / f"a/data/images/{index}.npy")[0]

    for index, picture in enumerate([0, 0, 1, 0]):
        add(index, picture)
    assert len({os.stat(p).st_ino for p in (tmp_path / "a/data/images").iterdir()}) == 2
    add(0, 2)  # no longer what 1 and 3 show
    add(4, 0)
    add(5, 2)
    for index, picture in enumerate([2, 0, 1, 0, 0, 2]):
        np.testing.assert_array_equal(holds(index), PICTURES[picture])


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.arange(12, dtype=np.uint8).reshape(2, 3, 2),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.array(["train", "none"]),
        np.float32(3),
        np.zeros((0, 4)),
        np.array([True, False]),
    ],
)
def test_files_are_those_of_numpy(tmp_path, array):
    ours, theirs = tmp_path / "ours.npy", tmp_path / "theirs.npy"
    small_files.save(ours, array, tmp_path / "partial")
    np.save(theirs, np.asarray(array, order="C"))
    assert ours.read_bytes() == theirs.read_bytes()
    np.save(theirs, array)
    for path in (ours, theirs):
        np.testing.assert_array_equal(npy.small(path), array)
        assert npy.small(path).dtype == np.asarray(array).dtype
        assert npy.header(path).shape == np.shape(array)


@pytest.mark.parametrize("size", [0, 5, 11, 60, 150])
def test_files_cut_short_are_refused(tmp_path, size):
    np.save(tmp_path / "a.npy", np.arange(9.0))
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content[:size])
    for reading in (npy.small, npy.header):
        assert isinstance(reading(tmp_path / "a.npy"), Fault)
