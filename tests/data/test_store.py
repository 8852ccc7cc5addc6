"""A store holds what the recordings hold, and streams the same from disk or http."""

import os
import shutil
import subprocess
import sys
from hashlib import blake2b

import numpy as np
import pytest

from sensorium_jax.data.check.check import check
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.release.write import write_session
from sensorium_jax.data.session import MODALITIES
from sensorium_jax.data.store import write as store_write
from sensorium_jax.data.store.build import convert
from sensorium_jax.data.store.read import open_store
from sensorium_jax.data.stream.stream import Stream, whole_trials
from sensorium_jax.errors import UserError
from support.processes.web import served
from support.recordings import in_memory, official


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A tree and the store made from it."""
    folder = tmp_path_factory.mktemp("store")
    tree = official.tree(folder / "tree")
    convert(tree, folder / "store", durable=False)
    return tree, folder / "store"


def same(a, b):
    for name, x, y in zip(a._fields, a, b, strict=True):
        np.testing.assert_array_equal(x, y, err_msg=name)


def write(store, recordings, frames=30):
    store_write.begin_store(store, [s.name for s in recordings.sessions])
    for session in recordings.sessions:
        writer = store_write.StoreWriter(store, session, frames=frames, durable=False)
        for trial in session.reader.trials:
            writer.add(trial)
        writer.finish()
    return Recordings.open(store)


def test_sessions_keep_every_fact(both):
    for old, new in zip(*(Recordings.open(p).sessions for p in both), strict=True):
        for name in ("name", "rules", "frame_shape", "behaviors", "has_pupil"):
            assert getattr(old, name) == getattr(new, name)
        for name in ("tiers", "files", "unit_ids_n", "coordinates_n3"):
            np.testing.assert_array_equal(getattr(old, name), getattr(new, name))
        for name in ("columns", "unit_columns"):
            kept, given = getattr(new, name), getattr(old, name)
            assert set(kept) == set(given)
            for key in given:
                np.testing.assert_array_equal(kept[key], given[key])
        assert set(old.statistics) == set(new.statistics) == set(MODALITIES)
        for what in MODALITIES:
            for kind in ("mean", "std", "min", "max", "median"):
                np.testing.assert_array_equal(
                    getattr(old.statistics[what], kind),
                    getattr(new.statistics[what], kind),
                )
        for row in range(old.trials - 2):
            assert old.reader.length(row) == new.reader.length(row)
            for x, y in zip(old.trial(row), new.trial(row), strict=True):
                np.testing.assert_array_equal(x, y)
        assert new.video_dtype == np.uint8


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 2},
        {"mixed": True},
        {"tier": "live_test_main"},
        {"neurons": 3, "response_scaling": "per_neuron"},
        {"padded_mice": 4, "epochs": True},
    ],
)
def test_store_streams_the_batches_of_the_tree(both, options):
    options = {"batch": 6, "frames": 9} | options
    old, new = (Stream(Recordings.open(p), **options).batch_at(3, 4) for p in both)
    same(old, new)


ELSEWHERE = """
import sys
from hashlib import blake2b
from sensorium_jax.data.check.check import check
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.stream.stream import Stream, prefetch

path, depth, threads, *asked = sys.argv[1:]
stream = Stream(Recordings.open(path), batch=5, frames=9, epochs=True)
asked = [int(i) for i in asked]

def digest(batch):
    # A tree has its films as float32, a store as bytes.
    there = (x for x in batch if x is not None)
    return blake2b(b"".join(x.astype(float).tobytes() for x in there)).hexdigest()

for place, batch in enumerate(prefetch(
    lambda k: stream.batch_at(7, asked[k]), 0, len(asked), int(depth), int(threads)
)):
    print(asked[place], digest(batch))
