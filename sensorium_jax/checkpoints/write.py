"""Weights and their card to a folder of their own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp

from sensorium_jax import trees
from sensorium_jax.checkpoints import digests
from sensorium_jax.checkpoints.layout import CARD, CARD_FILE, STATE
from sensorium_jax.errors import UserError


def handlers() -> dict[str, Any]:
    """Who writes and reads each part of a checkpoint."""
    return {
        STATE: ocp.StandardCheckpointHandler(),
        CARD: ocp.JsonCheckpointHandler(filename=CARD_FILE),
    }


def parts(state: Any, card: Mapping[str, Any]) -> Any:
    """What orbax is given to save."""
    return ocp.args.Composite(
        **{STATE: ocp.args.StandardSave(as_tree(state)), CARD: ocp.args.JsonSave(card)}
    )


def as_tree(state: Any) -> dict[str, Any]:
    """Nested dicts of a state, so that a checkpoint needs no class of ours to be read.

    What holds nothing is left out: empty containers, such as the state of a stateless
    transformation, and arrays of size zero, such as statistics of no behavior.
    """
    return trees.unflatten(kept_leaves(state))


def kept_leaves(state: Any) -> dict[str, Any]:
    """Leaves by name of what a checkpoint holds of a state."""
    return {name: x for name, x in trees.named_leaves(state).items() if np.size(x)}


def save(folder: str | Path, variables: Any, card: Mapping[str, Any]) -> Path:
    """Write variables {params, batch_stats, info} and their card to a new folder."""
    folder = Path(folder).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is not empty. Choose another folder, or delete it.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    card = digests.sealed(card, digests.of_leaves(kept_leaves(variables)))
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler(**handlers())) as writer:
        writer.save(folder, args=parts(variables, card), force=True)  # if empty
    return folder
