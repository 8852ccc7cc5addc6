"""The engine of campaigns: plans, states, a pool; runs are a stand-in that writes."""

import json
import os
import shlex
import signal
import subprocess
import sys
import threading

import pytest

from sensorium_jax.cli import main
from sensorium_jax.errors import UserError
from sensorium_jax.run.campaign import child, folder, pool
from sensorium_jax.run.campaign.plan import plan
from sensorium_jax.run.campaign.stages import read
from sensorium_jax.stop import Stopper
from support.processes import launched, runs as processes

TWO = """
def get_campaign(seeds=2, does="demo"):
    return {
        "changes": {"train.steps": 4, "model.name": does},
        "stages": {
            "teach": {"recipe": "demo", "folds": 2, "seeds": seeds},
            "tune": {
                "recipe": "demo",
                "changes": {"model.start": "{teach}", "model.name": "demo"},
                "each": "teach",
            },
            "send": {
                "command": ["submit", "--model", "{tune*}", "--out", "{here}/files"],
                "folds": 2,
            },
        },
    }
"""


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    monkeypatch.setattr(child, "PROGRAM", launched.PROGRAM)
    monkeypatch.setattr(pool, "POLL_S", 0.01)
    monkeypatch.setattr(pool, "LOOK_S", 0.05)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "two.py"
    path.write_text(TWO)
    return path


def launch(capsys, *words):
    """Exit code, the JSON object, and what was said."""
    code = main(["launch", *map(str, words), "--json"])
    out, err = capsys.readouterr()
    return code, json.loads(out), err


def ran(place):
    """How often each run began."""
    return {
        str(p.parent.relative_to(place)): len(p.read_text().splitlines())
        for p in sorted(place.rglob("ran"))
    }


def test_stages_feed_each_other_and_nothing_runs_twice(file, tmp_path, capsys):
    place = tmp_path / "place"
    words = (file, "--workdir", place, "--jobs", 2)
    code, found, err = launch(capsys, *words)
    assert code == 0 and found["done"] == 10 and "done     send/fold=1" in err
    begun = [x.split()[1] for x in err.splitlines() if x.startswith("begun")]
    assert begun.index("tune/fold=0_seed=1") > begun.index("teach/fold=0_seed=1")
    once = ran(place)
    assert len(once) == 10 and set(once.values()) == {1}
    run = next(r for r in found["runs"] if r["name"] == "tune/fold=1_seed=0")
    assert f"--config.model.start={place}/teach/fold=1_seed=0" in run["words"]
    assert run["values"] == {"fold": "1", "seed": 0} and run["score"] == 0.5
    run = next(r for r in found["runs"] if r["name"] == "send/fold=1")
    models = [f"{place}/tune/fold=1_seed={i}" for i in range(2)]
    at = run["words"].index("--model")
    assert run["words"][at + 1 : at + 3] == models and len(run["needs"]) == 2
    assert launch(capsys, *words)[0] == 0 and ran(place) == once
    assert launch(capsys, "--workdir", place)[1]["done"] == 10 and ran(place) == once


def test_a_campaign_may_grow_but_no_run_becomes_another(file, tmp_path, capsys):
    place = tmp_path / "place"
    file.write_text(
        "def get_campaign(seeds=1):\n"
        "    stage = {'recipe': 'demo', 'seeds': seeds}\n"
        "    return {'changes': {'train.steps': 4}, 'stages': {'a': stage}}\n"
    )
    words = (file, "--workdir", place)
    assert launch(capsys, *words)[1]["done"] == 1
    assert launch(capsys, *words, "--with", "seeds=2")[1]["done"] == 2
    assert ran(place) == {"a/seed=0": 1, "a/seed=1": 1}
    code, found, _ = launch(capsys, *words)
    assert code == 1 and "its run a/seed=1 is none of this one's" in found["error"]
    file.write_text(file.read_text().replace("4", "5"))
    code, found, _ = launch(capsys, *words, "--with", "seeds=2")
    assert code == 1 and "steps=4 where this one has" in found["error"]