"""


def test_another_process_draws_the_same_in_any_order_and_depth(both):
    tree, store = both
    ways = (tree, 2, 1, 0, 1, 2), (store, 1, 1, 2, 0, 1), (store, 3, 2, 1, 2, 0)
    begun = [
        subprocess.Popen(
            [sys.executable, "-c", ELSEWHERE, *map(str, way)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONHASHSEED": str(k)},
        )
        for k, way in enumerate(ways)
    ]
    said = [sorted(p.communicate(timeout=100)[0].splitlines()) for p in begun]
    assert said[0] == said[1] == said[2]
    stream = Stream(Recordings.open(store), batch=5, frames=9, epochs=True)
    for i, line in enumerate(said[0]):
        batch = [x for x in stream.batch_at(7, i) if x is not None]
        here = blake2b(b"".join(x.astype(float).tobytes() for x in batch))
        assert line == f"{i} {here.hexdigest()}"
    assert len({line.split()[1] for line in said[0]}) == 3


def test_whole_trials_of_a_store(both):
    old, new = (whole_trials(Recordings.open(p), "oracle") for p in both)
    for a, b in zip(old, new, strict=True):
        same(a, b)


def test_http_serves_the_same_batches(both):
    local = Stream(Recordings.open(both[1]), batch=4, frames=8)
    with served(both[1].parent) as url:
        remote = Stream(Recordings.open(f"{url}/store"), batch=4, frames=8)
        for i in range(3):
            same(local.batch_at(0, i), remote.batch_at(0, i))
        with pytest.raises(UserError, match="has no zarr.json"):
            open_store(f"{url}/nothing")


def test_pictures_and_missing_signals(tmp_path):
    for name, source in (
        ("pictures", official.pictures(tmp_path / "a")),
        ("bare", official.tree(tmp_path / "b", extras=False)),
    ):
        convert(source, tmp_path / name, durable=False)
        frames = 1 if name == "pictures" else 9
        pair = [
            Stream(Recordings.open(p), batch=5, frames=frames).batch_at(0, 0)
            for p in (source, tmp_path / name)
        ]
        same(*pair)


def test_writer_takes_trials_one_by_one_and_goes_on(tmp_path):
    recordings = in_memory.Recordings((in_memory.session(tiers=("train",) * 25),))
    whole = write(tmp_path / "whole", recordings)
    same(*(Stream(r, batch=4, frames=5).batch_at(0, 0) for r in (recordings, whole)))
    (session,) = recordings.sessions
    store_write.begin_store(tmp_path / "again", [session.name])
    writer = store_write.StoreWriter(tmp_path / "again", session, frames=30)
    for trial in session.reader.trials[:22]:
        writer.add(trial)
    with pytest.raises(UserError, match="22 trials, expected 25"):
        writer.finish()
    with pytest.raises(UserError, match="not converted to its end"):
        open_store(tmp_path / "again")
    writer = store_write.StoreWriter(tmp_path / "again", session, frames=30)
    assert writer.next == 20
    for trial in session.reader.trials[20:]:
        writer.add(trial)
    writer.finish()
    found = official.snapshot(tmp_path / "again")
    assert {k: v for k, v in found.items() if ".partial" not in k} == {
        k: v
        for k, v in official.snapshot(tmp_path / "whole").items()
        if ".partial" not in k
    }


@pytest.fixture(scope="module")
def shown_again(tmp_path_factory):
    """A tree of 45 films, of which all but 4 were shown before, and its store."""
    folder = tmp_path_factory.mktemp("shown")
    rng = np.random.default_rng(0)
    films = rng.integers(0, 256, (4, 6, 3, 4)).astype(np.uint8)
    order = np.r_[0, 1, rng.integers(0, 2, 30), 2, 3, rng.integers(0, 4, 11)]
    write_session(
        folder / "tree/mouse",
        videos=[films[i] for i in order],
        responses=rng.gamma(1.0, 1.0, (45, 6, 3)),
        tiers=["train"] * 30 + ["val"] * 15,
        video_dtype="uint8",
    )
    convert(folder / "tree", folder / "store", durable=False)
    return folder / "tree", folder / "store", order


def same_trials(*places):
    (a,), (b,) = (Recordings.open(p).sessions for p in places)
    assert a.trials == b.trials == 45
    for row in range(a.trials):
        same(a.trial(row), b.trial(row))


def test_a_video_that_is_shown_again_is_stored_once(shown_again):
    tree, store, order = shown_again
    same_trials(tree, store)
    videos = store / "mouse/videos/c"
    assert [p.name for p in sorted(videos.iterdir())] == ["0", "1"]  # none in the last
    index = 20 * 16 + 4  # of a shard: where its 20 films lie, and a checksum
    sizes = [(videos / g / "0/0/0/0").stat().st_size for g in "01"]
    assert sizes == [2 * 6 * 3 * 4 + index] * 2
    first = [int(np.flatnonzero(order == i)[0]) for i in order]
    np.testing.assert_array_equal(Recordings.open(store)[0].first_shown(), first)
    assert not check(store)


def test_shown_again_over_http(shown_again):
    _, store, _ = shown_again
    with served(store) as url:
        same_trials(store, url)


def test_shown_again_after_a_kill_and_from_a_store(shown_again, tmp_path):
    tree, store, _ = shown_again
    whole = official.snapshot(store)
    cut = tmp_path / "cut"
    shutil.copytree(store, cut)
    for name in ("complete.json", "meta.npz", "groups/00001.json"):
        (cut / "mouse" / name).unlink()
    assert convert(tree, cut, durable=False).written_groups == 1
    assert official.snapshot(cut) == whole
    convert(store, tmp_path / "again", durable=False)
    assert official.snapshot(tmp_path / "again") == whole


def test_a_damaged_video_that_is_shown_again_is_mended(shown_again, tmp_path):
    tree, store, _ = shown_again
    cut = tmp_path / "cut"
    shutil.copytree(store, cut)
    (cut / "mouse/videos/c/1/0/0/0/0").unlink()
    assert any("c/1" in f.file for f in check(cut))
    convert(tree, cut, verify=True, durable=False)
    same_trials(tree, cut)


def test_copies_of_a_video_do_not_go_on_with_a_store_that_shares(shown_again, tmp_path):
    """Their trials would point at videos that nobody wrote."""
    tree, store, _ = shown_again
    shutil.copytree(tree, tmp_path / "copies")  # no links any more
    shutil.copytree(store, tmp_path / "store")
    with pytest.raises(UserError, match="begun from other recordings"):
        convert(tmp_path / "copies", tmp_path / "store", durable=False)
    convert(tmp_path / "copies", tmp_path / "own", durable=False)
    same_trials(tree, tmp_path / "own")
    before = official.snapshot(tmp_path / "own")
    # A store that was begun without sharing goes on so.
    assert convert(tree, tmp_path / "own", durable=False).written_groups == 0
    assert official.snapshot(tmp_path / "own") == before


def test_writer_refuses_what_does_not_fit(tmp_path):
    session = in_memory.session()
    store_write.begin_store(tmp_path, ["mouse"])
    writer = store_write.StoreWriter(tmp_path, session, frames=30)
    trial = session.reader.trials[0]
    with pytest.raises(UserError, match="responses has shape"):
        writer.add(trial._replace(responses_tn=trial.responses_tn.T))
    with pytest.raises(UserError, match="begun from other recordings"):
        store_write.StoreWriter(tmp_path, session, frames=31)
    with pytest.raises(UserError, match="holds another store"):
        store_write.begin_store(tmp_path, ["other"])


def test_a_missing_or_broken_shard_is_an_error_not_zeros(tmp_path):
    recordings = write(tmp_path / "s", in_memory.Recordings((in_memory.session("a"),)))
    shard = tmp_path / "s/a/responses/c/0/0/0"
    content = shard.read_bytes()
    shard.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        recordings[0].trial(0)
    broken = bytearray(content)
    broken[-10] ^= 1
    shard.write_bytes(broken)
    with pytest.raises(UserError, match="cannot be read"):
        Recordings.open(tmp_path / "s")[0].trial(0)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"zarr_format": 3, "node_type": "group"}', "not a store of recordings"),
        ('{"attributes": {"sensorium": {"version": 99}}}', "version 99"),
    ],
)
def test_other_zarr_groups_are_named(tmp_path, content, words):
    (tmp_path / "zarr.json").write_text(content)
    with pytest.raises(UserError, match=words):
        open_store(tmp_path)
