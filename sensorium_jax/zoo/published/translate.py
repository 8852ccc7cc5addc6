"""A published state dict to a model of ours: every tensor used, every weight filled."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from sensorium_jax import trees
from sensorium_jax.asking import Asking
from sensorium_jax.errors import UserError, unknown
from sensorium_jax.io.names import check_names
from sensorium_jax.models.encoder import Encoder, create
from sensorium_jax.models.rows import mouse_rows
from sensorium_jax.normalize import seen_shape
from sensorium_jax.zoo.assemble import (
    Inputs,
    asking_of,
    build,
    on_paper,
    original_inputs,
    spec,
)
from sensorium_jax.zoo.published import (
    basic2023,
    dwise2023,
    factorized2023,
    gru2023,
    names,
    stacked2022,
)
from sensorium_jax.zoo.torch import torchfile

Array = np.ndarray

FAMILIES = {
    "cnn2022": stacked2022,
    "cnn2022_plus": stacked2022,
    "ln2022": stacked2022,
    "ln2022_plus": stacked2022,
    "factorized2023": factorized2023,
    "gru2023": gru2023,
    "basic3d2023": basic2023,
    "dwise2023": dwise2023,
    "dwise2023_distill": dwise2023,
}


class Converted(NamedTuple):
    """A model read from a file."""

    model: str  # the preset; of a pair of tracks, the one the file is of
    changes: dict[str, Any]
    inputs: Inputs
    asking: Asking
    encoder: Encoder
    variables: dict[str, Any]
    mice: tuple[str, ...]
    neurons: tuple[int, ...]


def convert_file(path: str | Path, model: str, **changes: Any) -> Converted:
    """Read a .pth of the originals as this model."""
    if model not in FAMILIES:
        raise unknown("published architecture", model, FAMILIES)
    state = torchfile.load(path)
    try:
        return convert(state, model, **changes)
    except UserError as error:
        raise UserError(f"{path}: {error}{_guess(state, model)}") from None


def convert(state: Mapping[str, Array], model: str, **changes: Any) -> Converted:
    """A state dict as this model; the number of mice and neurons is the file's own."""
    family = FAMILIES[model]
    found = names.read(family.TABLE, family.CONSTANTS, state)
    if found.left or family.FIRST not in state or not found.mice:
        odd = found.left or tuple(state)
        raise UserError(
            f"this is no '{model}': {len(odd)} of {len(state)} tensors are not of that "
            f"model, among them {', '.join(odd[:3])}."
        )
    if family is dwise2023:
        found = dwise2023.of_mice(found)
    model, changes, inputs = _variant(model, changes, state[family.FIRST], found)
    encoder = build(model, inputs, **changes)
    asked = asking_of(model, encoder)
    mice, neurons = _mice(found)
    expected = _expected(encoder, inputs, asked, mice, neurons)
    leaves = _stack(found, neurons, expected)
    for name, leaf in expected.items():
        if name not in leaves and family.ZEROS and re.fullmatch(family.ZEROS, name):
            leaves[name] = np.zeros(leaf.shape, leaf.dtype)
    _check(model, leaves, expected)
    tree = trees.unflatten({k: leaves[k] for k in sorted(leaves)})
    return Converted(model, changes, inputs, asked, encoder, tree, mice, neurons)


def export(variables: Any, model: str, mice: Mapping[str, int]) -> dict[str, Array]:
    """Weights under the originals' names and in their layouts, without constants."""
    shared: dict[str, Array] = {}
    own: dict[str, dict[str, Array]] = {mouse: {} for mouse in mice}
    longest = variables["info"]["neurons_n"].shape[1]
    for name, value in trees.named_leaves(variables).items():
        if not trees.is_row(name):
            shared[name] = np.asarray(value)
            continue
        for row, (mouse, count) in enumerate(mice.items()):
            x = np.asarray(value[row])
            own[mouse][name] = x[:count] if x.shape[:1] == (longest,) else x
    return names.write(FAMILIES[model].TABLE, shared, own)


