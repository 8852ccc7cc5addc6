"""Beginning a run from the weights of another: shared parts whole, mice by name."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from sensorium_jax import trees
from sensorium_jax.asking import Asking
from sensorium_jax.checkpoints import layout, read
from sensorium_jax.checkpoints.card import asking_of
from sensorium_jax.data.session import Session
from sensorium_jax.errors import UserError
from sensorium_jax.run import Config
from sensorium_jax.training.mesh import shard

Tree = Any
ASKED = {  # what weights and their use must share, and where it is set
    "scale": "config.data.scale",
    "stride": "config.data.stride",
    "units": "config.data.response_scaling",
    "inputs": "inputs",
    "canvas": "canvas",
}


def begin(
    config: Config, asking: Asking, variables: Tree, sessions: Sequence[Session]
) -> Tree:
    """The variables with what config.model.start offers; unchanged where it is empty.

    Core and GRU must fit. A mouse of the same name and units brings its readout,
    shifter and gain; others begin afresh.
    """
    if not config.model.start:
        check_frozen(config, variables)
        return variables
    folder = layout.find(Path(config.model.start).expanduser().absolute())
    card, leaves = read.card_of(folder), read.weights(folder)
    rows = tuple(known_rows(card, sessions))
    check_asked(folder, asking_of(card, str(folder)), asking)
    trained = {n: v for n, v in variables.items() if n != "info"}
    check_shared(folder, card, trees.named_leaves(trained), leaves)
    fresh = []
    take = jax.jit(shard.take_rows, static_argnums=2)

    def pick(name: str, own: Any) -> Any:
        if not trees.is_row(name):
            return jnp.asarray(leaves[name], own.dtype)
        if name not in leaves or leaves[name].ndim != own.ndim:
            fresh.append(name)
            return own
        if not any(row is not None for row in rows):
            return own
        return take(jnp.asarray(leaves[name], own.dtype), own, rows)

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
            same &= mouse.get("unit_ids", session.unit_digest) == session.unit_digest
            found = row if same else found
        rows.append(found)
    return rows


def check_shared(folder: Any, card: dict, own: dict, leaves: dict) -> None:
    """Refuse weights whose shared parts are not this model's."""
    wrong = [
        f"{name} is {leaves[name].shape if name in leaves else 'missing'} there, "
        f"{value.shape} here"
        for name, value in own.items()
        if not trees.is_row(name)
        and (name not in leaves or leaves[name].shape != value.shape)
    ]
    if wrong:
        raise UserError(
            f"The weights in {folder} do not fit the model: {'; '.join(wrong[:3])}. "
            f"They are of '{card['model']}' with changes {card['changes']}; set "
            "config.model.name and config.model.changes (or config.model.json) so."
        )


def check_asked(folder: Any, learned: Asking, here: Asking) -> None:
    """Refuse weights that learned from frames or responses in other units."""
    there, now = learned._asdict(), here._asdict()
    wrong = [
        f"{words} was {there[field]} there and is {now[field]} here"
        for field, words in ASKED.items()
        if there[field] != now[field]
    ]
    if wrong:
        raise UserError(
            f"The weights in {folder} do not fit: {'; '.join(wrong)}. Set it so."
        )


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
