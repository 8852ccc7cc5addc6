import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sensorium_jax.data.check.check import check
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.stimuli.classify import classify
from sensorium_jax.errors import UserError
from sensorium_jax.rules import RELEASES
from sensorium_jax.simulation import design, write
from sensorium_jax.simulation.cortex import calcium, truth
from sensorium_jax.simulation.design import Preset, Repeated
from sensorium_jax.simulation.write import simulate

SMALL = Preset(
    mice=1,
    neurons=6,
    train=3,
    oracle=Repeated(1, 2),
    main=Repeated(1, 1),
    ood=Repeated(1, 1),
    calibration=3,
    frames=70,
    ood_frames=60,
    pad_to=75,
)
PICTURES = Preset(
    mice=1,
    neurons=6,
    train=6,
    oracle=Repeated(2, 1),
    main=Repeated(2, 2),
    ood=Repeated(0, 0),
    calibration=20,
    frames=1,
)


def digests(folder):
    files = sorted(p for p in Path(folder).rglob("*") if p.is_file())
    return {
        str(p.relative_to(folder)): hashlib.blake2b(p.read_bytes()).hexdigest()
        for p in files
    }


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    out = tmp_path_factory.mktemp("videos")
    return out, simulate(out, preset="tiny", seed=3)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    out = tmp_path_factory.mktemp("small")
    return out, simulate(out, preset=SMALL, seed=1)


def test_the_official_reader_reads_what_was_written(videos):
    out, folders = videos
    recordings = Recordings.open(str(out))
    assert [s.name for s in recordings.sessions] == [f.name for f in folders]
    for session in recordings.sessions:
        assert session.neurons == 24 and session.trials == 48
        assert set(session.tiers) == {*RELEASES["2023"].tiers} - {"none"}
        assert session.rules == RELEASES["2023"] and session.frames_per_second == 30
        row = int(session.trials_of("train")[0])
        trial = session.trial(row)
        assert trial.video_thwc.shape == (100, 36, 64, 1)
        assert trial.behavior_tk.shape == (100, 2) and trial.pupil_t2.shape == (100, 2)
        assert trial.responses_tn.shape == (100, 24)
        for array in trial:
            assert np.isfinite(array).all() and array.std() > 0
        bonus = session.trial(int(session.trials_of("live_test_bonus")[0]))
        assert len(bonus.video_thwc) == 90 and bonus.responses_tn.any()


def test_a_check_finds_nothing_and_silence_is_not_exactly_zero(videos):
    out, folders = videos
    assert check(out) == []
    for index in range(5):
        x = np.load(folders[0] / f"data/responses/{index}.npy")
        silent = np.nan_to_num(x) < 1e-7
        assert 0.2 < silent.mean() < 0.95 and np.nanmin(x) >= -calcium.REST
        assert (x != 0).all()


def test_each_mouse_sees_three_of_five_types_and_tests_differ(videos):
    _, folders = videos
    seen = set()
    for folder in folders:
        with np.load(folder / truth.FOLDER / "trials.npz") as file:
            live = set(file["stimulus"][file["tier"] == "live_test_bonus"])
            final = set(file["stimulus"][file["tier"] == "final_test_bonus"])
        assert len(live | final) == 3 and not live & final
        seen |= live | final
    assert len(seen) == 5


def test_five_mice_are_assigned_as_in_the_release():
    rules = RELEASES["2023"]
    p = design.preset("demo", rules)
    for mouse, (live, final) in enumerate(design.ASSIGNED):
        plan = design.plan(p, rules, 0, mouse)
        for tier, kinds in (("live_test_bonus", live), ("final_test_bonus", final)):
            assert {s.kind for s in plan if s.tier == tier} == set(kinds)
    types = [k for live, final in design.ASSIGNED for k in live + final]
    assert all(types.count(k) == 3 for k in set(types))


def test_repeats_are_one_file_and_labels_match_pixels(videos):
    _, folders = videos
    agree = []
    for folder in folders:
        with np.load(folder / truth.FOLDER / "trials.npz") as file:
            clips, kinds = file["clip"], file["stimulus"]
        for name in np.unique(clips):
            rows = np.flatnonzero(clips == name)
            paths = [folder / "data/videos" / f"{i}.npy" for i in rows]
            assert all(p.samefile(paths[0]) for p in paths)
            guess = classify(np.moveaxis(np.load(paths[0]), -1, 0))
            agree.append(guess.label == kinds[rows[0]])
        # Repeats share the video and nothing else.
        pair = np.flatnonzero(clips == clips[np.argmax(kinds == "pink_noise")])[:2]
        one, two = (np.load(folder / "data/behavior" / f"{i}.npy") for i in pair)
        assert not np.array_equal(one, two)
    assert np.mean(agree) >= 0.95