def _variant(
    model: str, changes: Mapping[str, Any], first: Array, found: names.Read
) -> tuple[str, dict[str, Any], Inputs]:
    """The track a file is of, and what else its names and shapes say of the model."""
    changes = dict(changes)
    channels = first.shape[1]
    leaves = {leaf for mouse in found.mice.values() for leaf in mouse}
    eye = any(leaf.startswith("params/shifter/") for leaf in leaves)
    if FAMILIES[model] is stacked2022:
        plain = model.removesuffix("_plus")
        model = f"{plain}_plus" if eye or channels > 1 else plain
        if re.search(r"params/core/layer[1-9].*bias", " ".join(found.shared)) and any(
            re.fullmatch(stacked2022.ZEROS, leaf) for leaf in found.shared
        ):
            changes.setdefault("core.conv_bias", True)
    if FAMILIES[model] is dwise2023:
        times = dwise2023.expansion(found)
        model = dwise2023.STAGES.get(times, model)
        if times not in dwise2023.STAGES:
            changes["core.expansion"] = times
    parts = spec(model, changes)
    if parts["shifter"] is not None and not eye:
        changes["shifter"] = None
    if "params/readout/mu" in leaves:
        changes["readout.predictor"] = None
    pupil = 2 if parts["pupil_as_channels"] else 0
    behaviors = channels - 1 - pupil if parts["behavior_as_channels"] else 0
    shape = (*original_inputs(model).frame_shape[:2], channels - behaviors - pupil)
    return model, changes, Inputs(shape, behaviors)


def _mice(found: names.Read) -> tuple[tuple[str, ...], tuple[int, ...]]:
    counts = []
    check_names(found.mice, "the file", "mouse")
    for mouse, leaves in found.mice.items():
        if "params/readout/features" not in leaves:
            raise UserError(f"mouse '{mouse}' has no tensor readout.{mouse}._features.")
        counts.append(len(leaves["params/readout/features"]))
    return tuple(found.mice), tuple(counts)


def _expected(
    encoder: Encoder,
    inputs: Inputs,
    asked: Asking,
    mice: tuple[str, ...],
    neurons: tuple[int, ...],
) -> dict[str, Any]:
    """Names and shapes of everything the model learns."""
    info = on_paper(mice, neurons, inputs)
    rows = mouse_rows(info)
    shapes = jax.eval_shape(
        lambda: create(
            encoder,
            rows,
            jax.random.key(0),
            frame_shape=seen_shape(inputs.frame_shape, asked.scale, asked.canvas),
            behaviors=inputs.behaviors,
        )
    )
    constant = {f"info/{k}": v for k, v in rows.items() if k != "coordinates_n2"}
    return trees.named_leaves(shapes) | constant


def _stack(
    found: names.Read, neurons: tuple[int, ...], expected: Mapping[str, Any]
) -> dict[str, Array]:
    """Shared leaves as they are, those of mice stacked and padded with zeros."""
    leaves = dict(found.shared)
    per_mouse = list(found.mice.values())
    for name in {leaf for mouse in per_mouse for leaf in mouse}:
        if name not in expected or not all(name in mouse for mouse in per_mouse):
            leaves[name] = np.zeros(0, np.float32)  # said in words by _check
            continue
        shape = expected[name].shape[1:]
        rows = [
            _pad(m[name], shape, n) for m, n in zip(per_mouse, neurons, strict=True)
        ]
        leaves[name] = np.stack(rows) if len({r.shape for r in rows}) == 1 else rows[0]
    for name, value in expected.items():
        if name.startswith("info/") and name not in leaves:
            leaves[name] = (
                np.zeros(value.shape, value.dtype) if _abstract(value) else value
            )
    return leaves


def _abstract(value: Any) -> bool:
    return isinstance(value, jax.ShapeDtypeStruct)


def _pad(x: Array, shape: tuple[int, ...], neurons: int) -> Array:
    if not shape or x.shape[:1] != (neurons,) or x.shape[1:] != shape[1:]:
        return x
    return np.pad(x, [(0, shape[0] - neurons)] + [(0, 0)] * (x.ndim - 1))


def _check(
    model: str, leaves: Mapping[str, Array], expected: Mapping[str, Any]
) -> None:
    extra = sorted(set(leaves) - set(expected))
    missing = sorted(set(expected) - set(leaves))
    wrong = [
        f"{name} is {leaves[name].shape}, expected {leaf.shape}"
        for name, leaf in expected.items()
        if name in leaves and leaves[name].shape != leaf.shape
    ]
    if not (extra or missing or wrong):
        return
    said = [
        f"{len(found)} {what} ({', '.join(found[:3])}{' ...' * (len(found) > 3)})"
        for found, what in (
            (extra, "tensors it has no place for"),
            (missing, "weights that the file lacks"),
            (wrong, "weights of another shape"),
        )
        if found
    ]
    raise UserError(f"this is no '{model}': {'; '.join(said)}.")


def _guess(state: Mapping[str, Array], asked: str) -> str:
    """Which other models the tensors fit, for an error."""
    fits = []
    for model in FAMILIES:
        try:
            fits.append(convert(state, model).model)
        except UserError:
            continue
    others = sorted(set(fits) - {asked})
    if not others:
        return f" It fits none of {', '.join(FAMILIES)}."
    return f" It fits {' and '.join(others)}: give that as --arch."
