"""Workdirs of trainings and campaigns whose small files say anything, or nothing."""

import json
import os

import pytest

from support.processes import attacked
from support.processes.attacked import Case

NOT_A_RUN = "no card of a run"


def config(**sections):
    """What run.json says of the config, some of it something else."""
    return card(config={"train": {"batch": 4, "steps": 10}} | sections)


def train(**fields):
    return config(train={"batch": 4, "steps": 10} | fields)


def card(**fields):
    sound = {
        "recipe": "demo",
        "config": {"train": {"batch": 4, "steps": 10}},
        "mice": [{"name": "a"}],
    }
    return lambda run: (run / "run.json").write_text(json.dumps(sound | fields))


def run_json(content):
    return lambda run: (run / "run.json").write_bytes(content)


def log(content, repeats=9):
    return lambda run: (run / "log.jsonl").write_bytes(content * repeats)


def pipe(name):
    def plant(run):
        (run / name).unlink(missing_ok=True)
        os.mkfifo(run / name)

    return plant


def endless_log(run):
    log(b"x")(run)
    os.truncate(run / "log.jsonl", 5 << 30)


def campaign(content):
    return lambda run: (run.parent / "campaign.json").write_text(content)


def of_campaign(**fields):
    sound = {"stage": "a", "name": "run", "words": ["train"], "needs": []}
    run = sound | {"values": {}, "search": {}} | fields
    return campaign(json.dumps({"runs": [run]}))


def of_state(state):
    def plant(run):
        of_campaign()(run)
        launched = run.parent / "launched"
        launched.mkdir()
        (launched / "run.json").write_text(json.dumps(state))

    return plant


REFUSED = {
    "a config in a list": (card(config=[1]), NOT_A_RUN),
    "no config": (card(config=None), NOT_A_RUN),
    "a section in a list": (config(train=["batch", "steps"]), NOT_A_RUN),
    "a section of text": (config(train="batch steps"), NOT_A_RUN),
    "data in a list": (config(data=[1]), NOT_A_RUN),
    "a batch in words": (train(batch="x"), NOT_A_RUN),
    "a batch of none": (train(batch=0), NOT_A_RUN),
    "steps in words": (train(steps="x"), NOT_A_RUN),
    "steps without end": (train(steps=float("inf")), NOT_A_RUN),
    "mice in numbers": (card(mice=[1]), NOT_A_RUN),
    "no mice": (card(mice=[]), NOT_A_RUN),
    "deep": (run_json(b"[" * 100_000 + b"]" * 100_000), "lists inside lists"),
    "a page": (run_json(b"<html>"), "a web page"),
    "no text": (run_json(b"\xff\xfe"), "cannot be read"),
    "a log without end": (endless_log, "268435456 at most"),
    "a campaign in a list": (campaign("[1]"), "campaign"),
    "a campaign of another": (campaign('{"runs": [{"x": 1}]}'), "another version"),
    "a run upward": (of_campaign(name="../../run"), "no campaign has"),
    "words in numbers": (of_campaign(words=3), "no campaign has"),
    "a run that needs itself": (of_campaign(needs=["run"]), "come before it"),
    "a run that needs nobody": (of_campaign(needs=["else"]), "come before it"),
    "a state in a list": (of_state([1]), "no state of a run"),
    "attempts in words": (of_state({"attempts": "x"}), "no state of a run"),
    "values in a number": (of_state({"values": 3}), "no state of a run"),
    "a state of its own": (of_state({"state": "flying"}), "no state of a run"),
    "a signal beyond": (of_state({"state": "failed", "code": -999}), "no state of"),
}
# What says too much, or nonsense, and leaves enough to go by.
ENDURED = {
    "numbers beyond": log(b'{"step": 1e300, "loss": 1, "samples_per_s": 1e-300}\n'),
    "large numbers": log(b'{"step": 1e37, "samples_per_s": 1e-37, "eta_s": 1e37}\n'),
    "steps below zero": log(b'{"step": -5, "loss": 1e308, "samples_per_s": -1}\n'),
    "a step of 400 digits": log(b'{"step": ' + b"9" * 400 + b', "loss": 1}\n'),
    "a step of 5000 digits": log(b'{"step": ' + b"9" * 5000 + b"}\n"),
    "other kinds": log(b'{"step": true}\n{"step": [1]}\n[1]\n"a"\n{"step": NaN}\n'),
    "no text": log(bytes(range(256))),
    "deep": log(b"[" * 100_000 + b"\n", 2),
    "scores of a list": lambda run: (run / "scored.json").write_text("[1]"),
    "scores in words": lambda run: (run / "scored.json").write_text(
        '{"step": null, "null": "x", "ceiling": [1]}'
    ),
}


def planted(folder, plant):
    run = folder / "run"
    run.mkdir(parents=True)
    card()(run)
    log(b'{"step": 3, "loss": 1.0, "samples_per_s": 2.0, "eta_s": 3.0}\n')(run)
    plant(run)
    return run


def test_workdirs(tmp_path):
    cases, healthy = [], []
    for i, (name, (plant, said)) in enumerate(REFUSED.items()):
        run = planted(tmp_path / f"r{i}", plant)
        cases.append(Case(name, ("runs", str(run)), said))
    for i, (name, plant) in enumerate(ENDURED.items()):
        run = planted(tmp_path / f"e{i}", plant)
        healthy.append(Case(f"endured: {name}", ("runs", str(run))))
    for name in ("run.json", "log.jsonl"):
        run = planted(tmp_path / name, pipe(name))
        (run.parent / "sound").mkdir()
        planted(run.parent / "sound", lambda run: None)
        healthy.append(Case(f"a pipe: {name}", ("runs", str(run.parent))))
    circles = planted(tmp_path / "circles", lambda run: None).parent
    for i in range(60):
        (circles / f"link{i}").symlink_to(".")
    healthy.append(Case("links in circles", ("runs", str(circles))))
    problems = attacked.run(tmp_path, cases, healthy=healthy)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("name", ["run.json", "log.jsonl"])
def test_small_files_of_a_workdir_are_no_pipes(tmp_path, name):
    from sensorium_jax.run import budget, logged

    run = planted(tmp_path, pipe(name))
    assert budget.kept(run / "run.json") == (0 if name == "run.json" else 10)
    assert logged.is_run(run) == (name != "run.json")