def test_a_failed_run_is_told_and_retried_by_choice_only(file, tmp_path, capsys):
    place = tmp_path / "place"
    words = (file, "--workdir", place, "--with", "seeds=1", "--with", "does=fails")
    for _ in range(2):
        code, found, err = launch(capsys, *words)
        assert code == 1 and found["failed"] == 2 and found["waiting"] == 4
        assert found["stopped"] == found["pruned"] == found["running"] == 0
        assert ran(place) == {"teach/fold=0_seed=0": 1, "teach/fold=1_seed=0": 1}
    run = found["runs"][0]
    assert run["code"] == 3 and "the recordings are gone" in run["log"]
    assert main([*map(str, ("launch", *words))]) == 1
    said = capsys.readouterr().out
    assert "teach/fold=0_seed=0 failed (exit code 3)" in said
    assert "--retry runs what has failed again. 4 runs wait for that." in said
    assert "the recordings are gone" in said and "--retry" in said
    for name in ran(place):
        (place / name / "mended").touch()
    code, found, _ = launch(capsys, *words, "--retry")
    assert code == 0 and found["done"] == 6
    assert [r["attempts"] for r in found["runs"]] == [2, 2, 1, 1, 1, 1]


def test_a_run_that_was_killed_has_failed(file, tmp_path, capsys):
    words = ("--with", "seeds=1", "--with", "does=dies")
    code, found, err = launch(capsys, file, "--workdir", tmp_path / "x", *words)
    assert code == 1 and found["failed"] == 2
    assert "killed by SIGKILL" in err


def claimed(place, file, **options):
    """The campaign of a file in a folder, of one seed."""
    return folder.claim(place, plan(read(file, {"seeds": 1, **options})), str(file))


def test_a_campaign_that_is_asked_to_stop_asks_its_runs_and_goes_on(file, tmp_path):
    place = tmp_path / "place"
    campaign, stopper = claimed(place, file, does="sleeps"), Stopper()

    def ask():
        processes.until(lambda: len(list(place.rglob("listens"))) == 2)
        stopper.asked = True

    asking = threading.Thread(target=ask)
    asking.start()
    slots = pool.shares(2, 0)
    pool.work(campaign, campaign.runs, slots, stopper)
    asking.join()
    states = [campaign.state(run).state for run in campaign.runs]
    assert states == ["stopped", "stopped", *["waiting"] * 4]
    pool.work(campaign, campaign.runs, slots, Stopper())
    assert {campaign.state(run).state for run in campaign.runs} == {"done"}
    assert ran(place)["teach/fold=0_seed=0"] == 2
    assert ran(place)["tune/fold=0_seed=0"] == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_launch_that_was_stopped_says_so_by_its_exit_code(
    file, tmp_path, capsys, number
):
    """A scheduler repeats a command that ends so, and one that ends with 0 never."""
    place = tmp_path / "place"

    def ask():
        processes.until(lambda: len(list(place.rglob("listens"))) == 1)
        os.kill(os.getpid(), number)

    asking = threading.Thread(target=ask)
    asking.start()
    words = (file, "--workdir", place, "--with", "seeds=1", "--with", "does=sleeps")
    code, found, _ = launch(capsys, *words, "--only", "teach/fold=0_seed=0")
    asking.join()
    assert code == 130 and found["stopped"] == 1
    assert launch(capsys, *words, "--only", "teach/fold=0_seed=0")[0] == 0


