"""Campaigns that lie ready in experiments/, and one that is killed ten times."""

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from sensorium_jax.cli import main
from support.processes import runs
from support.quick import quickly
from support.recordings import tiny

READY = Path(__file__).parents[2] / "experiments/campaigns"
COUNTS = {  # runs on two mice
    "leave_one_mouse_out": 2 + 2 * (8 + 8),
    "scaling": 2 * (2 + 3 + 3 + 2) + 2,  # two stores of fewer neurons
    "cnn2022_ensemble20": 22,
    "baselines2023": 1 + 14 + 2,
    "dwise2023": 7 + 7 + 2,
    "cnn_sys_ident": 32,
}


@pytest.mark.parametrize("name", COUNTS)
def test_a_ready_campaign_is_planned(name, tmp_path, capsys):
    films = tiny.films(tmp_path / "films", 2, frames=2, train=1)
    assert set(COUNTS) == {path.stem for path in READY.glob("*.py")}
    words = ["launch", str(READY / f"{name}.py"), "--with", f"data={films}"]
    words += ["--workdir", str(tmp_path / "x"), "--dry-run", "--json"]
    assert main(words) == 0
    assert len(json.loads(capsys.readouterr().out)["runs"]) == COUNTS[name]


NARROW = json.dumps(tiny.NARROW_DWISE)
NARROW_2022 = json.dumps(tiny.NARROW["cnn2022"])
CORE = {"hidden_channels": (2, 2), "input_kernel": 3, "hidden_kernel": 3, "layers": 2}
# Options of the file, and fields of its trainings beside those that all have.
SMALL = {
    "leave_one_mouse_out": ({"shares": (0.3, 1.0)}, {}),
    "scaling": ({"shares": (0.5, 1.0), "widths": (1,), "channels": (4, 4)}, {}),
    "cnn2022_ensemble20": ({"seeds": 2, "mouse": 90001}, {"model.json": NARROW_2022}),
    "baselines2023": ({"seeds": 2}, {}),
    "dwise2023": ({"folds": 2}, {"model.json": NARROW, "train.frames": 16}),
    "cnn_sys_ident": ({"count": 2, "core": {"kind": "rotation2d", **CORE}}, {}),
}
TESTS = tuple(
    f"{when}_test_{on}" for when in ("live", "final") for on in ("main", "bonus")
)


def recordings(name, folder):
    """Those that a campaign at toy size is about."""
    if name == "cnn2022_ensemble20":
        words = ["--preset", "tiny", "--year", "2022", "--trials", "12"]
        assert main(["simulate", str(folder), *words]) == 0
        return folder
    if name == "cnn_sys_ident":
        return tiny.pictures(folder, 2)
    return tiny.films(folder, 2, frames=60, tests=TESTS)


@pytest.mark.soak
@pytest.mark.parametrize("name", SMALL)
def test_a_ready_campaign_runs_at_toy_size(name, tmp_path, capsys):
    """Every run in turn, in this process; recipes as they are but for their length."""
    pictures = name.startswith("cnn")
    given, fields = SMALL[name]
    given = {"data": recordings(name, tmp_path / "data")} | given
    small = {
        "train.steps": 2,
        "validate.batch": 2,
        "train.frames": 1 if pictures else 40 if name == "baselines2023" else 24,
    }
    small |= {} if name == "cnn_sys_ident" else {"train.batch": 2}
    words = ["launch", str(READY / f"{name}.py"), "--workdir", str(tmp_path / "x")]
    words += [x for k, v in given.items() for x in ("--with", f"{k}={v}")]
    words += [f"--config.{k}={v}" for k, v in (small | fields).items()]
    capsys.readouterr()
    assert main([*words, "--dry-run", "--json"]) == 0, capsys.readouterr().err
    for run in json.loads(capsys.readouterr().out)["runs"]:
        (tmp_path / "x" / run["name"]).mkdir(parents=True)
        with quickly():
            code = main(run["words"])
        said = capsys.readouterr()
        assert code == 0, f"{run['name']}: {said.err}"
        found = json.loads(said.out)
        if run["words"][0] == "train":
            assert found["step"] == 2 and np.isfinite(found["score"])


