"""Searches of campaigns: Optuna chooses, a restart shares the study, some are ended."""

import importlib.util
import json

import pytest

from sensorium_jax.cli import main
from sensorium_jax.run.campaign import child, pool
from support.processes import launched

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(
        importlib.util.find_spec("optuna") is None, reason="optuna is not installed"
    ),
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
]
SEARCH = """
def get_campaign(count=4, does="demo"):
    return {"changes": {"train.steps": 4, "model.name": does}, "stages": {"tune": {
        "recipe": "demo",
        "search": {"count": count, "seed": 3, "train.clip": ["integer", 1, 9],
                   "train.rate": ["log_uniform", 1e-3, 1e-1]},
    }}}
"""


@pytest.fixture
def words(tmp_path, monkeypatch):
    monkeypatch.setattr(child, "PROGRAM", launched.PROGRAM)
    monkeypatch.setattr(pool, "POLL_S", 0.01)
    monkeypatch.setattr(pool, "LOOK_S", 0.05)
    path = tmp_path / "search.py"
    path.write_text(SEARCH)
    return ["launch", str(path), "--workdir", str(tmp_path / "place"), "--json"]


def trials(place):
    import optuna

    journal = optuna.storages.journal
    backend = journal.JournalFileBackend(str(place / "launched/tune.journal"))
    storage = optuna.storages.JournalStorage(backend)
    return optuna.load_study(study_name="tune", storage=storage).trials


def test_a_search_goes_on_in_its_study(words, tmp_path, capsys):
    assert main(words) == 0
    first = json.loads(capsys.readouterr().out)["runs"]
    rates = [run["values"]["train.rate"] for run in first]
    assert len(set(rates)) == 4 and all(1e-3 <= rate <= 1e-1 for rate in rates)
    # The stand-in scores the rate that it was given.
    assert [run["score"] for run in first] == rates
    assert main([*words, "--with", "count=6", "--jobs", "2"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["done"] == 6 and found["runs"][:4] == first
    known = trials(tmp_path / "place")
    assert [t.value for t in known[:4]] == rates and len(known) == 6
    assert all(t.state.name == "COMPLETE" for t in known)


def test_a_trial_that_was_cut_off_is_tried_again_as_it_was(words, tmp_path, capsys):
    assert main([*words, "--with", "does=fails", "--with", "count=1"]) == 1
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    (tmp_path / "place" / run["name"] / "mended").touch()
    again = [*words, "--with", "does=fails", "--with", "count=1", "--retry"]
    assert main(again) == 0
    (after,) = json.loads(capsys.readouterr().out)["runs"]
    assert after["values"] == run["values"] and after["state"] == "done"
    assert [t.state.name for t in trials(tmp_path / "place")] == ["FAIL", "COMPLETE"]


def test_a_run_that_does_worse_than_others_is_ended(words, tmp_path, capsys):
    words = [*words, "--with", "does=validates", "--with", "count=8"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    states = [run["state"] for run in found["runs"]]
    assert set(states[:5]) == {"done"} and states[5:] == ["pruned"] * 3
    assert [t.state.name for t in trials(tmp_path / "place")[5:]] == ["PRUNED"] * 3
