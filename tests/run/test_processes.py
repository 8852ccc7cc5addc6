import json
import signal
from pathlib import Path

import numpy as np
import pytest

from support.processes import runs
from support.recordings import tiny

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    return tiny.films(tmp_path_factory.mktemp("films"), 3)


def run_alone(folder, films):
    """The run of one process."""
    assert runs.finish(runs.spawn(folder, films, steps=12)) == [0], runs.words(folder)
    return folder


@pytest.fixture(scope="module")
def alone(films, tmp_path_factory):
    return run_alone(tmp_path_factory.mktemp("alone"), films)


def losses(folder):
    rows = map(json.loads, (folder / "run/log.jsonl").read_text().splitlines())
    return [row["loss"] for row in rows if "loss" in row]


@pytest.mark.parametrize("mesh", [(2, 1), (1, 2)])
def test_two_processes_train_as_one(films, alone, tmp_path, mesh):
    meshes = [f"--config.mesh.mouse={mesh[0]}", f"--config.mesh.data={mesh[1]}"]
    both = runs.pair(tmp_path, films, *meshes, steps=12)
    assert runs.finish(*both) == [0, 0], runs.words(tmp_path) + runs.words(tmp_path, 1)
    assert len(losses(tmp_path)) == 12
    np.testing.assert_allclose(losses(tmp_path), losses(alone), rtol=1e-5)


@pytest.mark.parametrize("mice", [5, 7])
def test_two_processes_share_odd_numbers_of_mice(tmp_path, mice):
    films = tiny.films(tmp_path / "films", mice)
    for name in ("alone", "both"):
        (tmp_path / name).mkdir()
    alone = run_alone(tmp_path / "alone", films)
    folder = tmp_path / "both"
    both = runs.pair(folder, films, "--config.mesh.mouse=2", steps=12)
    assert runs.finish(*both) == [0, 0], runs.words(folder) + runs.words(folder, 1)
    np.testing.assert_allclose(losses(folder), losses(alone), rtol=1e-5)


def test_two_processes_begin_at_the_same_places(films, tmp_path):
    start = "--config.readout.start=data"
    for name in ("alone", "both"):
        (tmp_path / name).mkdir()
    one = runs.spawn(tmp_path / "alone", films, start, steps=4)
    assert runs.finish(one) == [0], runs.words(tmp_path / "alone")
    folder = tmp_path / "both"
    both = runs.pair(folder, films, start, "--config.mesh.data=2", steps=4)
    assert runs.finish(*both) == [0, 0], runs.words(folder) + runs.words(folder, 1)
    assert "neurons have a sure field" in runs.words(folder)
    np.testing.assert_allclose(losses(folder), losses(tmp_path / "alone"), rtol=1e-5)


def listens(process):
    """Whether a process catches SIGTERM by now."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    caught = next(line for line in lines if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def test_a_signal_before_the_processes_have_met_stops_both(films, tmp_path):
    both = runs.pair(tmp_path, films, "--config.mesh.mouse=2", steps=5000)
    runs.until(lambda: listens(both[1]))
    runs.stop(both[1])
    assert runs.finish(*both, timeout=120) == [0, 0], runs.words(tmp_path, 1)
    for number in (0, 1):
        assert "stopped on request" in runs.words(tmp_path, number)


def test_one_process_goes_on_from_the_checkpoint_of_two(films, alone, tmp_path):
    both = runs.pair(tmp_path, films, "--config.mesh.mouse=2", steps=200)
    runs.until(lambda: any(runs.saved(tmp_path)))
    runs.stop(both[1])
    assert runs.finish(*both) == [0, 0], runs.words(tmp_path) + runs.words(tmp_path, 1)
    for number in (0, 1):
        assert "stopped on request" in runs.words(tmp_path, number)
    at = runs.saved(tmp_path)[-1]
    assert runs.words(tmp_path, 1).count(f"at step {at} ") == 1  # both at one step
    assert runs.words(tmp_path, 0).count(f"at step {at} ") == 1
    rest = runs.spawn(tmp_path, films, f"--config.train.steps={at + 4}")
    assert runs.finish(rest) == [1]  # another length is another run
    assert "train.steps" in runs.words(tmp_path)
    rest = runs.spawn(tmp_path, films, steps=200)
    runs.until(lambda: len(losses(tmp_path)) >= max(at + 4, 12))
    runs.stop(rest)
    assert runs.finish(rest) == [0], runs.words(tmp_path)
    assert "not be bit-identical" in runs.words(tmp_path)
    np.testing.assert_allclose(losses(tmp_path)[:12], losses(alone), rtol=1e-5)


@pytest.mark.parametrize("dies", [0, 1])
def test_a_dead_peer_stops_the_other_with_words(films, tmp_path, dies):
    both = runs.pair(tmp_path, films, "--config.mesh.mouse=2", steps=5000)
    runs.until(lambda: runs.steps_logged(tmp_path) > 3)
    runs.stop(both[dies], signal.SIGKILL)
    codes = runs.finish(*both, timeout=60)
    assert codes[dies] == -signal.SIGKILL and codes[1 - dies] not in (0, None)
    said = runs.words(tmp_path, 1 - dies)
    # Whichever notices first: a collective, or jax's own service, which ends at once.
    assert "lost a peer" in said or "another task died" in said, said
