"""Runs side by side: what differs, how they stand, and which is better."""

import json
import os
import socket

import numpy as np
import pytest

from sensorium_jax.checkpoints import layout
from sensorium_jax.cli import main
from sensorium_jax.io.lock import only_writer
from sensorium_jax.run import judged
from support.recordings.simulated import tree, true_rates
from support.twins import Told


def workdir(folder, *, rate, score, at=10, steps=10, root="data", names=("a", "b")):
    """The workdir of a run that has come to a step, without any weights."""
    config = {
        "seed": 1,
        "data": {"root": str(root), "rules": ""},
        "model": {"changes": {"core": {"layers": 2 if rate < 0.1 else 3}}},
        "train": {"batch": 4, "steps": steps, "rate": rate, "keep": int(100 * rate)},
    }
    card = {
        "recipe": "demo",
        "config": config,
        "mice": [{"name": n, "neurons": 5} for n in names],
    }
    card["progress"] = {"best": score, "best_step": 4, "finished": False}
    rows = [
        {"step": i, "loss": 1 / i, "samples_per_s": 4.0, "eta_s": 2.0 * (steps - i)}
        for i in range(1, at + 1)
    ]
    rows.insert(4, {"step": 4, "score": score, "best": score})
    path = layout.card_path(folder / layout.STEPS / str(at))
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(card))
    (folder / "run.json").write_text(json.dumps(card))
    lines = [json.dumps(row) + "\n" for row in rows]
    (folder / "log.jsonl").write_text("".join(lines))
    return folder


@pytest.fixture
def three(tmp_path):
    """Three runs in a folder of runs: one is over, one stopped, one goes on."""
    for name, (rate, score, at) in {
        "x/slow": (0.01, 0.2, 10),
        "x/fast": (0.1, 0.3, 6),
        "odd": (0.05, 0.1, 8),
    }.items():
        workdir(tmp_path / "all" / name, rate=rate, score=score, at=at)
    return tmp_path / "all"