def test_a_run_outlives_nobody_and_has_one_writer(file, tmp_path):
    """While a run goes on no other process begins it, and it ends with its parent."""
    place = tmp_path / "place"
    campaign = claimed(place, file, does="sleeps")
    code = (
        "import sys, time; from pathlib import Path\n"
        "from sensorium_jax.run.campaign import child, folder\n"
        f"child.PROGRAM = {launched.PROGRAM!r}\n"
        f"campaign = folder.opened(Path({str(place)!r}))\n"
        "one = child.begin(campaign, campaign.runs[0]); time.sleep(100)"
    )
    with subprocess.Popen(
        [child.sys.executable, "-c", code], env=os.environ | processes.PATHS
    ) as parent:
        listens = place / campaign.runs[0].name / "listens"
        processes.until(listens.exists)
        stands = campaign.stands(campaign.runs[0])
        assert (stands[0].state, stands[1]) == ("running", "")
        assert child.begin(campaign, campaign.runs[0]) is None
        parent.kill()
    processes.until((listens.parent / "mended").exists)
    processes.until(lambda: campaign.stands(campaign.runs[0])[1] != "")
    stands, remark = campaign.stands(campaign.runs[0])
    assert stands.state == "stopped" and "without a word" in remark
    assert campaign.state(campaign.runs[0]).state == "running"  # nobody noted its end
    pool.work(campaign, campaign.runs[:1], [child.WHOLE], Stopper())
    state = campaign.state(campaign.runs[0])
    assert state.state == "done" and state.attempts == 2