def test_same_seed_same_bytes_even_after_a_kill(small, tmp_path):
    out, (folder,) = small
    again = tmp_path / "again"
    shutil.copytree(out, again)
    killed = again / folder.name
    (killed / "meta/trials/tiers.npy").unlink()
    shutil.rmtree(killed / "meta/statistics")
    for i in (0, 2, 5):
        (killed / "data/responses" / f"{i}.npy").unlink()
    (killed / "data/videos/2.npy").unlink()
    (killed / truth.FOLDER / "rates/5.npy").unlink()
    simulate(again, preset=SMALL, seed=1)
    assert digests(again) == digests(out)


def test_finished_trials_are_not_made_again(small, tmp_path, monkeypatch):
    out, (folder,) = small
    again = tmp_path / "again"
    shutil.copytree(out, again)
    (again / folder.name / "meta/trials/tiers.npy").unlink()
    (again / folder.name / "data/responses/4.npy").unlink()
    made, make = [], write.make
    monkeypatch.setattr(write, "make", lambda *a: made.append(a[2]) or make(*a))
    simulate(again, preset=SMALL, seed=1)
    assert made == [4]


def test_another_seed_differs_and_may_not_share_a_folder(small, tmp_path):
    out, (folder,) = small
    (other,) = simulate(tmp_path, preset=SMALL, seed=2)
    assert other.name != folder.name
    first, second = (np.load(f / "data/responses/0.npy") for f in (folder, other))
    assert not np.array_equal(first, second)
    with pytest.raises(UserError, match="other settings"):
        simulate(tmp_path, preset=SMALL, seed=1)
    with pytest.raises(UserError, match="preset"):
        simulate(tmp_path / "x", preset="tinny")
    with pytest.raises(UserError, match="year"):
        simulate(tmp_path / "x", year=2021)


def test_hidden_tests_are_zeros_and_their_truth_is_kept(tmp_path):
    (folder,) = simulate(tmp_path, preset=SMALL, seed=1, hide_tests=True)
    tiers = np.load(folder / "meta/trials/tiers.npy")
    for i, tier in enumerate(tiers):
        responses = np.load(folder / "data/responses" / f"{i}.npy")
        hidden = not np.nan_to_num(responses).any()
        assert hidden == (tier in RELEASES["2023"].hidden)
        assert np.load(truth.rates_file(folder, i)).std() > 0
    assert check(tmp_path) == []


def test_pictures_read_as_one_frame(tmp_path):
    (folder,) = simulate(tmp_path, preset=PICTURES, year=2022, seed=1)
    (session,) = Recordings.open(str(tmp_path)).sessions
    assert session.rules == RELEASES["2022"] and session.frames_per_second is None
    assert session.frame_shape == (144, 256, 1)
    assert set(session.tiers) == {"train", "validation", "test", "final_test"}
    assert check(tmp_path) == []
    trial = session.trial(int(session.trials_of("test")[0]))
    assert trial.video_thwc.shape == (1, 144, 256, 1)
    assert trial.behavior_tk.shape == (1, 3) and trial.responses_tn.shape == (1, 6)
    image_ids = session.columns["frame_image_id"]
    test = session.trials_of("test")
    assert len(np.unique(image_ids[test])) == 2 and len(test) == 4
    np.testing.assert_array_equal(session.columns["trial_idx"], np.arange(16))


def test_trials_scale_in_proportion():
    for name in design.PRESETS:
        for rules in RELEASES.values():
            p = design.preset(name, rules).resized(60)
            size = len(design.plan(p, rules, 0, 0))
            assert 55 <= size <= 65 or name == "bench" or not rules.films, (name, size)
            tiers = {s.tier for s in design.plan(p, rules, 0, 0)}
            whole = design.plan(design.preset(name, rules), rules, 0, 0)
            assert tiers == {s.tier for s in whole}


def test_the_note_says_what_a_folder_holds(small):
    out, _ = small
    note = json.loads((out / write.NOTE).read_text())
    assert note["seed"] == 1 and note["preset"]["neurons"] == 6
