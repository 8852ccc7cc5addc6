"""The card beside the weights: which model they are of, of which mice, asked how."""

import math
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sensorium_jax import asking
from sensorium_jax.asking import Asking
from sensorium_jax.checkpoints.digests import DIGESTS, DamagedError
from sensorium_jax.errors import UserError
from sensorium_jax.io import plain_json

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "sensorium-jax")
Card = Mapping[str, Any]
LARGEST = 16 << 20  # bytes of a card's file
AGAIN = "Copy the folder again."
# Beyond what anybody records, and still within memory.
PIXELS, SIGNALS, NEURONS, RATE = 1 << 26, 1 << 12, 1 << 24, 1e6
FIELDS: dict[str, type | tuple[type, ...]] = {
    "model": str,
    "changes": dict,
    "inputs": dict,
    "asking": dict,
    "mice": list,
    "versions": dict,
    "config": dict,
    "machine": dict,
    "progress": dict,
    "units": str,
    "ensemble": list,
    DIGESTS: dict,
}


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
    return {name: _version(name) for name in PACKAGES}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # run from its folder, without being installed
        return "not installed"


def read_card(path: Path) -> dict[str, Any]:
    """A card from its file, with its checksums; every field has its type and range."""
    try:
        card = plain_json.load(path, AGAIN, most=LARGEST)
    except UserError as error:
        raise DamagedError(f"The card {error}") from None
    except OSError as error:
        raise DamagedError(
            f"The card {path} cannot be read ({error}). {AGAIN}"
        ) from None
    if not isinstance(card, dict):
        raise DamagedError(
            f"The card {path} holds no JSON object; copy the folder again."
        )
    check_card(card, str(path))
    return card


def check_card(card: Card, where: str) -> None:
    """Refuse fields of the wrong type, and sizes that no recording has."""
    wrong = [
        f"{name} is a {type(card[name]).__name__}"
        for name, kind in FIELDS.items()
        if name in card and not isinstance(card[name], kind)
    ]
    if not wrong:
        wrong = [*_odd_inputs(card.get("inputs", {})), *_odd_mice(card.get("mice", []))]
        wrong += _odd_progress(card.get("progress", {}))
        wrong += [
            f"{name} is {_short(card[name])}, expected a number above 0"
            for name in ("frames_per_second", "degrees_per_pixel")
            if card.get(name) is not None and not _is_rate(card[name])
        ]
    if wrong:
        raise DamagedError(
            f"The card {where} cannot be of a model: {'; '.join(wrong[:3])}. Copy the "
            "folder again, or save the model again."
        )


def _is_count(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def _is_rate(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < RATE


def _odd_inputs(inputs: Mapping[str, Any]) -> Iterator[str]:
    shape = inputs.get("frame_shape", [1, 1, 1])
    sizes = shape if isinstance(shape, (list, tuple)) else []
    if len(sizes) != 3 or not all(_is_count(n, 1, PIXELS) for n in sizes):
        yield f"inputs.frame_shape is {_short(shape)}, expected 3 numbers of pixels"
    elif math.prod(sizes) > PIXELS:
        yield f"inputs.frame_shape is {shape}, more than {PIXELS} numbers in a frame"
    if not _is_count(inputs.get("behaviors", 0), 0, SIGNALS):
        yield f"inputs.behaviors is {_short(inputs['behaviors'])}, expected a count"
    for name in ("has_pupil", "has_coordinates"):
        if type(inputs.get(name, True)) is not bool:
            yield f"inputs.{name} is {_short(inputs[name])}, expected true or false"


def _odd_mice(mice: Sequence[Any]) -> Iterator[str]:
    names = []
    for row, mouse in enumerate(mice):
        if not isinstance(mouse, dict):
            yield f"mouse {row} is {_short(mouse)}, expected its name and neurons"
            continue
        name, ids = mouse.get("name"), mouse.get("unit_ids")
        names.append(name if isinstance(name, str) else "")
        if not names[-1].isprintable() or not 0 < len(names[-1]) < 256:
            yield f"the name of mouse {row} is {_short(name)}, expected printable text"
        if not _is_count(mouse.get("neurons", 1), 1, NEURONS):
            yield f"mouse {row} has {_short(mouse['neurons'])} neurons"
        if not isinstance(ids, str | None):
            yield f"the unit ids of mouse {row} are {_short(ids)}, expected a digest"
    if len(set(names)) != len(names):
        yield "two mice have one name"


def _odd_progress(progress: Mapping[str, Any]) -> Iterator[str]:
    """What a run cannot go on from."""
    plateau = progress.get("plateau", {})
    numbers = dict(plateau) if isinstance(plateau, dict) else {"plateau": plateau}
    numbers |= {name: progress.get(name) for name in ("best", "best_step")}
    for name, value in numbers.items():
        if value is not None and type(value) not in (int, float, bool):
            yield f"progress.{name} is {_short(value)}, expected a number"
    if type(progress.get("finished", False)) is not bool:
        yield f"progress.finished is {_short(progress['finished'])}"


def _short(value: Any) -> str:
    return textwrap.shorten(repr(value), 60)


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
