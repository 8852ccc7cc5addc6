"""Whose a workdir is: the same run continues, another is refused, --fresh takes it."""

import shutil

import numpy as np
import pytest

from sensorium_jax.errors import UserError
from sensorium_jax.run import build
from sensorium_jax.run.train import OURS, claim, run_card, run_differences
from support.recordings import tiny

RECORDING = "the recording (tiers of trials, or statistics) of dynamic1"


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    return tiny.films(tmp_path_factory.mktemp("films"), 2)


def card(root, **train):
    config = tiny.recipe("ln2023", root)
    config.train.update(**train)
    return run_card("ln2023", config, build.parts(config))


def test_the_same_run_elsewhere_or_more_talkative_is_the_same(films, tmp_path):
    moved = shutil.copytree(films, tmp_path / "moved")
    assert run_differences(card(films), card(moved, report_every=7, keep=9)) == []


def test_another_config_is_named(films):
    found = run_differences(card(films, rate=0.1), card(films))
    assert found == ["train.rate: 0.1 was 0.005"]


def test_other_mice_are_named(films, tmp_path):
    one = tiny.films(tmp_path, 1)
    found = run_differences(card(one), card(films))
    assert found == ["mice: dynamic0 was dynamic0, dynamic1"]


@pytest.mark.parametrize(
    ("path", "change", "said"),
    [
        (
            "meta/neurons/unit_ids.npy",
            lambda x: x[::-1],
            "the neurons (unit ids) of dynamic1",
        ),
        ("meta/trials/tiers.npy", lambda x: np.roll(x, 1), RECORDING),
        ("meta/statistics/responses/all/std.npy", lambda x: 2 * x, RECORDING),
    ],
)
def test_recordings_that_changed_are_named(films, tmp_path, path, change, said):
    other = shutil.copytree(films, tmp_path / "other")
    (file,) = other.glob(f"dynamic1/{path}")
    np.save(file, change(np.load(file)))
    assert run_differences(card(other), card(films)) == [said]


def test_a_workdir_of_another_run_is_refused_until_fresh(films, tmp_path):
    claim(tmp_path, card(films), fresh=False)
    claim(tmp_path, card(films), fresh=False)
    with pytest.raises(UserError, match="train.rate.*--fresh"):
        claim(tmp_path, card(films, rate=0.1), fresh=False)
    for name in OURS:
        path = tmp_path / name
        path.mkdir(exist_ok=True) if "." not in name else path.touch()
    (tmp_path / "notes.txt").write_text("mine")
    claim(tmp_path, card(films, rate=0.1), fresh=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["notes.txt", "run.json"]


def test_a_card_that_a_kill_cut_in_two_is_written_again(films, tmp_path):
    (tmp_path / "run.json").write_text('{"model": "ln')
    claim(tmp_path, card(films), fresh=False)
    with pytest.raises(UserError, match="train.rate"):
        claim(tmp_path, card(films, rate=0.1), fresh=False)
