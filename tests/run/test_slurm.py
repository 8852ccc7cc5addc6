"""Campaigns on SLURM: stand-ins of its programs run the jobs as local processes."""

import importlib.util
import json
import os
import signal
from functools import partial

import numpy as np
import pytest

from sensorium_jax.cli import main
from sensorium_jax.errors import UserError
from sensorium_jax.run.campaign import folder, slurm
from sensorium_jax.run.campaign.plan import plan
from sensorium_jax.run.campaign.stages import read
from support.processes import launched, runs, slurm as stand_in
from support.recordings import tiny

TWO = """
import sys
from sensorium_jax.run.campaign import child
child.PROGRAM = {program!r}

def get_campaign():
    return {{"changes": {{"train.steps": 4}}, "stages": {{
        "a": {{"recipe": "demo", "list": [
            {{"model.name": "demo"}}, {{"model.name": "sleeps"}}]}},
        "b": {{"recipe": "demo", "changes": {{"model.name": "demo"}}, "after": "a"}},
    }}}}
"""


def needs_submitit():
    """Its import alone would close the handlers that pytest reads logs with."""
    if importlib.util.find_spec("submitit") is None:
        pytest.skip("submitit is not installed")


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    needs_submitit()
    for name, value in (stand_in.install(tmp_path) | runs.PATHS).items():
        monkeypatch.setenv(name, value)
    # Jobs are processes of their own, which a module on their path tells of it.
    (tmp_path / "path").mkdir()
    (tmp_path / "path/sitecustomize.py").write_text(
        "import os\n"
        "if 'SLURM_STAND_IN_JOB' in os.environ and 'SLURM_PROCID' in os.environ:\n"
        "    from sensorium_jax.run.campaign import child\n"
        f"    child.PROGRAM = {launched.PROGRAM!r}\n"
    )
    return tmp_path


