"""Stimuli that a probe shows, and what populations and cores make of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from sensorium_jax.insilico import batches
from sensorium_jax.insilico.stimuli import Product
from sensorium_jax.insilico.subjects import Subject, counted
from sensorium_jax.insilico.tuning import drawn, film

Array = Any
CELLS = (3, 4)  # parts of a core's maps, rows and columns
PIECES = 200  # of pink noise, whose spectrum is taken


class Gratings(NamedTuple):
    """What is varied; places and sizes are shares of the frame, for models of any."""

    directions: int = 8  # over a whole turn
    cycles: tuple[float, ...] = (1.5, 3.0, 5.0)  # on the height of a frame
    hertz: tuple[float, ...] = (2.0, 4.0)  # of films
    phases: int = 4
    contrast: float = 1.0
    seconds: float = 0.5  # that are counted of a film


class Labelled(NamedTuple):
    """S stimuli: labels by name, and groups that may not be parted."""

    labels: dict[str, np.ndarray]  # [S] each
    group_s: np.ndarray


def gratings(subject: Subject, shown: Gratings) -> Product:
    """The stimuli as this model sees them; pictures do not drift."""
    height = subject.frame[0]
    turn = 2 * np.pi if subject.films else np.pi
    values = {
        "orientation": turn * np.arange(shown.directions) / shown.directions,
        "frequency": np.array(shown.cycles) / height,
        "tf": np.array(shown.hertz if subject.films else (0.0,)),
        "phase": 2 * np.pi * np.arange(shown.phases) / shown.phases,
        "contrast": np.array([shown.contrast]),
    }
    return Product("grating", {k: v.tolist() for k, v in values.items()})


def labelled(subject: Subject, shown: Gratings) -> Labelled:
    """What each of them is: orientation and direction in degrees, cycles, hertz."""
    grid = gratings(subject, shown)
    index = np.stack(np.unravel_index(np.arange(grid.count), grid.shape))
    turn = 360 if subject.films else 180
    degrees = np.round(index[0] * turn / shown.directions, 3)
    labels = {"orientation": degrees % 180}
    if subject.films:
        labels["direction"] = degrees
    labels["frequency"] = np.array(shown.cycles)[index[1]]
    if subject.films and len(shown.hertz) > 1:
        labels["temporal frequency"] = np.array(shown.hertz)[index[2]]
    labels = {k: v for k, v in labels.items() if len(np.unique(v)) > 1}
    return Labelled(labels, np.arange(grid.count))


def answers(
    subject: Subject,
    shown: Gratings,
    *,
    core: bool = False,
    memory: float | None = None,
) -> np.ndarray:
    """Mean rates [S, N] to the gratings, or what the core makes of them, [S, D]."""
    frame, count = film(subject, shown.seconds)
    answer = _answer(subject, core)

    def one(parameters):
        return counted(answer(drawn(subject, "grating", frame, parameters)), count)

    grid = gratings(subject, shown)
    return batches.every(one, grid.parameters(), memory=memory)


def noise_answers(
    subject: Subject,
    *,
    core: bool = False,
    pieces: int = PIECES,
    seed: int = 0,
    memory: float | None = None,
) -> np.ndarray:
    """The same to pieces of pink noise, each one picture that stands still."""
    frame, count = film(subject, Gratings().seconds)
    answer, still = _answer(subject, core), frame._replace(frames=1)

    def one(seed_b):
        pink = {"seed": seed_b, "exponent": jnp.ones_like(seed_b)}
        video = drawn(subject, "noise", still, pink)
        shape = (video.shape[0], frame.frames, *video.shape[2:])
        return counted(answer(jnp.broadcast_to(video, shape)), count)

    seeds = (seed * 1000 + 500 + np.arange(pieces)).astype(np.float32)
    return batches.every(one, seeds, memory=memory)


def _answer(subject: Subject, core: bool) -> Callable[[Array], Array]:
    if not core:
        return subject.rates
    return lambda video: subject.core(video, CELLS)
