"""The card beside the weights: which model they are of, of which mice, asked how."""

import json
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sensorium_jax import asking
from sensorium_jax.asking import Asking
from sensorium_jax.errors import UserError

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "sensorium-jax")
Card = Mapping[str, Any]


def model_card(
    model: str,
    inputs: Mapping[str, Any],
    mice: Sequence[Mapping[str, Any]],
    *,
    asking: Asking,
    changes: Mapping[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """What loading needs: the model, its inputs, its mice, and how it is asked.

    inputs are those of assemble.Inputs; every mouse is {name, neurons, ...}.
    """
    return {
        "model": model,
        "changes": dict(changes or {}),
        "inputs": dict(inputs),
        "asking": asking.as_json(),
        "mice": [dict(mouse) for mouse in mice],
        "versions": versions(),
        **more,
    }


def versions() -> dict[str, str]:
    """Versions of what decides a run's numbers."""
    return {name: version(name) for name in PACKAGES}


def read_card(path: Path) -> dict[str, Any]:
    """A card from its file."""
    try:
        card = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"The card {path} cannot be read ({error}).") from None
    if not isinstance(card, dict):
        raise UserError(f"The card {path} holds no JSON object; copy the folder again.")
    return card


def asking_of(card: Card, where: str) -> Asking:
    """How the model of a card is asked.

    Cards of before this was kept whole say what they know: the scale of the frames,
    the units of the rates, and the stride that a run was trained with.
    """
    if "asking" in card:
        return asking.from_json(card["asking"], where)
    data = card.get("config", {}).get("data", {})
    known = {
        "scale": float(card["inputs"].get("scale", 1.0)),
        "units": card.get("units", asking.PLAIN.units),
        "stride": int(data.get("stride", 1)),
    }
    words = ", ".join(f"{k} {v}" for k, v in known.items())
    print(
        f"note: {where} was written before cards said how a model is asked; taken as: "
        f"whole trials, {words}",
        file=sys.stderr,
    )
    return asking.from_json(known, where)


def unit_digests(card: Card) -> dict[str, str]:
    """What tells the units of each mouse apart, by its name, where it is known."""
    mice = card.get("mice", ())
    return {m["name"]: m["unit_ids"] for m in mice if m.get("unit_ids")}
