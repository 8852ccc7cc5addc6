"""From recordings to fields and a linear model of all mice: the room's two questions.

Both take batches of whole trials, as many times as they ask for them, and a function
that normalizes their video, so that they know no files.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import numpy as np

from sensorium_jax.axes import Batch, MouseInfo
from sensorium_jax.maps import fields, linear, moments, ridge
from sensorium_jax.maps.fields import Fields
from sensorium_jax.maps.linear import Linear
from sensorium_jax.maps.moments import Moments
from sensorium_jax.maps.reduce import Plan
from sensorium_jax.maps.ridge import Spectrum

Batches = Callable[[], Iterable[Batch]]
Normalized = Callable[[Batch], Any]


class Maps(NamedTuple):
    """What is known of every mouse without a model."""

    fields: tuple[Fields, ...]
    linear: Linear
    held_out: tuple[np.ndarray, ...]  # correlation [N] of linear drives, held out


def find_fields(plan: Plan, train: Moments, info: MouseInfo) -> tuple[Fields, ...]:
    """The fields of every mouse from the moments of its training trials."""
    host = jax.device_get(train)
    return tuple(_fields(plan, host, info, m)[0] for m in range(info.mice))


def _fields(
    plan: Plan, train: Moments, info: MouseInfo, m: int
) -> tuple[Fields, Spectrum]:
    n = info.neurons[m]
    light = ridge.spectrum(moments.centered(train, m, n), plan.signals)
    contrast = ridge.spectrum(moments.centered(train, m, n, "contrast"))
    where = info.coordinates_mn3[m, :n] if info.has_coordinates else None
    return fields.find(plan, light, contrast, where), light


def fit(
    plan: Plan,
    train: Batches,
    held: Batches,
    normalized: Normalized,
    info: MouseInfo,
    *,
    units: str = "per_neuron",
) -> Maps:
    """Fields and the best linear-nonlinear model of every mouse.

    train and held start a pass over the trials to learn from, and over those that
    strengths and curves are chosen on. units are those of the responses in batches.
    """
    seen = jax.device_get(moments.gather(plan, train(), normalized))
    apart = jax.device_get(moments.gather(plan, held(), normalized, squares=False))
    found, chosen, lights, least, scores = [], [], [], [], []
    for m, n in enumerate(info.neurons):
        mine, light = _fields(plan, seen, info, m)
        weights, score = linear.choose(plan, light, moments.centered(apart, m, n), mine)
        found.append(mine)
        chosen.append(weights)
        lights.append(light)
        lowest_n = seen.least_mn[m, :n]  # infinite where no response is known
        least.append(np.where(np.isfinite(lowest_n), lowest_n, 0.0))
        scores.append(score)
    weights = linear.straight(plan, chosen, lights, least, seen.least_mn.shape)
    weights = linear.fit_curves(plan, weights, held(), normalized)
    behaviors = info.behaviors if plan.signals else 0
    asking = linear.asked(units)
    twin = Linear(plan, weights, info.names, info.neurons, behaviors, asking)
    return Maps(tuple(found), twin, tuple(scores))