KILLED = """
def get_campaign(recipe, data):
    return {"stages": {
        "teach": {"recipe": recipe, "seeds": 3},
        "tune": {"recipe": recipe, "each": "teach",
                 "changes": {"model.start": "{teach}", "train.rate": 0.001}},
        "judge": {"command": ["score", "--data", data, "--model", "{tune*}", "--rules",
                              "own", "--draws", "20", "--no-linear",
                              "--csv", "{here}/s.csv"]},
        "send": {"command": ["submit", "--data", data, "--model", "{tune*}",
                             "--tier", "oracle", "--out", "{here}/out"]},
    }}
"""
KILLS = 10


def started(folder, place, films):
    """A launch of the campaign on two cores, each with one run at a time."""
    words = [*runs.PROGRAM, "launch", str(folder / "killed.py"), "--jobs", "2"]
    words += ["--with", "recipe=recipe.py", "--with", f"data={films}"]
    env = {"ROOT": str(films), "STEPS": "24", "EVERY": "8", "JAX_PLATFORMS": "cpu"}
    with (folder / f"{place.name}.said").open("ab") as said:
        return subprocess.Popen(
            [*words, "--workdir", str(place), "--json"],
            env=os.environ | runs.PATHS | env,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )


def below(number):
    """A process and all that it began, by their numbers."""
    try:
        words = Path(f"/proc/{number}/task/{number}/children").read_text().split()
    except FileNotFoundError:
        words = []
    return [number, *(n for word in words for n in below(int(word)))]


def kill(process, *, all_of_it):
    """kill -9 of the launcher, or of it and its runs at the same instant."""
    process.send_signal(signal.SIGSTOP)
    for number in below(process.pid) if all_of_it else [process.pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    process.wait()


def content(place):
    """Every array of every last checkpoint; the bytes of every table and submission."""
    found = {}
    for run in sorted(p.parent for p in place.rglob("run.json")):
        steps = sorted(run.glob("checkpoints/[0-9]*"), key=lambda p: int(p.name))
        for name, leaf in runs.read_state(steps[-1]).items():
            found[f"{run.relative_to(place)}:{name}"] = leaf.tobytes()
    for path in [place / "judge/s.csv", *sorted(place.glob("send/out/*"))]:
        found[str(path.relative_to(place))] = path.read_bytes()
    return found


def check_logs(place):
    """No step is in a log twice, and steps are those of an undisturbed run."""
    for path in place.rglob("log.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        steps = [row["step"] for row in rows if "loss" in row]
        assert steps == sorted(set(steps))


def check_once(said):
    """What was done was never begun again."""
    over = set()
    for line in said.splitlines():
        word, _, name = line.partition(" ")
        name = name.strip().partition(" ")[0].rstrip(",")
        if word == "done":
            assert name not in over, said
            over.add(name)
        assert word != "begun" or name not in over, said


@pytest.mark.soak
def test_a_campaign_killed_ten_times_ends_as_one_that_was_not(tmp_path):
    """kill -9 at random instants, of the launcher alone or of all; then once more."""
    films = tiny.films(tmp_path / "films", 2)
    (tmp_path / "recipe.py").write_text(runs.RECIPE)
    (tmp_path / "killed.py").write_text(KILLED)
    smooth, killed = tmp_path / "smooth", tmp_path / "killed"
    began = time.monotonic()
    assert runs.finish(started(tmp_path, smooth, films), timeout=3000) == [0]
    took = time.monotonic() - began
    draw, instants = random.Random(0), []
    for i in range(KILLS):
        process = started(tmp_path, killed, films)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(draw.uniform(0.05, 0.3) * took)
            break  # it was over before
        instants.append(len(list(killed.rglob("card.json"))))
        kill(process, all_of_it=i % 2 == 1)
    said = (tmp_path / "killed.said").read_text()
    print(f"{took:.0f} s undisturbed; checkpoints at each kill: {instants}")
    assert len(instants) >= KILLS // 2, said
    assert runs.finish(started(tmp_path, killed, films), timeout=3000) == [0], said
    check_once((tmp_path / "killed.said").read_text())
    one, other = content(smooth), content(killed)
    assert one.keys() == other.keys() and len(one) > 10
    assert [name for name in one if one[name] != other[name]] == []
    check_logs(killed)