def listed(capsys, *words):
    code = main(["runs", *map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_table_of_runs_says_what_differs_and_how_they_stand(three, capsys):
    with only_writer(three / "odd", "run"):
        code, found = listed(capsys, three, "--sort", "score")
    assert code == 0
    rows = found["runs"]
    assert [row["name"] for row in rows] == ["x/fast", "x/slow", "odd"]
    assert [row["state"] for row in rows] == ["stopped", "done", "running"]
    # Not the field that only says how many checkpoints are kept.
    assert rows[1]["differs"] == {"train.rate": 0.01, "model.changes.core.layers": 2}
    assert rows[0]["score"] == 0.3 and rows[0]["best_step"] == 4
    assert (rows[0]["step"], rows[0]["steps"]) == (6, 10)
    assert (rows[0]["mice"], rows[0]["neurons"]) == (2, 10)
    assert rows[0]["seconds"] == pytest.approx(6 * 2.0)  # 8 windows, 4 a second
    _, found = listed(capsys, three, "--sort", "rate")
    assert [row["name"] for row in found["runs"]] == ["x/slow", "odd", "x/fast"]
    assert main(["runs", str(three / "x"), str(three / "odd")]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].split()[:4] == ["run", "state", "layers", "rate"]
    assert "10/10" in said[2] and "null" not in said[0]


def test_the_table_as_a_file_and_curves_in_a_figure(three, tmp_path, capsys):
    csv, figure = tmp_path / "runs.csv", tmp_path / "curves.svg"
    assert listed(capsys, three, "--csv", csv, "--figure", figure)[0] == 0
    head, *body = csv.read_text().splitlines()
    assert {"score", "train.rate"} <= set(head.split(",")) and len(body) == 3
    text = figure.read_text()
    assert all(
        f"<!-- {name} -->" in text for name in ("x/fast", "odd", "loss", "score")
    )


def test_scores_along_what_was_varied(three, tmp_path, capsys):
    judged = {"single_trial": 0.25, "single_trial_interval": [0.2, 0.3], "step": 4}
    for name in ("x/slow", "odd"):
        (three / name / "scored.json").write_text(json.dumps(judged))
    figure = tmp_path / "rates.svg"
    code, found = listed(capsys, three, "--along", "rate", "--figure", figure)
    assert code == 0
    points = [tuple(point.values()) for point in found["along"]]
    assert points == [
        ("", 0.05, 1, 0.25, 0.2, 0.3),
        ("x", 0.01, 1, 0.25, 0.2, 0.3),
        ("x", 0.1, 1, 0.3, None, None),  # not judged: its best validation
    ]
    assert "<!-- rate -->" in figure.read_text()
    _, found = listed(capsys, three / "x", "--along", "layers")
    assert [point["value"] for point in found["along"]] == [2, 3]
    _, found = listed(capsys, three / "x", "--along", "mice")
    (point,) = found["along"]  # the mean of both, of which one was not judged
    assert point == {
        **{"folder": "", "value": 2, "runs": 2},
        **{"score": pytest.approx(0.25), "low": None, "high": None},
    }


def campaigned(folder, name, **state):
    """Make a run of this folder one of a campaign, in a state."""
    run = {"name": name, "stage": "x", "words": ["train"], "needs": []}
    plain = {"file": "f", "runs": [{**run, "values": {}, "search": {}}]}
    (folder / "campaign.json").write_text(json.dumps(plain))
    path = folder / f"launched/{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(state))


def test_a_run_that_its_campaign_has_failed_is_told_so(three, capsys):
    campaigned(three, "x/fast", state="failed")
    rows = {row["name"]: row for row in listed(capsys, three)[1]["runs"]}
    assert rows["x/fast"]["state"] == "failed" and rows["odd"]["state"] == "stopped"


def test_a_run_whose_machine_lost_power_does_not_go_on(three, capsys):
    """Its state says running; its lock, or another machine, knows better."""
    name = "launched/x/fast.lock"
    campaigned(three, "x/fast", state="running", host=socket.gethostname())
    (three / name).touch()  # a kill leaves the file, which holds nothing
    rows = {row["name"]: row for row in listed(capsys, three)[1]["runs"]}
    assert rows["x/fast"]["state"] == "stopped"
    assert "ended without a word" in rows["x/fast"]["remark"]
    with only_writer(three, "launch", name):
        rows = {row["name"]: row for row in listed(capsys, three)[1]["runs"]}
        assert (rows["x/fast"]["state"], rows["x/fast"]["remark"]) == ("running", "")
    campaigned(three, "x/fast", state="running", host="node7")
    last = max(p.stat().st_mtime for p in (three / "x/fast").iterdir()) - 600
    for path in (three, *three.rglob("*")):
        os.utime(path, (last, last))
    assert main(["runs", str(three)]) == 0
    said = capsys.readouterr().out
    assert "x/fast: last sign of life 10.0 min ago, on host node7" in said
    assert any("x/fast  running" in line for line in said.splitlines())


class Known(Told):
    """A twin with a card, which answers with rates that are blurred by so much."""

    def __init__(self, recordings, share):
        def rates(session, row):
            random = np.random.default_rng([session.files[row]])
            rates_tn = true_rates(session, row)
            noise_tn = random.gamma(1.0, rates_tn.std() + 1e-9, rates_tn.shape)
            return (1 - share) * rates_tn + share * noise_tn

        super().__init__(recordings, rates)
        self.card = {"progress": {"best_step": 4}}


@pytest.mark.soak
def test_scores_beside_their_bounds_and_a_paired_test(tmp_path, capsys, monkeypatch):
    recordings = tree(tmp_path / "data")
    twins = {}
    for name, share in {"good": 0.1, "poor": 0.7}.items():
        options = {"root": tmp_path / "data", "names": recordings.names}
        place = workdir(tmp_path / "runs" / name, rate=share, score=0.1, **options)
        twins[str(place)] = Known(recordings, share)
    monkeypatch.setattr(judged.load, "load", lambda path: twins[str(path)])
    words = (tmp_path / "runs", "--draws", 20)
    assert listed(capsys, *words)[1]["runs"][0]["ceiling"] is None
    code, found = listed(capsys, *words, "--score", "--pair", "good", "poor")
    assert code == 0
    good, poor = found["runs"]
    assert 0 < good["fraction_of_ceiling"] <= 1.01 and good["null"] is not None
    assert poor["fraction_of_ceiling"] < good["fraction_of_ceiling"]
    (pair,) = found["pairs"]
    assert pair["difference"] > 0 and pair["difference_interval"][0] > 0
    assert listed(capsys, *words)[1]["runs"][0]["ceiling"] == good["ceiling"]


def test_what_was_judged_once_is_known_while_that_step_is_the_best(three, capsys):
    kept = {"step": 4, "null": 0.01, "ceiling": 0.5, "fraction_of_ceiling": 0.6}
    for name, step in (("x/fast", 4), ("x/slow", 3)):
        (three / name / "scored.json").write_text(json.dumps(kept | {"step": step}))
    rows = {row["name"]: row for row in listed(capsys, three)[1]["runs"]}
    assert rows["x/fast"]["ceiling"] == 0.5 and rows["x/fast"]["null"] == 0.01
    assert rows["x/slow"]["ceiling"] is None and rows["odd"]["ceiling"] is None
    assert main(["runs", str(three)]) == 0
    assert "null  ceiling  fraction" in capsys.readouterr().out


def test_wrong_words(three, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for words, said in (
        ([tmp_path / "absent"], "is no folder"),
        ([tmp_path / "empty"], "holds no run of a training"),
        ([three, "--sort", "scor"], "Did you mean 'score'?"),
        ([three, "--pair", "odd", "x/fas"], "Did you mean 'x/fast'?"),
        ([three, "--figure", tmp_path / "x.txt"], "is no picture"),
    ):
        assert main(["runs", *map(str, words)]) == 1
        err = capsys.readouterr().err
        assert said in err and len(err.splitlines()) == 1