def test_without_slurm_one_paragraph_says_so(tmp_path, capsys, monkeypatch):
    needs_submitit()
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "two.py"
    path.write_text(TWO.format(program=launched.PROGRAM))
    words = ["launch", str(path), "--workdir", str(tmp_path / "x"), "--slurm"]
    assert main(words) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "There is no SLURM here" in line and "--commands FILE" in line


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTERM, signal.SIGUSR1])
def test_arrays_wait_for_each_other_and_a_preempted_run_goes_on(
    cluster, capsys, monkeypatch, number
):
    fake = f"{cluster / 'path'}{os.pathsep}{os.environ['PYTHONPATH']}"
    monkeypatch.setenv("PYTHONPATH", fake)
    path, place = cluster / "two.py", cluster / "place"
    path.write_text(TWO.format(program=launched.PROGRAM))
    words = ["launch", str(path), "--workdir", str(place), "--json"]
    assert main([*words, "--slurm", "partition=gpu", "timeout_min=90"]) == 0
    assert "3 runs queued" not in capsys.readouterr().err
    script = next(cluster.glob("jobs/100_0/script")).read_text()
    assert "#SBATCH --partition=gpu" in script and "#SBATCH --requeue" in script
    assert "#SBATCH --array=0-1%2" in script and "#SBATCH --time=90" in script
    runs.until((place / "a/name=sleeps/listens").exists)
    assert stand_in.state(cluster, "102") == "PENDING"  # it waits for the array
    # What is queued is not queued again, and the table says where it is.
    capsys.readouterr()
    assert main([*words, "--slurm"]) == 0
    assert len(list(cluster.glob("jobs/*/script"))) == 3
    jobs = [run["job"] for run in json.loads(capsys.readouterr().out)["runs"]]
    assert jobs[1:] == ["100_1 RUNNING", "102 PENDING"]
    for task in stand_in.tasks(cluster, "100_1"):
        os.kill(task, number)
    runs.until(lambda: stand_in.state(cluster, "102") == "COMPLETED")
    capsys.readouterr()
    assert main(words[:1] + words[2:]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["done"] == 3
    assert [run["attempts"] for run in found["runs"]] == [1, 2, 1]


# The job goes on when nobody holds it here any more, as on a cluster.
@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
@pytest.mark.processes
def test_a_run_in_a_job_of_submitits_local_executor(cluster, monkeypatch):
    path, place = cluster / "two.py", cluster / "place"
    path.write_text(TWO.format(program=launched.PROGRAM))
    campaign = folder.claim(place, plan(read(path)), str(path))
    fake = f"{cluster / 'path'}{os.pathsep}{os.environ['PYTHONPATH']}"
    monkeypatch.setenv("PYTHONPATH", fake)
    for name in ("SLURM_STAND_IN_JOB", "SLURM_PROCID"):
        monkeypatch.setenv(name, "0")
    made = slurm.submit(campaign, campaign.runs[:1], {}, cluster="local")
    assert list(made) == ["a/name=demo"]
    runs.until(lambda: campaign.state(campaign.runs[0]).state == "done")


def test_a_job_whose_needs_are_not_done_says_so(cluster):
    path, place = cluster / "two.py", cluster / "place"
    path.write_text(TWO.format(program=launched.PROGRAM))
    folder.claim(place, plan(read(path)), str(path))
    with pytest.raises(UserError, match="b needs runs that are not done: a/"):
        slurm.in_job(str(place), "b")


TRAINED = """
def get_campaign(recipe, mouse):
    stage = {"recipe": recipe, "changes": {"mesh.mouse": mouse}}
    return {"stages": {"a": stage}}
"""


def over(campaign, run):
    return campaign.state(run).state in ("done", "failed")


@pytest.mark.processes
def test_a_job_that_was_lost_has_failed_and_is_not_queued_again(
    cluster, capsys, monkeypatch
):
    """Where SLURM killed a job at once, nothing of ours could note that."""
    fake = f"{cluster / 'path'}{os.pathsep}{os.environ['PYTHONPATH']}"
    monkeypatch.setenv("PYTHONPATH", fake)
    path, place = cluster / "two.py", cluster / "place"
    path.write_text(TWO.format(program=launched.PROGRAM))
    campaign = folder.claim(place, plan(read(path)), str(path))
    run = campaign.runs[0]
    campaign.path(run).mkdir(parents=True)
    campaign.note(run, folder.State(folder.RUNNING, attempts=1, host="node7"))
    campaign.file(run, ".job").write_text(json.dumps({"id": "70_0"}))
    (cluster / "jobs/70_0").mkdir()
    (cluster / "jobs/70_0/state").write_text("OUT_OF_MEMORY")
    words = ["launch", "--workdir", str(place), "--only", run.name, "--slurm"]
    assert main([*words, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["failed"] == 1 and not list(cluster.glob("jobs/*/script"))
    assert main(words) == 1
    assert "its job 70_0 ended as OUT_OF_MEMORY" in capsys.readouterr().out
    (cluster / "jobs/71_0").mkdir()
    (cluster / "jobs/71_0/state").write_text("NODE_FAIL")  # then it goes on by itself
    campaign.file(run, ".job").write_text(json.dumps({"id": "71_0"}))
    campaign.note(run, folder.State(folder.RUNNING, attempts=1, host="node7"))
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["runs"][0]
    assert found["job"] == "100 queued"
    assert len(list(cluster.glob("jobs/*/script"))) == 1
    runs.until(lambda: stand_in.state(cluster, "100") == "COMPLETED")
    assert campaign.state(run).state == "done"


PREEMPTED = """
def get_campaign(recipe):
    # How many checkpoints are kept changes nothing of what is learned.
    stage = {"recipe": recipe, "axes": {"train.keep": [2, 3, 4]}}
    return {"stages": {"a": stage}}
"""


@pytest.mark.processes
def test_a_preempted_training_ends_with_the_same_bytes(cluster, monkeypatch):
    """One run is left alone; USR2 and SIGTERM put the others back into the queue."""
    films = tiny.films(cluster / "films", 2)
    (cluster / "recipe.py").write_text(runs.RECIPE)
    monkeypatch.setenv("ROOT", str(films))
    monkeypatch.setenv("STEPS", "60")
    path, place = cluster / "three.py", cluster / "place"
    path.write_text(PREEMPTED)
    campaign = folder.claim(place, plan(read(path, {"recipe": "recipe.py"})), str(path))
    made = slurm.submit(campaign, campaign.runs, {})
    alone, *preempted = campaign.runs
    for run, number in zip(preempted, (signal.SIGUSR2, signal.SIGTERM), strict=True):
        saved = campaign.path(run) / "checkpoints/4"
        runs.until(saved.exists, timeout=900)
        for task in stand_in.tasks(cluster, made[run.name]):
            os.kill(task, number)
    found = {}
    for run in campaign.runs:
        runs.until(partial(over, campaign, run), timeout=900)
        state = campaign.state(run)
        assert state.state == "done", campaign.tail(run, 40)
        assert state.attempts == (1 if run is alone else 2)
        found[run.name] = runs.read_state(campaign.path(run) / "checkpoints/60")
    for run in preempted:
        runs.same(found[run.name], found[alone.name])


@pytest.mark.processes
def test_two_nodes_train_as_one(cluster, monkeypatch, tmp_path_factory):
    films = tiny.films(cluster / "films", 2)
    (cluster / "recipe.py").write_text(runs.RECIPE)
    monkeypatch.setenv("ROOT", str(films))
    monkeypatch.setenv("STEPS", "6")
    found = {}
    for nodes in (1, 2):
        path, place = cluster / f"c{nodes}.py", cluster / f"place{nodes}"
        path.write_text(TRAINED)
        options = {"recipe": "recipe.py", "mouse": nodes}
        campaign = folder.claim(place, plan(read(path, options)), str(path))
        slurm.submit(campaign, campaign.runs, {"nodes": nodes})
        run = campaign.runs[0]
        runs.until(partial(over, campaign, run), timeout=900)
        assert campaign.state(run).state == "done", campaign.tail(run, 40)
        rows = (place / "a/log.jsonl").read_text().splitlines()
        found[nodes] = [x["loss"] for x in map(json.loads, rows) if "loss" in x]
    assert len(found[2]) == 6
    np.testing.assert_allclose(found[2], found[1], rtol=1e-5)
