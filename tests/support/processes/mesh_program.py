"""Trains a tiny run on meshes of 8 simulated devices; prints what it found as JSON.

python -m support.processes.mesh_program '{"cases": [[mice, mouse, data], ...], ...}'
"""

import json
import os
import sys
import tempfile
from pathlib import Path

EIGHT = " --xla_force_host_platform_device_count=8"
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + EIGHT
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402

from sensorium_jax.run import build  # noqa: E402
from sensorium_jax.training.mesh import shard  # noqa: E402
from sensorium_jax.training.saving import manager as checkpoint  # noqa: E402
from sensorium_jax.training.step import Tally  # noqa: E402
from support.recordings import tiny  # noqa: E402


def run(root, case, *, recipe="factorized2023", folder=None, steps=5, changes=None):
    """Losses of some steps, forbidden collectives, and the loss after a restore.

    With a folder, the steps go on from the checkpoint that lies there, which another
    mesh has saved; else the run saves its own after three steps.
    """
    mice, mouse, data = case
    config = tiny.recipe(recipe, root / str(mice), steps=steps)
    config.train.update({"batch": 8, **(changes or {})})
    config.mesh.update(mouse=mouse, data=data)
    made = build.parts(config)
    with jax.set_mesh(made.mesh), checkpoint.open_manager(folder) as manager:
        state, losses, program = made.start(), [], None
        none = jax.device_put(Tally.zero(), state.step.sharding)
        if manager.latest_step() is not None:
            state, _ = checkpoint.restore(manager, state)
        for batch in made.batches(int(state.step)):
            if program is None:
                program = made.step.lower(state, batch, none).compile()
            state, tally = program(state, batch, none)
            losses.append(float(tally.loss))
            if int(state.step) == 3 and manager.latest_step() is None:
                checkpoint.save(manager, 3, state, {}, None)
                checkpoint.wait(manager)
    assert program is not None
    forbidden = shard.forbidden_collectives(program.as_text())
    rows = state.params["readout"]["bias"].shape[0]
    return {"losses": losses, "forbidden": forbidden, "rows": rows}


def main(cases, *, quick, move=False, **options):
    """Every case in turn; with `move` each goes on from the first one's checkpoint."""
    # Nearly all the time is compiling.
    jax.config.update("jax_disable_most_optimizations", quick)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for mice in {case[0] for case in cases}:
            tiny.films(root / str(mice), mice)
        found = [
            run(
                root,
                case,
                folder=root / (f"run{case[0]}" if move else f"{i}"),
                **options,
            )
            for i, case in enumerate(cases)
        ]
    print(json.dumps(found))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
