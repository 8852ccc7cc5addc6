"""Checkpoints: orbax, asynchronous and atomic, each with a card that explains it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from sensorium_jax.errors import UserError
from sensorium_jax.trees import named_leaves, unflatten

FOLDER = "checkpoints"
STATE, CARD = "state", "card"


@contextmanager
def open_manager(workdir: str | Path, *, keep: int = 2) -> Iterator[Any]:
    """The checkpoints of a run: the last `keep` and the best by score.

    Saving runs behind training; leaving the context waits for it to be complete.
    """
    folder = Path(workdir).absolute() / FOLDER
    preserve = policies.AnyPreservationPolicy(
        [
            policies.LatestN(keep),
            policies.BestN(
                get_metric_fn=lambda metrics: metrics["rank"],
                n=1,
                keep_checkpoints_without_metrics=False,
            ),
        ]
    )
    with ocp.CheckpointManager(
        folder,
        item_handlers={
            STATE: ocp.StandardCheckpointHandler(),
            CARD: ocp.JsonCheckpointHandler(filename="card.json"),
        },
        options=ocp.CheckpointManagerOptions(
            cleanup_tmp_directories=True,
            best_fn=lambda metrics: metrics["rank"],
            preservation_policy=preserve,
        ),
    ) as manager:
        yield manager


def save(
    manager: Any,
    step: int,
    state: Any,
    card: dict,
    score: float | None,
    *,
    improved: bool = False,
) -> None:
    """Start saving; the state may be donated to the next step at once.

    The best checkpoint is the last that improved, by the run's own rule: a score
    within its tolerance must not displace it.
    """
    metrics: dict[str, float] = {"rank": step if improved else -1}
    if score is not None:
        metrics["score"] = float(score)
    try:
        manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(as_tree(state)),
                card=ocp.args.JsonSave(card),
            ),
            metrics=metrics,
        )
    except OSError as error:
        raise disk_error(manager, error) from error


def wait(manager: Any) -> None:
    """Until the save on its way is complete; a full disk is said in words."""
    try:
        manager.wait_until_finished()
    except (OSError, ValueError) as error:
        raise disk_error(manager, error) from error


def disk_error(manager: Any, error: Exception) -> UserError:
    """What to say when a checkpoint cannot be written."""
    return UserError(
        f"The checkpoint could not be written under {manager.directory}: {error}. The "
        f"previous one (step {manager.latest_step()}) is unharmed. Free some space and "
        "run the same command again; it continues from there."
    )


def as_tree(state: Any) -> dict[str, Any]:
    """Nested dicts of a state, so that a checkpoint needs no class of ours to be read.

    Empty containers, such as the state of a stateless transformation, are left out.
    """
    return unflatten(named_leaves(state))


def restore(manager: Any, like: Any, step: int | None = None) -> tuple[Any, dict]:
    """The state of a step (the last by default) as `like`, and its card.

    `like` is a state of arrays, or of ShapeDtypeStructs, on their shardings; the mesh
    may differ from the one that saved it.
    """
    step = manager.latest_step() if step is None else step
    if step is None:
        raise UserError(f"No checkpoint in {manager.directory}.")
    names = named_leaves(like)
    target = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
        unflatten(names),
    )
    found = manager.restore(
        step,
        args=ocp.args.Composite(
            state=ocp.args.StandardRestore(target), card=ocp.args.JsonRestore()
        ),
    )
    leaves = named_leaves(found[STATE])
    state = jax.tree.unflatten(jax.tree.structure(like), [leaves[n] for n in names])
    return state, found[CARD]


def read_state(folder: str | Path) -> dict[str, np.ndarray]:
    """Leaves by name of one saved step, as numpy, without knowing their shapes."""
    with ocp.PyTreeCheckpointer() as reader:
        path = Path(folder).absolute() / STATE
        shapes = reader.metadata(path).item_metadata.tree
        args = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), shapes)
        return named_leaves(reader.restore(path, restore_args=args))


def read_card(folder: str | Path) -> dict:
    """The card of one saved step."""
    return json.loads((Path(folder) / CARD / "card.json").read_text())