def test_runs_share_cores_and_gpus_by_count(file, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    assert pool.shares(2, 0) == [child.Share((0,)), child.Share((1,))]
    assert pool.shares(0, 0) == pool.shares(1, 0) == [child.Share()]
    assert pool.shares(3, 0) == [child.Share()] * 3
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5,7,9")
    two = [child.Share((0,), ("2", "5")), child.Share((1,), ("7", "9"))]
    assert pool.shares(0, 2) == two
    assert pool.shares(1, 2) == [child.Share((), ("2", "5"))]
    with pytest.raises(UserError, match="promised 5 GPUs"):
        pool.shares(0, 5)
    monkeypatch.undo()
    monkeypatch.setattr(child, "PROGRAM", launched.PROGRAM)
    campaign = claimed(tmp_path / "x", file)
    core = max(os.sched_getaffinity(0))
    one = child.begin(campaign, campaign.runs[0], child.Share((core,), ("7",)))
    assert one.end().state == "done"
    said = json.loads((campaign.path(campaign.runs[0]) / "ran").read_text())
    assert said["cores"] == [core] and said["gpus"] == "7"


def test_a_dry_run_writes_nothing_and_counts_measured_steps(file, tmp_path, capsys):
    place = tmp_path / "place"
    words = (file, "--workdir", place, "--dry-run", "--jobs", 2)
    assert main([*map(str, ("launch", *words))]) == 0
    assert "not known before one has run" in capsys.readouterr().out
    assert not place.exists()
    run = place / "teach/fold=0_seed=0"
    run.mkdir(parents=True)
    mice = [{"name": "a"}, {"name": "b"}]
    card = {"mice": mice, "config": {"train": {"batch": 8, "steps": 4}}}
    (run / "run.json").write_text(json.dumps(card))
    rows = [{"step": i, "samples_per_s": s} for i, s in ((1, 0.1), (2, 8.0), (3, 8.0))]
    (run / "log.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows) + '{"st')
    code, found, _ = launch(capsys, *words)
    assert [r["seconds_per_step"] for r in found["runs"][:4]] == [2.0] * 4  # 16 / 8
    (run / "log.jsonl").write_text(json.dumps(rows[0]) + "\n")
    _, found, _ = launch(capsys, *words)  # the first step compiles, and tells nothing
    assert found["runs"][0]["seconds_per_step"] is None
    (run / "log.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    assert main([*map(str, ("launch", *words))]) == 0
    said = capsys.readouterr().out
    # One step of the run that was measured, and four of three others of its stage.
    assert "about 26 s of steps are left, 13 s with 2 at a time; 4 trainings" in said
    assert main([*map(str, ("launch", *words, "--like", run))]) == 0
    assert "about 58 s of steps are left" in capsys.readouterr().out


def test_commands_for_another_scheduler_do_one_run_each(file, tmp_path, capsys):
    place, lines = tmp_path / "place", tmp_path / "lines"
    words = (file, "--workdir", place, "--with", "seeds=1", "--commands", lines)
    assert launch(capsys, *words)[0] == 0
    text = lines.read_text().splitlines()
    stages = [line for line in text if line.startswith("#")]
    assert stages == ["# stage teach", "# stage tune", "# stage send"]
    assert len(text) == 3 + 6 and not ran(place)
    command = shlex.split(text[1].partition(" && ")[2])
    assert command[1:4] == ["-m", "sensorium_jax.cli", "launch"]
    assert main(command[3:]) == 0 and ran(place) == {"teach/fold=0_seed=0": 1}
    last = shlex.split(text[-1].partition(" && ")[2])[3:]
    assert main(last) == 1
    assert "needs tune/fold=1_seed=0, which is not done" in capsys.readouterr().err


def test_axes_lists_and_draws(tmp_path):
    path = tmp_path / "axes.py"
    path.write_text("""
def get_campaign(count=3):
    return {"stages": {"a": {
        "recipe": "demo",
        "axes": {"train.batch": [2, 4], "data.mice": [("x",), ("x", "y")]},
        "list": [{"train.rate": 0.1, "train.clip": 1.0},
                 {"train.rate": 0.2, "train.clip": 2.0}],
        "draws": {"count": count, "seed": 7, "train.decay": ["log_uniform", 1e-4, 1e-2],
                  "train.warmup": ["integer", 1, 9]},
    }}}
""")
    some, more = (plan(read(path, {"count": n})) for n in (3, 4))
    assert len(some) == 2 * 2 * 2 * 3 and len(more) == 32
    assert {r.name for r in some} < {r.name for r in more}
    word = "--config.data.mice=('x', 'y')"
    assert sum(word in run.words for run in some) == 12
    decays = {run.values["train.decay"] for run in more}
    assert len(decays) == 4 and all(1e-4 <= x <= 1e-2 for x in decays)
    assert all(1 <= run.values["train.warmup"] <= 9 for run in more)
    assert all(len(run.name) < 200 and "'" not in run.name for run in more)


STAGE = '{"stages": {"a": %s}}'
TRAIN = '{"stages": {"a": {"recipe": "demo", %s}}}'
WRONG = {
    "an unknown field": (TRAIN % '"axis": {"train.rate": [1]}', "Did you mean 'axes'?"),
    "an empty axis": (TRAIN % '"axes": {"train.rate": []}', "The axis 'train.rate'"),
    "a circle": (
        '{"stages": {"a": {"recipe": "demo", "changes": {"model.start": "{b}"}}, '
        '"b": {"recipe": "demo", "after": "a"}}}',
        "go in a circle",
    ),
    "a missing fold": (
        '{"stages": {"a": {"recipe": "demo", "folds": 2}, "b": {"recipe": "demo", '
        '"folds": 3, "changes": {"model.start": "{a}"}}}}',
        "needs a run of 'a' with fold 2",
    ),
    "an unknown recipe": (STAGE % '{"recipe": "demoo"}', "Did you mean 'demo'?"),
    "an unknown field of a recipe": (
        TRAIN % '"axes": {"train.rat": [1]}',
        "Stage 'a': The config 'demo' does not load",
    ),
    "an unknown stage": (TRAIN % '"after": "b"', "Unknown stage 'b'"),
    "an unknown name in braces": (
        TRAIN % '"changes": {"model.start": "{teach}"}',
        "Unknown name 'teach'",
    ),
    "many runs for one": (
        '{"stages": {"a": {"recipe": "demo", "seeds": 2}, "b": {"recipe": "demo", '
        '"changes": {"model.start": "{a}"}}}}',
        "stands for 2 runs",
    ),
    "neither": (STAGE % '{"seeds": 2}', "no recipe and no command"),
    "an axis twice": (TRAIN % '"seeds": 2, "axes": {"seed": [1]}', "'seed' twice"),
    "a value twice": (TRAIN % '"seeds": [1, 1]', "Two runs would be a/seed=1"),
    "a bad range": (
        TRAIN % '"draws": {"count": 2, "train.rate": ["log_uniform", 0, 1]}',
        "The range of 'train.rate'",
    ),
    "no stages": ("[]", "Expected a dict with 'stages'"),
    "a search without end": (
        TRAIN % '"search": {"count": 10**9, "train.rate": ["uniform", 0, 1]}',
        "expected at most 10000",
    ),
    "draws without end": (
        TRAIN % '"draws": {"count": 10**9, "train.rate": ["uniform", 0, 1]}',
        "expected at most 10000",
    ),
    "seeds without end": (TRAIN % '"seeds": 10**9', "expected at most 10000"),
    "folds without end": (TRAIN % '"folds": 10**9', "expected at most 10000"),
    "runs of many runs": (
        '{"stages": {"a": {"recipe": "demo", "seeds": 9000}, "b": {"recipe": "demo", '
        '"each": "a", "axes": {"train.rate": list(range(9000))}}}}',
        "The stages give 81009000 runs",
    ),
    "an infinite range": (
        TRAIN % '"draws": {"count": 2, "train.rate": ["uniform", 0, 1e999]}',
        "The range of 'train.rate'",
    ),
    "an empty range": (
        TRAIN % '"draws": {"count": 2, "train.rate": []}',
        "The range of 'train.rate'",
    ),
    "a seed below zero": (
        TRAIN % '"draws": {"count": 2, "seed": -1, "train.rate": ["uniform", 0, 1]}',
        "seed -1",
    ),
    "a number for a command": (STAGE % '{"command": 3}', "expected a list of words"),
    "a number for a recipe": (STAGE % '{"recipe": 3}', "expected a name"),
    "a number for stages": (TRAIN % '"after": 3', "expected names of stages"),
    "a dict in itself": (
        TRAIN % '"changes": (d := {}, d.update(x=d))[0]',
        "lists inside lists",
    ),
    "leaving Python": ("__import__('sys').exit(0)", "SystemExit: 0 (line 2)"),
    "an assertion": ("(_ for _ in ()).throw(AssertionError('no'))", "AssertionError"),
    "a mistake of Python": ("1 / 0", "ZeroDivisionError: division by zero (line 2)"),
}


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
@pytest.mark.parametrize(("text", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_campaign_is_one_paragraph(tmp_path, capsys, text, said):
    path, place = tmp_path / "wrong.py", tmp_path / "place"
    path.write_text(f"def get_campaign():\n    return {text}\n")
    assert main(["launch", str(path), "--workdir", str(place)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("sensorium: ") and said in line
    assert not place.exists()


def test_a_search_without_optuna_is_refused_before_anything_runs(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "optuna", None)
    path = tmp_path / "search.py"
    search = {"count": 2, "train.rate": ["uniform", 0.1, 0.2]}
    stages = {
        "first": {"recipe": "demo"},
        "tune": {"recipe": "demo", "after": "first", "search": search},
    }
    path.write_text(f"def get_campaign():\n    return {{'stages': {stages}}}\n")
    place = tmp_path / "place"
    assert main(["launch", str(path), "--workdir", str(place)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "sensorium-jax[search]" in line and not ran(place)


def test_wrong_folders_files_and_options(file, tmp_path, capsys):
    place = tmp_path / "place"
    words = ["launch", str(file), "--workdir", str(place), "--with", "seeds=1"]
    assert main([*words, "--commands", str(tmp_path / "lines")]) == 0
    other = [*words, "--config.train.clip=2.0"]
    for wrong, code, said in (
        (other, 1, "where this one has --config.train.clip=2.0"),
        ([*words[:-1], "seed=1"], 1, "Did you mean 'seeds'?"),
        (["launch", "--workdir", str(tmp_path)], 1, "holds no campaign"),
        (["launch", str(file), "--workdir", str(tmp_path)], 1, "holds other files"),
        (["launch", "http://host/c.py", "--workdir", "x"], 1, "none is fetched"),
        (["launch", str(tmp_path / "no.py"), "--workdir", "x"], 1, "No campaign file"),
        ([*words, "--only", "teach"], 1, "Unknown run 'teach'"),
        ([*words, "--config.seed=3"], 2, "is an axis of stage 'teach'"),
        (["launch", "--workdir", str(place), "--with", "a=1"], 2, "Give the file too"),
    ):
        capsys.readouterr()
        assert main(wrong) == code, wrong
        err = capsys.readouterr().err
        assert said in err and len(err.splitlines()) == 1, wrong
    assert not ran(place)
