"""What is kept out of a checkpoint, and how a save that fails ends."""

import errno
import os
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax.checkpoints import read, write
from sensorium_jax.errors import DiskError
from sensorium_jax.training.saving import disk, manager as checkpoint
from support.processes import runs

STATE = {
    "params": {"core": {"w": jnp.arange(6.0)}, "modulator": {"gain": jnp.ones((0, 8))}},
    "batch_stats": {},
    "info": {"behavior": {"mean": jnp.zeros((1, 1, 0))}, "videos": jnp.ones(2)},
    "step": jnp.asarray(3),
}
# A save of each kind that fails, one after the other, in a program that then ends.
FAILING = """
import sys, threading
from pathlib import Path
import jax.numpy as jnp
from orbax.checkpoint import StandardCheckpointHandler as Handler
from sensorium_jax.checkpoints import write
from sensorium_jax.training.saving import manager as checkpoint

def fails(name, state, card):
    try:
        with checkpoint.open_manager(Path(sys.argv[1]) / name) as manager:
            checkpoint.save(manager, 1, state, card, None)
            checkpoint.wait(manager)
    except Exception as error:
        print(name, type(error).__name__, flush=True)

def refuse(error):
    def refused(*words, **options):
        raise error
    return refused

full = {"params": jnp.ones(3)}
fails("card", full, {"number": object()})
whole = write.as_tree
write.as_tree = lambda state: state
fails("empty", {"params": jnp.ones(3), "info": jnp.ones((2, 0))}, {})
write.as_tree = whole
Handler.finalize = refuse(OSError(28, "No space left on device"))
fails("finish", full, {})
Handler.async_save = refuse(RuntimeError("injected"))
fails("save", full, {})
"""


def test_leaves_that_hold_nothing_never_reach_a_checkpoint(tmp_path):
    with checkpoint.open_manager(tmp_path) as manager:
        checkpoint.save(manager, 3, STATE, {}, None)
        checkpoint.wait(manager)
        state, _ = checkpoint.restore(manager, STATE)
    assert state["info"]["behavior"]["mean"].shape == (1, 1, 0)
    assert state["params"]["modulator"]["gain"].shape == (0, 8)
    np.testing.assert_array_equal(state["params"]["core"]["w"], np.arange(6.0))
    kept = {"params/core/w", "info/videos"}
    assert set(runs.read_state(tmp_path / "checkpoints/3")) == {*kept, "step"}
    assert set(read.weights(tmp_path / "checkpoints/3")) == kept
    write.save(tmp_path / "alone", STATE, {})
    assert set(read.weights(tmp_path / "alone")) == kept


def test_a_program_ends_after_saves_that_failed(tmp_path):
    """Threads of the storage library waited for minutes for what never came."""
    done = subprocess.run(
        [sys.executable, "-c", FAILING, str(tmp_path)],
        env=os.environ | runs.PATHS | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = [line.split() for line in done.stdout.splitlines()]
    assert said == [
        ["card", "TypeError"],
        ["empty", "ValueError"],
        ["finish", "DiskError"],
        ["save", "RuntimeError"],
    ], done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "Free some space"),
        (ValueError("Error writing: OS error 28: No space"), "Free some space"),
        (ValueError("OS error 30: Read-only file system"), "its permissions"),
        (PermissionError(errno.EACCES, "Permission denied"), "its permissions"),
        (TimeoutError("a barrier"), None),
        (ConnectionResetError("a peer"), None),
        (ValueError("Cannot save arrays with zero size"), None),
        (TypeError("not JSON serializable"), None),
    ],
)
def test_only_what_the_system_refused_is_the_disks_fault(tmp_path, error, said):
    assert disk.of_the_disk(error) == (said is not None)
    if said:
        told = str(disk.disk_error(tmp_path / "checkpoints", error))
        assert said in told and ("Free" in told) == ("Free" in said)
        assert isinstance(disk.disk_error(tmp_path, error), DiskError)
