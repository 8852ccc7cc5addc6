"""Trained models by folder or by name."""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from sensorium_jax import trees
from sensorium_jax.checkpoints import layout, read
from sensorium_jax.checkpoints.card import asking_of
from sensorium_jax.errors import UserError, unknown
from sensorium_jax.maps.reduce import Plan, plan_of
from sensorium_jax.zoo.assemble import Inputs, build
from sensorium_jax.zoo.published import fetch, sources
from sensorium_jax.zoo.twins.ensemble import FACTORS, Ensemble, ensemble
from sensorium_jax.zoo.twins.twin import Twin, fitting


def load(
    source: str | Path, *, step: int | None = None, allow_outside: bool = False
) -> Any:
    """A twin from a checkpoint folder, a run, or the name of a published model.

    The folder of an ensemble gives all its twins as one.

    A folder wins over a name. Of a run it is the best step unless one is named. A
    published model is downloaded once and kept; see published.fetch. With allow_outside
    the core may be a class of elsewhere, whose code then runs; see zoo.outside.
    """
    if Path(source).expanduser().exists() or os.sep in str(source):
        folder = layout.find(Path(source).expanduser().absolute(), step)
        if layout.ENSEMBLE in read.card_of(folder):
            return ensemble_of(folder, allow_outside=allow_outside)
        return from_folder(folder, allow_outside=allow_outside)
    if str(source) not in sources.FILES:
        raise unknown(
            "model", str(source), sources.FILES, "Give a folder or one of these names."
        )
    return from_folder(fetch.fetch(str(source)))


def ensemble_of(folder: Path, *, allow_outside: bool = False) -> Ensemble:
    """The ensemble in a folder, with what its card says of it."""
    card, leaves = read.card_of(folder), read.weights(folder)
    count = len(card[layout.ENSEMBLE])
    members = [layout.find(layout.member(folder, i)) for i in range(count)]
    twins = [from_folder(member, allow_outside=allow_outside) for member in members]
    kept = [leaves.get(f"info/{FACTORS}/{i}") for i in range(count)]
    known = any(factors is not None for factors in kept)
    return replace(ensemble(twins, to_judged=kept if known else ()), card=card)


def from_folder(folder: Path, *, allow_outside: bool = False) -> Twin:
    """The twin in one checkpoint's folder."""
    card, leaves = read.card_of(folder), read.weights(folder)
    try:
        given = {k: card["inputs"][k] for k in Inputs._fields if k in card["inputs"]}
        inputs = Inputs(**{**given, "frame_shape": tuple(given["frame_shape"])})
        mice = {m["name"]: int(m["neurons"]) for m in card["mice"]}
        model, changes = card["model"], card["changes"]
    except (KeyError, TypeError) as error:
        raise UserError(
            f"The card of {folder} says nothing of {error}; it was written by another "
            "version. Save the model again with this one."
        ) from None
    real_mn = leaves["info/neurons_n"][: len(mice)]
    neurons = tuple(int(n) for n in real_mn.sum(1))
    if neurons != tuple(mice.values()):
        raise UserError(
            f"The card of {folder} speaks of {tuple(mice.values())} neurons, the "
            f"weights are of {neurons}: they do not belong together. Copy the folder "
            "again."
        )
    leaves, card, plan = linear_part(leaves, card, str(folder))
    tree = trees.unflatten({n: jnp.asarray(v) for n, v in leaves.items()})
    with contextlib.nullcontext() if allow_outside else fitting():
        encoder = build(model, inputs, allow_outside=allow_outside, **changes)
    return Twin(
        encoder,
        {"batch_stats": {}, **tree},
        tuple(mice),
        neurons,
        inputs.frame_shape,
        inputs.behaviors,
        asking_of(card, str(folder)),
        card,
        plan,
    )


def linear_part(
    leaves: Mapping[str, Any], card: Mapping[str, Any], where: str
) -> tuple[Mapping[str, Any], Mapping[str, Any], Plan | None]:
    """Leaves, card and how the linear model sees frames; without it if it has no share.

    What has no share is left out, so that nothing is spent on it.
    """
    if "linear" not in card:
        return leaves, card, None
    plan, share_m = plan_of(card["linear"]), leaves.get("info/linear/share_m")
    if share_m is None:
        raise UserError(
            f"The card of {where} speaks of a linear model that takes part, and its "
            "weights are not there. Copy the folder again."
        )
    if np.any(share_m):
        return leaves, card, plan
    leaves = {k: v for k, v in leaves.items() if not k.startswith("info/linear/")}
    return leaves, {k: v for k, v in card.items() if k != "linear"}, None
