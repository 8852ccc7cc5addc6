"""Five worlds of cascades: a tiny lab, many pixels, fast calcium, few spikes, a drift.

They differ in stimuli, nonlinearity, time constants, noise and size; only `drifting`
records worse and worse: its truth is what the stimulus alone lets one expect, the mean
over the session.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from sensorium_jax.rules import FILMS, TRAIN
from sensorium_jax.simulation.cascade import cells as cascade, observe
from sensorium_jax.simulation.cascade.cells import Law
from sensorium_jax.simulation.cortex.behavior import behave
from sensorium_jax.simulation.draws import generator
from sensorium_jax.simulation.worlds import answers, leaves, noise
from sensorium_jax.simulation.worlds.world import (
    CALIBRATION,
    TEST,
    VALIDATION,
    Array,
    Population,
    Shows,
    World,
)

CLOUDS, LEAVES, GRATINGS, SQUARES = "clouds", "leaves", "gratings", "squares"
RESTING = 3.0  # fluorescence of `fast_calcium` without events
SMEAR = 4  # frames that an event of `many_pixels` spreads over


class Scenes(NamedTuple):
    """What films of leaves wander over, and how."""

    side: int  # pixels
    smallest: float  # radius of a leaf
    jump: float  # frames between saccades
    drift: float  # SD of the eye's speed


class Spec(NamedTuple):
    """A world of cascades."""

    name: str
    law: Law
    neurons: int
    observed: Callable[..., Array]  # (rng, rates_tn, moment) -> responses
    scenes: Scenes | None = None
    after: Callable[[Array], Array] = lambda x: x  # what a sensor does to mean rates
    runs: int | None = None  # column of running among the behavior


def film(spec: Spec, seed: int, kind: str, number: int, frames: int) -> Array:
    """One film [T, H, W, 1]."""
    rng = generator(seed, spec.name, kind, number)
    h, w = spec.law.height, spec.law.width
    if kind == CLOUDS:
        video = noise.clouds(rng, frames, h, w, scale=0.08 * min(h, w), slowness=4.0)
    elif kind == GRATINGS:
        video = noise.gratings(rng, frames, h, w, hold=20)
    elif kind == SQUARES:
        video = noise.squares(rng, frames, h, w, count=5, hold=4)
    else:
        side, smallest, jump, drift = spec.scenes or Scenes(4 * h, 1.0, 30, 0.2)
        pool = leaves.scenes(seed, side, side, smallest)
        video = leaves.film(rng, pool, frames, h, w, jump=jump, drift=drift)
    return video[..., None]


def population(spec: Spec, kinds: tuple[str, ...], seed: int, mouse: int) -> Population:
    """The cells of a mouse, calibrated on films of some kinds that nobody is shown."""
    drawn = cascade.draw(spec.law, spec.name, seed, mouse, spec.neurons)
    films = [
        film(spec, seed, kind, CALIBRATION + i, 300)[..., 0]
        for kind in kinds
        for i in (0, 1)
    ]
    drawn = cascade.calibrated(spec.law, drawn, films)

    def rates(video_thwc: Array, behavior_tk: Array | None) -> Array:
        running = None
        if spec.runs is not None and behavior_tk is not None:
            running = behavior_tk[:, spec.runs]
        events = cascade.rates(spec.law, drawn, video_thwc[..., 0], running)
        return spec.after(events)

    facts = {k: getattr(drawn, k) for k in ("kind", "center_n2", "complexity", "rate")}
    answer = partial(answers.cascade, spec.law, drawn, spec.after, spec.runs)
    return Population(facts, rates, spec.observed, answer=answer)


def _world(
    spec: Spec,
    shows: tuple[Shows, ...],
    *,
    hertz: float = 30.0,
    mice: int = 1,
    behave: Callable | None = None,
) -> World:
    kinds = tuple(dict.fromkeys(s.kind for s in shows if s.tier == TRAIN))
    return World(
        kind=FILMS,
        frame_shape=(spec.law.height, spec.law.width, 1),
        hertz=hertz,
        mice=mice,
        neurons=spec.neurons,
        shows=shows,
        clip=partial(film, spec),
        population=partial(population, spec, kinds),
        behave=behave,
    )


def _running(rng: np.random.Generator, frames: int):
    """Running [T, 1] and nothing else."""
    return behave(rng, frames).running_t[:, None], None


def _both(rng: np.random.Generator, frames: int):
    """Pupil size and running [T, 2], and gaze."""
    b = behave(rng, frames)
    return np.column_stack([b.dilation_t, b.running_t]), b.pupil_t2


def _varied(rng: np.random.Generator, rates_tn: Array, moment: float) -> Array:
    return observe.counts(rng, rates_tn, scatter=0.4)


def _few(rng: np.random.Generator, rates_tn: Array, moment: float) -> Array:
    return observe.counts(rng, rates_tn)


def _deconvolved(rng: np.random.Generator, rates_tn: Array, moment: float) -> Array:
    """Events of varied size; the rates are smeared already."""
    return (0.5 * observe.events(rng, 2 * rates_tn, 1.5)).astype(np.float32)


def _glow(events_tn: Array) -> Array:
    """Mean fluorescence: events through the indicator, over a resting level."""
    return RESTING + observe.decaying(events_tn, rise=1.5, decay=9.0)


def _glowing(rng: np.random.Generator, rates_tn: Array, moment: float) -> Array:
    """Fluorescence, whose noise grows with its light; rest is five SD above zero."""
    deviation = np.sqrt(0.36 + 1.5 * np.maximum(rates_tn - RESTING, 0))
    noisy = rates_tn + deviation * rng.standard_normal(rates_tn.shape)
    return np.maximum(noisy, 0).astype(np.float32)


def _fading(rng: np.random.Generator, rates_tn: Array, moment: float) -> Array:
    """Counts of a recording whose gain falls from 1.6 to 0.4 over the session."""
    return observe.counts(rng, rates_tn * (1.6 - 1.2 * moment), scatter=0.3)


TINY_LAB = _world(
    Spec(
        "tiny_lab",
        Law(
            height=15,
            width=20,
            size=(0.1, 0.22),
            cycles=(0.15, 0.3),
            round=0.4,
            complex=0.15,
            peak=(1.5, 3.0),
            undershoot=(0.2, 0.8),
            taps=12,
            nonlinearity=cascade.EXPONENTIAL,
            steepness=(0.5, 1.1),
            threshold=(0.0, 0.5),
            rate=(0.12, 0.6),
        ),
        neurons=12,
        observed=_varied,
        runs=0,
    ),
    (
        Shows(TRAIN, SQUARES, 20, 1, 375),
        Shows(TRAIN, GRATINGS, 10, 1, 375),
        Shows(VALIDATION, SQUARES, 1, 3, 375),
        Shows(VALIDATION, GRATINGS, 1, 2, 375),
        Shows(TEST, SQUARES, 1, 5, 375),
        Shows(TEST, GRATINGS, 1, 5, 375),
    ),
    hertz=25.0,
    behave=_running,
)
MANY_PIXELS = _world(
    Spec(
        "many_pixels",
        Law(
            height=144,
            width=256,
            size=(0.04, 0.08),
            cycles=(0.2, 0.35),
            round=0.3,
            complex=0.4,
            peak=(2.5, 5.0),
            undershoot=(0.3, 0.9),
            taps=16,
            nonlinearity=cascade.POWER,
            steepness=(0.8, 1.2),
            threshold=(0.0, 0.6),
            rate=(0.06, 0.7),
        ),
        neurons=40,
        observed=_deconvolved,
        scenes=Scenes(420, 4.0, 30, 0.8),
        after=partial(observe.smeared, over=SMEAR),
    ),
    (
        Shows(TRAIN, LEAVES, 60, 1, 150),
        Shows(VALIDATION, LEAVES, 3, 4, 150),
        Shows(TEST, LEAVES, 4, 6, 150),
    ),
)
FAST_CALCIUM = _world(
    Spec(
        "fast_calcium",
        Law(
            height=30,
            width=40,
            size=(0.07, 0.14),
            cycles=(0.18, 0.3),
            round=0.35,
            complex=0.3,
            peak=(3.0, 6.0),
            undershoot=(0.4, 1.0),
            taps=28,
            nonlinearity=cascade.SQUARED,
            steepness=(1.0, 1.8),
            threshold=(0.0, 0.6),
            rate=(0.04, 0.5),
        ),
        neurons=40,
        observed=_glowing,
        scenes=Scenes(110, 1.3, 40, 0.15),
        after=_glow,
        runs=1,
    ),
    (
        Shows(TRAIN, CLOUDS, 40, 1, 480),
        Shows(TRAIN, LEAVES, 20, 1, 480),
        Shows(VALIDATION, CLOUDS, 2, 4, 480),
        Shows(TEST, CLOUDS, 2, 8, 480),
        Shows(TEST, LEAVES, 1, 8, 480),
    ),
    hertz=60.0,
    mice=2,
    behave=_both,
)
SPARSE = _world(
    Spec(
        "sparse",
        Law(
            height=24,
            width=40,
            size=(0.09, 0.16),
            cycles=(0.15, 0.3),
            round=0.5,
            complex=0.1,
            peak=(2.0, 4.0),
            undershoot=(0.2, 0.7),
            taps=14,
            nonlinearity=cascade.THRESHOLD,
            steepness=(1.0, 1.6),
            threshold=(1.8, 2.6),
            rate=(1 / 600, 0.4),
        ),
        neurons=60,
        observed=_few,
    ),
    (
        Shows(TRAIN, CLOUDS, 90, 1, 600),
        Shows(VALIDATION, CLOUDS, 10, 2, 600),
        Shows(TEST, CLOUDS, 10, 5, 600),
    ),
)
DRIFTING = _world(
    Spec(
        "drifting",
        Law(
            height=27,
            width=48,
            size=(0.08, 0.15),
            cycles=(0.15, 0.35),
            round=0.3,
            complex=0.5,
            peak=(1.5, 3.5),
            undershoot=(0.0, 0.5),
            taps=16,
            nonlinearity=cascade.POWER,
            steepness=(0.8, 1.4),
            threshold=(0.2, 0.8),
            rate=(0.06, 0.7),
        ),
        neurons=50,
        observed=_fading,
        scenes=Scenes(150, 1.5, 45, 0.4),
    ),
    (
        Shows(TRAIN, LEAVES, 80, 1, 300),
        Shows(VALIDATION, LEAVES, 4, 4, 300),
        Shows(TEST, LEAVES, 4, 8, 300),
    ),
)
