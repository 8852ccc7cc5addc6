"""Every kind of recording: written, checked, trained, resumed, scored, submitted.

What cannot be trained is refused before a workdir is claimed.
"""

import json
from contextlib import contextmanager

import numpy as np
import pytest

import sensorium_jax as sj
from sensorium_jax.errors import UserError
from sensorium_jax.run import train
from sensorium_jax.run.check import check
from sensorium_jax.run.report import report
from sensorium_jax.run.submit import submit
from sensorium_jax.stop import Stopper
from support.processes import runs
from support.recordings import kinds, tiny
from support.recordings.kinds import KINDS

# These share two shapes, of which each program is compiled once.
QUICK = (
    "bare",
    "still_neurons",
    "pictures_bare",
    "one_frame",
    "one_trial",
    "all_silent",
    "short45",
    "two_tiers",
)
REPORTED = ("bare",)  # also by the quick test
FILMS = {"core": {"channels": (2, 2), "lags": 3, "bases": 2, "kernels": (3, 3)}}
PICTURES = {"core": tiny.NARROW_2D | {"layers": 1}, "asking": {"scale": 1.0}}


@pytest.mark.parametrize("kind", QUICK)
def test_kinds_of_recordings_go_the_whole_way(kind, tmp_path, monkeypatch, capsys):
    go(kind, tmp_path, monkeypatch, capsys, steps=2)


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_goes_the_whole_way(kind, tmp_path, monkeypatch, capsys):
    go(kind, tmp_path, monkeypatch, capsys, steps=6)


def test_there_are_24_kinds():
    assert len(KINDS) == 24 and set(QUICK) < set(KINDS)


def go(kind, folder, monkeypatch, capsys, *, steps):
    expected, data = KINDS[kind], kinds.write(kind, folder / "data")
    pictures = (data / "mouse0/data/images").is_dir()
    found = check(str(data), deep=True)
    if expected.refused:
        with pytest.raises(UserError, match=expected.refused):
            run(folder, pictures, steps)
        assert not (folder / "run").exists()
        return
    assert found.code == 0, found.text
    interrupted(folder, pictures, steps, monkeypatch)
    capsys.readouterr()
    trained = run(folder, pictures, steps)
    said = f"note: tier '{expected.tier}' validates"
    assert capsys.readouterr().err.count(said) == judged_by_choice(data, expected.tier)
    assert trained.step == steps and trained.score is not None
    leaves = runs.state(folder, steps)
    assert all(x.size and np.isfinite(x).all() for x in leaves.values())
    scored(folder, data, expected)
    if steps > 2 or kind in REPORTED:
        reported(folder, data, expected)
    sent(folder, data, expected, "sensorium+" if pictures else "main")


def judged_by_choice(data, tier):
    """How often it is said which tier validates: once, where no release says it."""
    config = json.loads((data / "mouse0/config.json").read_text())
    return int(config["rules"]["name"] == "own" and tier != "val")


def run(folder, pictures, steps):
    changes = {
        "mesh.mouse": 1,  # programs for one device compile in half the time
        "mesh.data": 1,
        "train.steps": steps,
        "train.batch": 2,
        "train.frames": 1 if pictures else 8,
        "train.sinks": "('jsonl',)",
        "validate.every": 10_000,
    }
    return sj.train(
        "cnn2022_plus" if pictures else "demo",
        folder / "run",
        data=folder / "data",
        model=PICTURES if pictures else FILMS,
        changes=changes,
    )


def interrupted(folder, pictures, steps, monkeypatch):
    """The same run, asked to stop during its first step."""

    @contextmanager
    def asked():
        stopper = Stopper()
        stopper.asked = True
        yield stopper

    with monkeypatch.context() as patch:
        patch.setattr(train, "stop_on_signals", asked)
        assert run(folder, pictures, steps).stopped
    assert runs.saved(folder)[-1] == 1


def reported(folder, data, expected):
    """A page with every figure that such recordings allow."""
    done = report([str(folder / "run")], tier="val", draws=20, no_linear=True)
    page = (folder / "run/report.html").read_text()
    assert done.data["bytes"] == len(page.encode())
    assert expected.tier in done.data["scores"]
    titles = ("Learning curves", "The population", "Predicted and recorded")
    assert all(f"<h3>{words}" in page for words in titles)
    places = page.count("<h3>Readout positions of")
    assert places == len(sj.open(data)) or "Receptive fields of" in page


def scored(folder, data, expected):
    recordings, twin = sj.open(data), sj.twin(folder / "run")
    (found,) = sj.score(twin, recordings, draws=20).as_dict().items()
    tier, scores = found
    assert tier == expected.tier
    trials = sum(int((s.tiers == tier).sum()) for s in recordings.sessions)
    neurons = sum(s.neurons for s in recordings.sessions)
    assert scores["trials"] == trials and scores["neurons"] == neurons
    assert scores["undefined"] == expected.undefined
    assert np.isfinite([scores["single_trial"], scores["poisson"]]).all()
    if tier == "val" or len(recordings) == 1:
        assert sj.score(twin, recordings, tier="all", draws=20)


def sent(folder, data, expected, track):
    words = {"track": track, "workdir": str(folder / "run"), "out": str(folder / "up")}
    tiers = ",".join(expected.send or (expected.tier,))
    if expected.unsent:
        with pytest.raises(UserError, match=expected.unsent):
            submit(str(data), tier=tiers, **words)
        assert not list((folder / "up").glob("*.*"))
        return
    outcome = submit(str(data), tier=tiers, **words)
    assert outcome.code == 0, outcome.text
