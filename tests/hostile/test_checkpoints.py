"""Checkpoints that were cut, changed or made up: found, named, and never the end."""

import json
import os
import random
import shutil
import time
from itertools import count

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax import asking
from sensorium_jax.checkpoints import digests, layout, read, write
from sensorium_jax.checkpoints.card import LARGEST, read_card
from sensorium_jax.checkpoints.digests import DamagedError
from sensorium_jax.errors import UserError
from sensorium_jax.stop import Stopper
from sensorium_jax.training.loop import Progress, Schedule, fit
from sensorium_jax.training.saving import aside, manager as checkpoint
from support.models.toy import STEP, fresh, toy_batch

MICE = [{"name": name, "neurons": 5} for name in ("ada", "bea", "cleo")]
# The best step is 4 when step 8 is saved, and again while step 12 is not there yet.
SCORES = {0: 0.0, 4: 2.0, 8: 1.0, 12: 3.0}


def train(workdir, *, steps=8):
    """A run of a toy that goes on from what lies in the workdir, and its state."""
    with checkpoint.open_manager(workdir) as manager:
        state, progress = fresh(), Progress()
        if manager.latest_step() is not None:
            state, card = checkpoint.resume(manager, state)
            progress = Progress.from_card(card["progress"])
        at = int(state.step)
        return fit(
            state,
            STEP,
            (toy_batch(seed=i) for i in count(at)),
            Schedule(steps, validate_every=4, checkpoint_every=4),
            manager=manager,
            card=lambda p: {"mice": MICE, "progress": p.to_card()},
            progress=progress,
            validate=lambda state: SCORES[int(state.step)],
            stopper=Stopper(),
        ).state


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of 8 steps, saved at 4 and 8."""
    folder = tmp_path_factory.mktemp("run") / "run"
    train(folder)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The state of the same run after 12 steps, with nothing in its way."""
    return train(tmp_path_factory.mktemp("whole"), steps=12)


def files(step):
    """Every file of a checkpoint, as words."""
    return sorted(str(p.relative_to(step)) for p in step.rglob("*") if p.is_file())


def leaves(step):
    """What it loads as: its weights, or None where that is refused."""
    try:
        return read.weights(step)
    except UserError:
        return None


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_each_file_of_the_newest_step_cut_short_costs_that_step_only(
    run, whole, tmp_path, capsys
):
    back = []
    for i, name in enumerate(files(run / "checkpoints/8")):
        folder = shutil.copytree(run, tmp_path / str(i))
        path = folder / "checkpoints/8" / name
        size = path.stat().st_size
        os.truncate(path, size // 2)
        same(train(folder, steps=12), whole)
        said = capsys.readouterr().err
        if (folder / "checkpoints/damaged-8").exists():
            back.append(name)
            assert "warning: " in said and "damaged-8" in said
            kept = folder / "checkpoints/damaged-8" / name
            assert kept.stat().st_size == size // 2
    small = {"_CHECKPOINT_METADATA", "card/card.json", "metrics/metrics"}
    assert small | {"state/_METADATA"} <= set(back)
    assert sum("/d/" in name for name in back) >= 1


def test_a_clock_that_jumps_by_a_year_changes_nothing(whole, tmp_path, monkeypatch):
    honest, turn = time.time, count()

    def jumping():
        return honest() + 3.2e7 * (next(turn) % 3 - 1)

    monkeypatch.setattr(time, "time", jumping)
    train(tmp_path)
    same(train(tmp_path, steps=12), whole)
    assert next(turn) > 10 and sorted(layout.saved_steps(tmp_path)) == [4, 8, 12]


@pytest.mark.parametrize("name", ["state/manifest.ocdbt", "state/_METADATA"])
def test_a_pipe_in_a_checkpoint_is_not_waited_for(run, tmp_path, capsys, name):
    folder = shutil.copytree(run, tmp_path / "run")
    path = folder / "checkpoints/8" / name
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DamagedError, match="no file"):
        read.weights(folder / "checkpoints/8")
    assert int(train(folder, steps=8).step) == 8
    assert "damaged-8" in capsys.readouterr().err


