import json
import signal

import numpy as np
import pytest
import runs
import tiny

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    return tiny.films(tmp_path_factory.mktemp("films"), 3)


@pytest.fixture(scope="module")
def alone(films, tmp_path_factory):
    """The run of one process."""
    folder = tmp_path_factory.mktemp("alone")
    assert runs.finish(runs.spawn(folder, films, steps=12)) == [0], runs.words(folder)
    return folder


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


def test_one_process_goes_on_from_the_checkpoint_of_two(films, alone, tmp_path):
    both = runs.pair(tmp_path, films, "--config.mesh.mouse=2", steps=200)
    runs.until(lambda: runs.saved(tmp_path))
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
    runs.until(lambda: len(losses(tmp_path)) >= at + 4)
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
    assert "lost a peer" in said or "peer" in said.lower()
