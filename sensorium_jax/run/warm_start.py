"""Beginning a run from the weights of another: shared parts whole, mice by name."""

import hashlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from sensorium_jax import trees
from sensorium_jax.data.session import Session
from sensorium_jax.errors import UserError
from sensorium_jax.run import Config
from sensorium_jax.training.mesh import shard
from sensorium_jax.trees import is_row
from sensorium_jax.zoo import load

Tree = Any


def begin(config: Config, variables: Tree, sessions: Sequence[Session]) -> Tree:
    """The variables with what config.model.start offers; unchanged where it is empty.

    Core and GRU must fit. A mouse of the same name and units brings its readout,
    shifter and gain; others begin afresh.
    """
    if not config.model.start:
        check_frozen(config, variables)
        return variables
    folder = load.find_step(Path(config.model.start).expanduser().absolute())
    card, leaves = load.read_card(folder), load.read_state(folder)
    rows = known_rows(card, sessions)
    check_inputs(folder, card, config)
    trained = {n: v for n, v in variables.items() if n != "info"}
    check_shared(folder, card, trees.named_leaves(trained), leaves)
    fresh = []

    def pick(name: str, own: Any) -> Any:
        if not is_row(name):
            return jnp.asarray(leaves[name], own.dtype)
        if name not in leaves or leaves[name].ndim != own.ndim:
            fresh.append(name)
            return own
        return shard.take_rows(jnp.asarray(leaves[name], own.dtype), own, rows)

    started = trees.map_named(pick, trained)
    say(folder, sessions, rows, fresh)
    return {**variables, **started}


def known_rows(card: dict, sessions: Sequence[Session]) -> list[int | None]:
    """For each session the card's row of the same mouse with the same units."""
    rows: list[int | None] = []
    for session in sessions:
        found = None
        for row, mouse in enumerate(card["mice"]):
            same = mouse["name"] == session.name
            same &= mouse["neurons"] == session.neurons
            same &= mouse.get("unit_ids", unit_digest(session)) == unit_digest(session)
            found = row if same else found
        rows.append(found)
    return rows


def unit_digest(session: Session) -> str:
    """What tells whether two recordings are of the same units."""
    return hashlib.sha256(session.unit_ids_n.tobytes()).hexdigest()


def recording_digest(session: Session) -> str:
    """What tells whether two recordings are the same trials, stored in any format."""
    found = hashlib.sha256("/".join(session.tiers.tolist()).encode())
    for what in sorted(session.statistics):
        stats = session.statistics[what]
        for values in (stats.mean, stats.std):
            found.update(np.ascontiguousarray(values, np.float32).tobytes())
    return found.hexdigest()


def check_shared(folder: Any, card: dict, own: dict, leaves: dict) -> None:
    """Refuse weights whose shared parts are not this model's."""
    wrong = [
        f"{name} is {leaves[name].shape if name in leaves else 'missing'} there, "
        f"{value.shape} here"
        for name, value in own.items()
        if not is_row(name)
        and (name not in leaves or leaves[name].shape != value.shape)
    ]
    if wrong:
        raise UserError(
            f"The weights in {folder} do not fit the model: {'; '.join(wrong[:3])}. "
            f"They are of '{card['model']}' with changes {card['changes']}; set "
            "config.model.name and config.model.changes (or config.model.json) so."
        )


def check_inputs(folder: Any, card: dict, config: Config) -> None:
    """Refuse weights that learned from frames or responses in other units."""
    learned = {
        "scale": card["inputs"]["scale"],
        "response_scaling": card["units"],
    }
    wrong = {k: v for k, v in learned.items() if config.data[k] != v}
    if wrong:
        words = "; ".join(
            f"config.data.{k} was {v} there and is {config.data[k]} here"
            for k, v in wrong.items()
        )
        raise UserError(f"The weights in {folder} do not fit: {words}. Set it so.")


def check_frozen(config: Config, variables: Tree) -> None:
    """Refuse to freeze a core that nothing has trained."""
    frozen = config.train.frozen
    names = trees.named_leaves(variables["params"]) if frozen else {}
    held = [n for n in names if n.startswith("core/") and re.fullmatch(frozen, n)]
    if held:
        raise UserError(
            f"config.train.frozen holds {held[0]} and {len(held) - 1} more of the core "
            "at random values. Set config.model.start to the workdir of a trained run, "
            "or config.train.frozen to ''."
        )


def say(folder: Any, sessions: Any, rows: Sequence[int | None], fresh: list) -> None:
    """Tell what begins with which weights."""
    known = [s.name for s, r in zip(sessions, rows, strict=True) if r is not None]
    new = [s.name for s, r in zip(sessions, rows, strict=True) if r is None]
    words = f"begins with the core of {folder}"
    words += f"; known mice: {', '.join(known)}" if known else ""
    words += f"; new mice: {', '.join(new)}" if new else ""
    words += f"; fresh for all mice: {', '.join(fresh)}" if fresh else ""
    print(f"note: {words}", file=sys.stderr)
