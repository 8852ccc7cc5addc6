"""Whole runs of the command in processes of their own, with their ends in sight."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

from sensorium_jax.trees import named_leaves

TESTS = Path(__file__).parents[2]
# Programs find the tests and this checkout.
PATHS = {"PYTHONPATH": os.pathsep.join(map(str, (TESTS, TESTS.parent)))}
PROGRAM = (sys.executable, "-m", "sensorium_jax.cli")
RECIPE = """
import os
import jax
from support.recordings import tiny
jax.config.update("jax_disable_most_optimizations", True)

def get_config():
    config = tiny.recipe("ln2023", os.environ["ROOT"], steps=int(os.environ["STEPS"]))
    config.model.changes = {
        "core": {**tiny.NARROW_2D, "layers": 1}, "shifter": None,
    }
    config.train.checkpoint_every = 4
    config.train.batch = 4
    config.validate.every = int(os.environ.get("EVERY", "10000"))
    return config
"""


def command(folder: Path, *overrides: str) -> list[str]:
    """The words of `sensorium train` on a tiny recipe in this folder."""
    (folder / "recipe.py").write_text(RECIPE)
    words = [*PROGRAM, "train", f"--config={folder}/recipe.py"]
    return [*words, f"--workdir={folder}/run", *overrides]


def spawn(
    folder: Path, root: Path, *overrides: str, steps=24, said=None, **env
) -> subprocess.Popen:
    """Start one run; its words go to `said`, or a file named by its process number."""
    number = env.get("SENSORIUM_PROCESS", "0")
    env = {k: str(v) for k, v in env.items()}
    settings = {"ROOT": str(root), "STEPS": str(steps), "JAX_PLATFORMS": "cpu"}
    with (folder / f"words{number}").open("ab") as words:
        return subprocess.Popen(
            command(folder, *overrides),
            env=os.environ | PATHS | settings | env,
            stdout=said or words,
            stderr=subprocess.STDOUT,
        )


def finish(*processes: subprocess.Popen, timeout=240) -> list[int]:
    """Exit codes; whatever outlives the time is killed and the test fails."""
    until = time.monotonic() + timeout
    try:
        return [p.wait(max(until - time.monotonic(), 0.1)) for p in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()


def words(folder: Path, number=0) -> str:
    """What a run has said so far."""
    return (folder / f"words{number}").read_text()


def until(condition, *, timeout=200) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def steps_logged(folder: Path) -> int:
    """Lines of the run's log."""
    path = folder / "run/log.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def saved(folder: Path) -> list[int]:
    """Complete checkpoints."""
    steps = (folder / "run/checkpoints").glob("[0-9]*")
    return sorted(int(p.name) for p in steps if p.name.isdigit())


def state(folder: Path, step: int | None = None) -> dict[str, np.ndarray]:
    """All arrays of a checkpoint, the last by default."""
    step = saved(folder)[-1] if step is None else step
    return read_state(folder / "run/checkpoints" / str(step))


def read_state(folder: Path) -> dict[str, np.ndarray]:
    """Leaves by name of one checkpoint, optimizer and all, without code of ours."""
    with ocp.PyTreeCheckpointer() as reader:
        path = folder.absolute() / "state"
        shapes = reader.metadata(path).item_metadata.tree
        args = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), shapes)
        return named_leaves(reader.restore(path, restore_args=args))


def same(a: dict, b: dict) -> None:
    """Every leaf bit-identical."""
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def pair(folder: Path, root: Path, *overrides: str, **options) -> list:
    """Two processes that train together."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "SENSORIUM_COORDINATOR": f"127.0.0.1:{port}",
        "SENSORIUM_PROCESSES": 2,
        "SENSORIUM_HEARTBEAT_S": 20,
        **options,
    }
    return [
        spawn(folder, root, *overrides, SENSORIUM_PROCESS=i, **shared) for i in (0, 1)
    ]


def stop(process: subprocess.Popen, number=signal.SIGTERM) -> None:
    """Send one signal."""
    process.send_signal(number)