def test_holes_in_files_do_not_vouch_for_large_arrays(tmp_path):
    folder = write.save(tmp_path / "a", {"params": {"w": np.zeros((4096, 16384))}}, {})
    card = layout.card_path(folder)
    plain = json.loads(card.read_text())
    del plain["digests"]
    card.write_text(json.dumps(plain))
    (folder / "state/hole").touch()
    os.truncate(folder / "state/hole", 1 << 40)
    with pytest.raises(DamagedError, match="claims arrays of 0.5 GB"):
        read.weights(folder)


@pytest.mark.parametrize("file", ["card/card.json", "metrics/metrics", "state"])
def test_a_step_without_a_part_is_set_aside(run, tmp_path, capsys, file):
    folder = shutil.copytree(run, tmp_path / "run")
    path = folder / "checkpoints/8" / file
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with checkpoint.open_manager(folder) as manager:
        state, _ = checkpoint.resume(manager, fresh())
    # Metrics only choose which steps stay; orbax goes on without.
    assert int(state.step) == (8 if file.startswith("metrics") else 4)


def test_folders_with_odd_numbers_are_none_of_the_steps(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    steps = tmp_path / "run" / layout.STEPS
    for name in ("1\u00b2", "1\u0663", "08", "9" * 30):
        shutil.copytree(steps / "8", steps / name)
        layout.card_path(steps / name).write_text("{")
    assert list(layout.saved_steps(tmp_path / "run")) == [4, 8]
    train(tmp_path / "run", steps=12)
    said = capsys.readouterr().err
    assert said.count("a number that no run writes") == 4, said
    assert list(layout.saved_steps(tmp_path / "run")) == [4, 8, 12]


def test_the_last_checkpoint_is_left_where_it_is(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    for step in (4, 8):
        (folder / f"checkpoints/{step}/card/card.json").write_text("{")
    for _ in range(2):
        with pytest.raises(DamagedError, match=r"No other checkpoint .* --fresh"):
            train(folder)
    assert {p.name for p in (folder / "checkpoints").iterdir()} == {"4", "8"}


def test_a_second_damaged_step_has_a_name_of_its_own(tmp_path):
    for _ in range(2):
        (tmp_path / "8").mkdir()
        aside.put_aside(tmp_path, 8, "It is damaged.", left=True)
    assert {p.name for p in tmp_path.iterdir()} == {"damaged-8", "damaged-8-1"}


def test_too_many_open_files_are_no_damage(run, monkeypatch):
    def refused(*words, **options):
        raise ValueError("UNAVAILABLE: [OS error 24: EMFILE Too many open files]")

    monkeypatch.setattr(read, "_restore", refused)
    with pytest.raises(UserError, match="See to the disk and its limits") as found:
        read.weights(run / "checkpoints/8")
    assert not isinstance(found.value, DamagedError)


def test_damage_is_named_by_leaf_and_mouse(run, monkeypatch):
    step = run / "checkpoints/8"
    honest = read._restore

    def flipped(*words):
        found = {n: np.array(x) for n, x in honest(*words).items()}
        found["params/readout/bias"][1, 2] += 1
        return found

    monkeypatch.setattr(read, "_restore", flipped)
    with pytest.raises(DamagedError, match="params/readout/bias of bea differ"):
        read.weights(step)


def test_the_best_until_each_of_the_last_steps_stays(run, tmp_path):
    """Else a run that goes on from the step before finds its best gone."""
    folder = shutil.copytree(run, tmp_path / "run")
    train(folder, steps=12)
    kept = sorted(layout.saved_steps(folder))
    assert kept == [4, 8, 12]  # 4 is the best until 8


def test_digests_of_pieces_are_those_of_the_whole():
    """A mesh holds rows of mice in several places; a process may hold some only."""
    mesh = jax.make_mesh((2,), ("mouse",))
    cut = jax.NamedSharding(mesh, jax.P("mouse"))
    x = np.arange(24, dtype=np.float32).reshape(4, 6)
    name = "params/readout/bias"
    whole = digests.of_leaf(name, x)
    assert digests.of_leaf(name, jax.device_put(x, cut)) == whole
    assert len(set(whole.sums)) == 4
    part = jax.make_array_from_single_device_arrays(
        (4, 6), cut, [s.data for s in jax.device_put(x, cut).addressable_shards]
    )
    assert digests.of_leaf(name, part) == whole
    assert len(digests.of_leaf("params/core/w", x).sums) == 1
    assert digests.of_leaf("params/readout/rate", jnp.zeros(())).sums != ()


def test_old_checkpoints_load_and_say_once_that_nothing_vouches_for_them(
    run, tmp_path, capsys
):
    folder = shutil.copytree(run, tmp_path / "run")
    for step in (4, 8):
        path = folder / f"checkpoints/{step}/card/card.json"
        card = json.loads(path.read_text())
        del card[digests.DIGESTS]
        path.write_text(json.dumps(card))
    before = leaves(run / "checkpoints/8")
    for _ in range(2):
        same(leaves(folder / "checkpoints/8"), before)
    assert capsys.readouterr().err.count("before checkpoints had checksums") == 1
    assert int(train(folder).step) == 8


def test_a_card_that_somebody_changed_is_told_of(run, tmp_path, capsys):
    folder = shutil.copytree(run / "checkpoints/8", tmp_path / "one")
    path = folder / "card/card.json"
    read.card_of(folder)
    assert capsys.readouterr().err == ""
    path.write_text(path.read_text().replace('"ada"', '"eva"'))
    assert read.card_of(folder)["mice"][0]["name"] == "eva"
    assert "was changed after it was written" in capsys.readouterr().err


INPUTS = {"frame_shape": [36, 64, 1], "behaviors": 2}
WRONG_CARDS = {
    "a list": [],
    "a number": 3,
    "model": {"model": 3},
    "changes": {"changes": []},
    "inputs": {"inputs": 1},
    "mice": {"mice": {"a": 1}},
    "asking": {"asking": "whole"},
    "config": {"config": None},
    "a frame of text": {"inputs": {**INPUTS, "frame_shape": "36x64"}},
    "a frame of two sizes": {"inputs": {**INPUTS, "frame_shape": [36, 64]}},
    "a huge frame": {"inputs": {**INPUTS, "frame_shape": [10**9, 1, 1]}},
    "a huge product": {"inputs": {**INPUTS, "frame_shape": [10**4, 10**4, 4]}},
    "no pixels": {"inputs": {**INPUTS, "frame_shape": [0, 64, 1]}},
    "negative signals": {"inputs": {**INPUTS, "behaviors": -1}},
    "signals as bool": {"inputs": {**INPUTS, "behaviors": True}},
    "pupil as text": {"inputs": {**INPUTS, "has_pupil": "no"}},
    "a mouse of text": {"mice": ["ada"]},
    "a mouse without a name": {"mice": [{"neurons": 3}]},
    "an escape in a name": {"mice": [{"name": "a\x1b[2J", "neurons": 3}]},
    "a long name": {"mice": [{"name": "a" * 300, "neurons": 3}]},
    "two of one name": {"mice": [{"name": "a", "neurons": 3}] * 2},
    "huge mice": {"mice": [{"name": "a", "neurons": 10**15}]},
    "no neurons": {"mice": [{"name": "a", "neurons": 0}]},
    "half a neuron": {"mice": [{"name": "a", "neurons": 2.5}]},
    "unit ids": {"mice": [{"name": "a", "neurons": 3, "unit_ids": [1, 2, 3]}]},
    "progress": {"progress": [1]},
    "a best of text": {"progress": {"best": "high"}},
    "finished": {"progress": {"finished": "yes"}},
    "plateau": {"progress": {"plateau": [0, 1]}},
    "checksums": {"digests": [1]},
    "a rate in words": {"frames_per_second": "fast"},
    "a rate without end": {"frames_per_second": float("inf")},
    "a list of degrees": {"degrees_per_pixel": [1]},
}


@pytest.mark.parametrize("name", WRONG_CARDS)
def test_cards_of_wrong_types_and_absurd_sizes_are_refused(tmp_path, name):
    path = tmp_path / "card.json"
    path.write_text(json.dumps(WRONG_CARDS[name]))
    with pytest.raises(DamagedError) as found:
        read_card(path)
    assert len(str(found.value)) < 600 and str(found.value).isprintable()


ASKED = {
    "scale": ["1", float("nan"), 0, 2, [1]],
    "canvas": [[0, 0], [10**6, 10**6], "ab", 5, [1], [1.5, 2]],
    "stride": [0, True, 10**30, "2", 1e300],
    "causal": ["yes", None],
    "mode": [["whole"], 3],
    "frames": [1e300, 0, 10**15],
}


@pytest.mark.parametrize("field", ASKED)
def test_what_no_model_can_be_asked_is_refused(field):
    for value in ASKED[field]:
        given = {field: value}
        with pytest.raises(UserError, match=f"(asking.{field} is|Unknown {field})"):
            asking.from_json({"mode": "window", "frames": 4} | given, "here")


def test_cards_that_are_no_json_or_too_large_are_refused(tmp_path):
    path = tmp_path / "card.json"
    for content in (b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000):
        path.write_bytes(content)
        with pytest.raises(DamagedError):
            read_card(path)
    os.truncate(path, LARGEST + 1)
    with pytest.raises(DamagedError, match="16777217 bytes, expected 16777216 at most"):
        read_card(path)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(DamagedError, match="is a pipe, expected a file"):
        read_card(tmp_path / "fifo")


@pytest.mark.parametrize(
    "plain",
    [
        [],
        {"a": 1},
        {"a": {"dtype": "f", "shape": [1], "crc32": ["xyz"]}},
        {"a": {"dtype": "f", "shape": "ab", "crc32": []}},
    ],
)
def test_checksums_that_are_none_are_refused(plain):
    with pytest.raises(DamagedError, match="checksums"):
        digests.opened({"digests": {"card": "", "leaves": plain}}, "here")


def test_arrays_that_no_file_holds_are_refused(tmp_path):
    """Zeros need no file, so a small folder could fill the memory."""
    folder = write.save(tmp_path / "a", {"params": {"w": np.zeros((4096, 16384))}}, {})
    card = layout.card_path(folder)
    plain = json.loads(card.read_text())
    del plain["digests"]
    card.write_text(json.dumps(plain))
    with pytest.raises(DamagedError, match="claims arrays of 0.5 GB"):
        read.weights(folder)


def flips(run, folder, chosen, *, seed):
    """Change a byte at a time over a checkpoint; what went by without a word."""
    drawn = random.Random(seed)
    step = run / "checkpoints/8"
    names = [n for n in files(step) for _ in range((step / n).stat().st_size)]
    expected = leaves(step)
    silent = []
    for i in range(chosen):
        there = shutil.copytree(step, folder / str(i))
        name = drawn.choice(names)
        content = bytearray((there / name).read_bytes())
        at = drawn.randrange(len(content))
        content[at] ^= 1 << drawn.randrange(8)
        (there / name).write_bytes(content)
        loaded = leaves(there)
        if loaded is None:
            continue
        equal = loaded.keys() == expected.keys() and all(
            np.array_equal(loaded[n], expected[n]) for n in expected
        )
        if not equal:
            silent.append((name, at))
    return silent


def test_a_few_flipped_bytes_are_found_or_harmless(run, tmp_path):
    assert flips(run, tmp_path, 12, seed=0) == []


@pytest.mark.soak
def test_a_hundred_flipped_bytes_are_found_or_harmless(run, tmp_path):
    assert flips(run, tmp_path, 100, seed=1) == []
