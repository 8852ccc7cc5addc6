"""Recordings carry their rules: in config.json, in stores, against any override."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from sensorium_jax.cli import main
from sensorium_jax.data.check.check import check
from sensorium_jax.data.config import FILE, told
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.release.write import SessionWriter, write_session
from sensorium_jax.data.session import validating
from sensorium_jax.data.store import build
from sensorium_jax.data.stream import pools
from sensorium_jax.data.stream.stream import Stream
from sensorium_jax.errors import UserError
from sensorium_jax.rules import FILMS, PICTURES, RELEASES, own
from support.recordings import in_memory, official


def films(folder, tiers, frames=8, **options):
    rng = np.random.default_rng(0)
    shape = (len(tiers), frames)
    videos, responses = (
        rng.integers(0, 256, (*shape, 4, 6)),
        rng.gamma(1, 2, (*shape, 3)),
    )
    return write_session(
        folder, videos=videos, responses=responses, tiers=tiers, **options
    )


def rewrite(mouse, **entries):
    """Change entries of config.json; None removes one."""
    config = json.loads((mouse / FILE).read_text()) | entries
    kept = {k: v for k, v in config.items() if v is not None}
    (mouse / FILE).write_text(json.dumps(kept))


OWN_TIERS = ["train"] * 6 + ["validation"] * 3 + ["test"] * 3


def test_own_films_of_45_frames_lose_nothing(tmp_path):
    mouse = films(tmp_path / "fish", OWN_TIERS, frames=45)
    np.save(mouse / "data/responses/9.npy", np.zeros((3, 45), np.float32))
    recordings = Recordings.open(tmp_path)
    (session,) = recordings.sessions
    assert session.rules == own(FILMS, validation=("validation",))
    assert session.trials_of("val").tolist() == [6, 7, 8]
    assert session.trials_of("test").tolist() == [9, 10, 11]
    assert all(pools.labelled(session, row) for row in range(12))
    for tier in ("train", "val", "test"):
        batch = Stream(recordings, tier=tier, batch=4, frames=45).batch_at(0, 0)
        assert batch.valid_mbt.all()


def test_a_check_knows_own_tiers(tmp_path, capsys):
    mouse = films(tmp_path / "fish", OWN_TIERS)
    assert not [f for f in check(tmp_path) if f.level == "error"]
    assert not [f for f in check(tmp_path) if "tier" in f.finding]
    np.save(mouse / "data/responses/9.npy", np.zeros((3, 8), np.float32))
    (fault,) = (f for f in check(tmp_path) if f.level == "error")
    assert "all-zero responses of a trial of tier 'test'" in fault.finding
    assert "hidden in the rules" in fault.remedy
    rewrite(mouse, rules={"name": "own", "hidden": ["test"]})
    assert not [f for f in check(tmp_path) if f.level == "error"]
    assert pools.labelled(Recordings.open(tmp_path)[0], 9)  # others of the tier respond
    for row in (10, 11):
        np.save(mouse / f"data/responses/{row}.npy", np.zeros((3, 8), np.float32))
    assert not pools.labelled(Recordings.open(tmp_path)[0], 9)
    findings = [f.finding for f in check(tmp_path, rules="2023")]
    assert any("unknown tier 'validation' of 3 trials" in f for f in findings)
    assert any("no validation trials" in f for f in findings)


@pytest.mark.parametrize("store", [False, True])
def test_a_check_warns_where_nothing_validates(tmp_path, store):
    films(tmp_path / "tree/fish", ["train"] * 6 + ["test"] * 2, hide=["test"])
    path = tmp_path / "tree"
    if store:
        build.convert(path, tmp_path / "store", durable=False)
        path = tmp_path / "store"
    found = [(f.level, f.finding) for f in check(path) if "validation" in f.finding]
    assert [level for level, _ in found] == ["warning"]
    with pytest.raises(UserError, match="No tier of .* validates: it has test, train"):
        Recordings.open(path)[0].trials_of("val")


MALFORMED = {
    "text": {"rules": "2023"},
    "unknown field": {"rules": {"skipp": 3}},
    "unknown name": {"rules": {"name": "2032"}},
    "another kind": {"rules": {"name": "2022"}},
    "negative skip": {"rules": {"skip": -5}},
    "no list": {"rules": {"validation": "test"}},
    "training validates": {"rules": {"validation": ["train"]}},
    "rate": {"frames_per_second": "fast"},
    "degrees": {"degrees_per_pixel": -2.0},
    "links": {"links": ["videos"]},
}


@pytest.mark.parametrize("entries", MALFORMED.values(), ids=MALFORMED)
def test_malformed_config_is_one_paragraph(tmp_path, capsys, entries):
    mouse = films(tmp_path / "fish", OWN_TIERS)
    rewrite(mouse, **entries)
    assert main(["info", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert not out and err.startswith("sensorium: ") and err.count("\n") == 1
    assert f"fish/{FILE}: " in err and "Expected" in err
    (fault,) = (f for f in check(tmp_path) if f.level == "error")
    assert fault.file == f"fish/{FILE}" and "Expected" in fault.remedy


def test_a_tree_without_rules_follows_its_release_and_says_so_once(tmp_path, capsys):
    mice = [films(tmp_path / name, ["train"] * 3 + ["oracle"]) for name in "ab"]
    for mouse in mice:
        rewrite(mouse, rules=None)
    for _ in range(2):
        recordings = Recordings.open(tmp_path)
    assert {s.rules for s in recordings.sessions} == {RELEASES["2023"]}
    assert {s.frames_per_second for s in recordings.sessions} == {30.0}
    out, err = capsys.readouterr()
    assert not out and err.startswith("note: ") and err.count("\n") == 1
    assert "the first 50 frames of a trial are not scored" in err
    assert "--rules own" in err
    Recordings.open(tmp_path, "own")
    rewrite(mice[0], rules={"name": "2023"})
    Recordings.open(mice[0])
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("store", [False, True])
def test_an_override_takes_the_place_of_rules(tmp_path, store):
    path = official.tree(tmp_path / "tree", neurons=(3,))
    if store:
        build.convert(path, tmp_path / "store", durable=False)
        path = tmp_path / "store"
    assert Recordings.open(path)[0].rules == RELEASES["2023"]
    session = Recordings.open(path, "own")[0]
    assert session.rules == own(FILMS)
    assert session.trials_of("val").tolist() == list(range(34, 40))
    assert pools.labelled(session, 40)  # zeros are zeros: own rules hide no tier
    with pytest.raises(UserError, match="are for pictures, the recordings are films"):
        Recordings.open(path, "2022")
    with pytest.raises(UserError, match="Unknown rules 'mine'"):
        Recordings.open(path, "mine")


def test_stores_carry_rules_rate_and_degrees(tmp_path):
    tiers = ["train"] * 4 + ["dev", "secret"]
    more = {"skip": 3, "rate_hz": 12.5, "degrees_per_pixel": 1.5}
    films(tmp_path / "tree/fish", tiers, hide=["secret"], **more)
    build.convert(tmp_path / "tree", tmp_path / "store", durable=False)
    wanted = own(FILMS, skip=3, validation=("dev",), hidden=("secret",))
    for path in ("tree", "store"):
        session = Recordings.open(tmp_path / path)[0]
        assert session.rules == wanted
        assert session.frames_per_second == 12.5 and session.degrees_per_pixel == 1.5
    build.convert(tmp_path / "tree", tmp_path / "plain", durable=False, rules="own")
    assert Recordings.open(tmp_path / "plain")[0].rules == own(FILMS)
    with pytest.raises(UserError, match="rules are one"):
        build.convert(tmp_path / "tree", tmp_path / "store", rules="own")


def as_before(store):
    """The store as it was written before stores carried rules."""
    for path in store.glob("*/zarr.json"):
        header = json.loads(path.read_text())
        facts = header["attributes"]
        for key in ("kind", "rules", "frames_per_second", "degrees_per_pixel"):
            del facts[key]
        facts["year"] = 2023
        path.write_text(json.dumps(header, indent=1, sort_keys=True) + "\n")


def test_an_old_store_opens_and_gets_rules_when_converted_again(tmp_path, capsys):
    tree, store = official.tree(tmp_path / "tree", neurons=(3,)), tmp_path / "store"
    build.convert(tree, store, durable=False)
    whole = official.snapshot(store)
    as_before(store)
    session = Recordings.open(store)[0]
    assert session.rules == RELEASES["2023"] and session.frames_per_second == 30.0
    assert "names no rules of its own" in capsys.readouterr().err
    assert Recordings.open(store, "own")[0].rules == own(FILMS)
    done = build.convert(tree, store, durable=False)
    assert done.written_groups == 0 and official.snapshot(store) == whole


def test_the_config_of_the_docs_is_understood():
    page = (Path(__file__).parents[2] / "docs/your-data.md").read_text()
    (block,) = re.findall(r"```json\n(.*?)```", page, re.S)
    said = told(json.loads(block), FILMS, "the docs")
    assert said.rules == own(FILMS, skip=10, validation=("test",), hidden=("secret",))
    assert said[3:] == (20.0, 1.5)


def test_the_kind_follows_the_frames_or_the_release(tmp_path):
    images, responses = [np.full((1, 4, 6), i) for i in range(6)], [np.ones(3)] * 6
    given = {"videos": images, "responses": responses}
    for name, rules in (("own", own(PICTURES)), ("2022", RELEASES["2022"])):
        write_session(tmp_path / name, **given, rules=name)
        session = Recordings.open(tmp_path / name)[0]
        assert session.rules == rules._replace(validation=("validation",))
        assert (tmp_path / name / "data/images").is_dir()
    write_session(tmp_path / "2023", **given, rules="2023")
    assert Recordings.open(tmp_path / "2023")[0].rules == RELEASES["2023"]
    with pytest.raises(UserError, match="has 8 frames, but .* pictures"):
        films(tmp_path / "no", OWN_TIERS, rules="2022")


def test_the_tier_that_validates_can_be_chosen(tmp_path):
    rules = own(FILMS, validation=("test",))
    films(tmp_path / "fish", OWN_TIERS, rules=rules)
    assert Recordings.open(tmp_path)[0].trials_of("val").tolist() == [9, 10, 11]
    same = np.zeros((4, 8, 4, 6))
    answers = np.ones((4, 8, 3))
    write_session(tmp_path / "new", videos=same, responses=answers, rules=rules)
    assert set(Recordings.open(tmp_path / "new")[0].tiers) == {"train", "test"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rules": "2024"}, "Unknown rules '2024'"),
        ({"rules": "2023"}, "Unknown tier 'test'"),
        ({"rules": "2023", "hide": ["test"]}, "hide live_test_main"),
        ({"rules": "2023", "skip": 3}, "skip 50 frames"),
        ({"skip": -1}, "skip is -1"),
        ({"hide": ["train"]}, "hidden holds 'train'"),
        ({"rate_hz": 0}, "frames_per_second is 0"),
        ({"degrees_per_pixel": float("nan")}, "degrees_per_pixel is nan"),
    ],
)
def test_the_writer_refuses_rules_that_do_not_fit(tmp_path, options, words):
    with pytest.raises(UserError, match=words):
        films(tmp_path / "fish", OWN_TIERS, **options)


def test_own_pictures_are_written_trial_by_trial(tmp_path):
    writer = SessionWriter(
        tmp_path / "m", rules=own(PICTURES), neurons=2, frame_shape=(4, 6, 1)
    )
    for i in range(3):
        writer.add(i, np.full((1, 4, 6, 1), i), np.full((1, 2), i))
    writer.finish(["train", "train", "dev"])
    session = Recordings.open(tmp_path)[0]
    assert session.rules == own(PICTURES, validation=("dev",))


def test_commands_take_rules(tmp_path, capsys):
    tree = official.tree(tmp_path / "tree", neurons=(3,))
    for words in (["info"], ["check"], ["convert", str(tmp_path / "store")]):
        verb, *rest = words
        assert main([verb, str(tree), *rest, "--rules", "own", "--json"]) == (
            verb == "check"  # the hidden trials are then zeros that nobody hides
        )
        facts = json.loads(capsys.readouterr().out)
        if verb == "info":
            (mouse,) = facts["mice"]
            assert mouse["rules"]["name"] == "own" and mouse["rules"]["skip"] == 0
            assert "year" not in mouse
    assert Recordings.open(tmp_path / "store")[0].rules == own(FILMS)
    shutil.rmtree(tmp_path / "store")


def test_folds_are_made_of_the_tier_that_validates():
    from sensorium_jax.data.stimuli import folds

    tiers = ("train",) * 3 + ("dev",) * 2 + ("test",)
    session = in_memory.session(tiers=tiers, rules=own(FILMS, validation=("dev",)))
    assert folds.fold_rows(session).tolist() == [0, 1, 2, 3, 4]
    assert folds.fold_rows(session, tests=True).tolist() == list(range(6))


def test_one_tier_validates_in_all_mice_or_none(tmp_path):
    films(tmp_path / "a", ["train"] * 3 + ["dev", "test"])
    films(tmp_path / "b", ["train"] * 3 + ["test", "test"], frames=9)
    recordings = Recordings.open(tmp_path)
    assert [validating([s]) for s in recordings.sessions] == ["dev", "test"]
    for ask in (lambda: validating(recordings.sessions), lambda: stream(recordings)):
        with pytest.raises(UserError, match="a has dev; b has test.*validate.tier"):
            ask()
    (fault,) = (f for f in check(tmp_path) if "validates" in f.finding)
    assert fault.level == "warning" and "a has dev; b has test" in fault.finding
    for mouse in (tmp_path / "a", tmp_path / "b"):
        rewrite(mouse, rules={"name": "own"})
    recordings = Recordings.open(tmp_path)
    assert recordings[0].rules.validating(recordings[0].tiers) == "dev"
    assert validating(recordings.sessions) == "test"
    assert [rows.tolist() for rows in stream(recordings).rows] == [[4], [3, 4]]
    assert not any("validates" in f.finding for f in check(tmp_path))
    build.convert(tmp_path, tmp_path / "store")
    assert validating(Recordings.open(tmp_path / "store").sessions) == "test"


def stream(recordings):
    return Stream(recordings, tier="val", batch=1, frames=4)
