"""What is given of a session as a whole: refused where no reader could use it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sensorium_jax.data.session import MISSING
from sensorium_jax.errors import UserError, unknown
from sensorium_jax.io.names import is_inside
from sensorium_jax.rules import TRAIN, Rules

LAYOUTS = ("per_neuron", "per_frame")  # of statistics


def unit_facts(
    neurons: int,
    unit_ids: Any = None,
    coordinates: Any = None,
    unit_columns: Mapping[str, Any] | None = None,
) -> dict[str, np.ndarray]:
    """The arrays of meta/neurons: ids (0.. where there are none), places and others."""
    facts = {"unit_ids": _ids(unit_ids, neurons)}
    for name, values in (unit_columns or {}).items():
        facts[name] = _rows(name, values, neurons, "neurons")
    if coordinates is not None:
        facts["cell_motor_coordinates"] = _coordinates(coordinates, neurons)
    return facts


def trial_facts(trials: int, columns: Mapping[str, Any] | None) -> dict[str, Any]:
    """The arrays of meta/trials, but for the tiers and what is missing."""
    if MISSING in (columns or {}):
        raise UserError(
            f"columns hold '{MISSING}', which says whose responses are missing and is "
            "written by itself: give NaN as the responses of such trials. Name other "
            "facts otherwise."
        )
    return {
        name: _rows(name, values, trials, "tiers")
        for name, values in (columns or {}).items()
    }


def check_layout(layout: str) -> None:
    """Refuse a layout of statistics that nobody knows."""
    if layout not in LAYOUTS:
        raise unknown("layout", layout, LAYOUTS)


def check_tiers(where: str, names: list[str], rules: Rules) -> None:
    """Refuse tiers without training trials, and those that the rules do not know."""
    if TRAIN not in names:
        raise UserError(
            f"{where} has no trial of tier '{TRAIN}', where statistics come from; the "
            f"tiers given are {sorted(set(names))}."
        )
    for name in sorted(set(names)):
        if rules.tiers and name not in rules.tiers:
            remedy = f'These are the tiers of rules="{rules.name}".'
            raise unknown("tier", name, rules.tiers, remedy)


def fields(given: np.ndarray, neurons: int, frame_shape: tuple[int, ...]) -> np.ndarray:
    """Receptive fields [n, 2 or 3]: x, y, SD in pixels; NaN where unknown."""
    x = _rows("receptive_fields", given, neurons, "neurons")
    expected = "expected [neurons, 2 or 3]: x, y and SD in pixels of the frame"
    if x.ndim != 2 or x.shape[1] not in (2, 3) or x.dtype.kind not in "iuf":
        raise UserError(f"receptive_fields have shape {x.shape}, {expected}.")
    height, width = frame_shape[:2]
    known = x[np.isfinite(x[:, :2]).all(1), :2]
    inside = ((known >= -0.5) & (known <= np.array([width, height]) - 0.5)).all(1)
    if len(known) and inside.mean() < 0.5:
        raise UserError(
            f"Of {len(known)} receptive fields {int(inside.sum())} lie inside frames "
            f"of {height} rows and {width} columns; {expected}, x before y, from the "
            "middle of the upper left pixel. Convert degrees to pixels."
        )
    return x.astype(np.float32)


def _rows(name: str, values: Any, rows: int, of: str) -> np.ndarray:
    if not is_inside(name) or "/" in name:
        raise UserError(
            f"A column is named {name!r:.80}. Expected a name without folders and "
            "control characters, since it becomes the name of a file."
        )
    x = _array(name, values)
    if not x.ndim or len(x) != rows:
        count = len(x) if x.ndim else "no"
        raise UserError(f"{name} has {count} rows, expected {rows} as {of}.")
    return x


def _array(name: str, values: Any) -> np.ndarray:
    try:
        x = np.asarray(values)
    except ValueError:  # rows of different lengths
        x = np.empty(0, object)
    if x.dtype.kind not in "biufUS":
        raise UserError(
            f"{name} holds Python objects or rows of different lengths. Expected an "
            "array of numbers or of text."
        )
    return x


def _ids(unit_ids: Any, neurons: int) -> np.ndarray:
    if unit_ids is None:
        return np.arange(neurons)
    ids = _array("unit_ids", unit_ids)
    if ids.dtype.kind not in "iuf" or ids.ndim != 1 or (ids != np.round(ids)).any():
        what = "text" if ids.dtype.kind in "US" else f"{ids.dtype} of shape {ids.shape}"
        raise UserError(
            f"unit_ids are {what}. Expected one whole number per neuron, [{neurons}]. "
            "Names belong into unit_columns={'names': names}; without unit_ids the "
            "neurons are numbered from 0."
        )
    ids = _rows("unit_ids", ids, neurons, "neurons").astype(np.int64)
    values, counts = np.unique(ids, return_counts=True)
    if len(values) != neurons:
        raise UserError(
            f"unit_ids has {values[counts > 1][0]} more than once. Expected an id of "
            "its own for every neuron; without unit_ids they are numbered from 0."
        )
    return ids


def _coordinates(coordinates: Any, neurons: int) -> np.ndarray:
    x = _array("coordinates", coordinates)
    expected = f"Expected micrometres [{neurons}, 3] (or 2), one row per neuron"
    if x.ndim == 2 and len(x) != neurons:
        raise UserError(
            f"coordinates has {len(x)} rows, expected {neurons} as neurons."
        )
    if x.ndim != 2 or x.shape[1] not in (2, 3) or x.dtype.kind not in "iuf":
        raise UserError(
            f"coordinates have shape {x.shape} and type {x.dtype}. {expected}."
        )
    odd = int((~np.isfinite(x)).any(1).sum())
    if odd:
        raise UserError(
            f"coordinates hold NaN or infinity in {odd} of {neurons} rows. {expected}; "
            "without coordinates, models learn the places by themselves."
        )
    return x
