"""Checkpoints that explain themselves: weights beside a card.json that says of what.

A checkpoint folder holds `state/` (orbax) and `card/card.json`; a training run keeps
one such folder per saved step under `checkpoints/`. Nothing else is needed to load it.
"""

import json
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from sensorium_jax import trees
from sensorium_jax.errors import UserError
from sensorium_jax.zoo.assemble import Inputs, build
from sensorium_jax.zoo.twins.twin import Twin

RUN, STATE, CARD = "checkpoints", "state", "card"
PACKAGES = ("sensorium-jax", "jax", "flax", "orbax-checkpoint")
KEPT = ("params/", "batch_stats/", "info/")


def model_card(
    model: str,
    inputs: Inputs,
    mice: Mapping[str, int],
    *,
    changes: Mapping[str, Any] | None = None,
    scale: float = 1.0,
    units: str = "per_frame",
    **more: Any,
) -> dict[str, Any]:
    """What loading needs: the model, its inputs, and neurons by name of mouse.

    units says how the responses that it learns from are normalized.
    """
    return {
        "model": model,
        "changes": dict(changes or {}),
        "inputs": {**inputs._asdict(), "scale": scale},
        "units": units,
        "mice": [{"name": n, "neurons": int(c)} for n, c in mice.items()],
        "versions": {name: version(name) for name in PACKAGES},
        **more,
    }


def save(folder: str | Path, variables: Any, card: Mapping[str, Any]) -> Path:
    """Write variables {params, batch_stats, info} and their card to a new folder."""
    folder = Path(folder).absolute()
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty. Choose another folder, or delete it.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    handler = ocp.CompositeCheckpointHandler(
        state=ocp.StandardCheckpointHandler(),
        card=ocp.JsonCheckpointHandler(filename="card.json"),
    )
    tree = trees.unflatten(trees.named_leaves(variables))
    with ocp.Checkpointer(handler) as writer:
        writer.save(
            folder,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(tree), card=ocp.args.JsonSave(dict(card))
            ),
            force=True,  # over the empty folder
        )
    return folder


def load_folder(path: str | Path, *, step: int | None = None) -> Twin:
    """The twin in a checkpoint folder, or in a run: its best step unless named."""
    folder = find_step(Path(path).expanduser().absolute(), step)
    card = read_card(folder)
    leaves = read_state(folder)
    try:
        given = dict(card["inputs"])
        names = tuple(m["name"] for m in card["mice"])
        counts = tuple(int(m["neurons"]) for m in card["mice"])
        model, changes = card["model"], card["changes"]
    except (KeyError, TypeError) as error:
        raise UserError(
            f"The card of {folder} says nothing of {error}; it was written by another "
            "version. Save the model again with this one."
        ) from None
    scale = float(given.pop("scale", 1.0))
    given["frame_shape"] = tuple(given["frame_shape"])
    inputs = Inputs(**given)
    encoder = build(model, inputs, **changes)
    tree = trees.unflatten({n: jnp.asarray(v) for n, v in leaves.items()})
    twin = Twin(
        encoder,
        {"batch_stats": {}, **tree},
        names,
        channels=inputs.frame_shape[2],
        behaviors=inputs.behaviors,
        scale=scale,
        card=card,
    )
    if twin.neurons != counts:
        raise UserError(
            f"The card of {folder} speaks of {counts} neurons, the weights are of "
            f"{twin.neurons}: they do not belong together. Copy the folder again."
        )
    return twin


def find_step(folder: Path, step: int | None = None) -> Path:
    """The folder of one checkpoint, from itself or from the run that holds it."""
    if (folder / CARD / "card.json").is_file() and step is None:
        return folder
    run = folder / RUN if (folder / RUN).is_dir() else folder
    saved = {int(p.name): p for p in run.glob("[0-9]*") if p.name.isdigit()}
    whole = {n: p for n, p in saved.items() if (p / CARD / "card.json").is_file()}
    if not whole:
        holds = "does not exist"
        if folder.is_dir():
            names = sorted(p.name for p in folder.iterdir())
            holds = f"holds {', '.join(names[:5]) or 'nothing'}"
        raise UserError(
            f"No checkpoint in {folder}: it {holds}. Expected card/card.json, or a run "
            f"with {RUN}/<step>/card/card.json."
        )
    if step is not None and step not in whole:
        raise UserError(f"{run} has no step {step}; it has {sorted(whole)}.")
    return whole[step if step is not None else _best(whole)]


def _best(steps: Mapping[int, Path]) -> int:
    """The step that the run ranked highest; the last one where none was ranked."""

    def rank(step: int) -> float:
        path = steps[step] / "metrics" / "metrics"
        if not path.is_file():
            return -1
        return float(json.loads(path.read_text()).get("rank", -1))

    ranked = [step for step in steps if rank(step) >= 0]
    return max(ranked, key=rank) if ranked else max(steps)


def read_card(folder: Path) -> dict[str, Any]:
    """The card of one checkpoint."""
    try:
        return json.loads((folder / CARD / "card.json").read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"The card of {folder} cannot be read ({error}).") from None


def read_state(folder: Path) -> dict[str, np.ndarray]:
    """Leaves by name of params, batch_stats and info; averaged where the run averages.

    Optimizer moments, twice the size of the weights, are never read.
    """
    reader, path = ocp.PyTreeCheckpointHandler(), epath.Path(folder / STATE)
    try:
        shapes = trees.named_leaves(reader.metadata(path).tree)
        averaged = any(n.startswith("ema/") for n in shapes)
        wanted = {n: s for n, s in shapes.items() if _kept(n, averaged=averaged)}
        found = _restore(reader, path, wanted)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise UserError(
            f"The weights in {path} cannot be read ({error}). The folder may be "
            "incomplete: copy or download it again."
        ) from error
    finally:
        reader.close()
    return {n.removeprefix("ema/"): v for n, v in found.items()}


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
