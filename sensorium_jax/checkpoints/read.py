"""Weights and card from disk, without the code that trained them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from sensorium_jax import trees
from sensorium_jax.checkpoints import layout
from sensorium_jax.checkpoints.card import read_card
from sensorium_jax.errors import UserError

KEPT = ("params/", "batch_stats/", "info/")


def card_of(folder: Path) -> dict[str, Any]:
    """The card of one checkpoint."""
    return read_card(layout.card_path(folder))


def weights(folder: Path) -> dict[str, np.ndarray]:
    """Leaves by name of params, batch_stats and info; averaged where the run averages.

    Optimizer moments, twice the size of the weights, are never read.
    """
    reader, path = ocp.PyTreeCheckpointHandler(), epath.Path(folder / layout.STATE)
    try:
        shapes = trees.named_leaves(reader.metadata(path).tree)
        averaged = any(n.startswith("ema/") for n in shapes)
        wanted = {n: s for n, s in shapes.items() if _kept(n, averaged=averaged)}
        leaves = _restore(reader, path, wanted)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise UserError(
            f"The weights in {path} cannot be read ({error}). The folder may be "
            "incomplete: copy or download it again."
        ) from error
    finally:
        reader.close()
    return {n.removeprefix("ema/"): v for n, v in leaves.items()}


def _kept(name: str, *, averaged: bool) -> bool:
    if averaged and not name.startswith("info/"):
        return name.removeprefix("ema/").startswith(KEPT) and name.startswith("ema/")
    return name.startswith(KEPT)


def _restore(
    reader: Any, path: Any, wanted: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    item = trees.unflatten(wanted)
    as_numpy: Callable[..., Any] = lambda _: ocp.RestoreArgs(restore_type=np.ndarray)  # noqa: E731
    restored = reader.restore(
        path,
        args=ocp.args.PyTreeRestore(
            item=item,
            restore_args=jax.tree.map(as_numpy, item),
            partial_restore=True,
        ),
    )
    return trees.named_leaves(restored)
