"""One simulated trial: a clip, an animal, true rates and a noisy recording of them."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from sensorium_jax.rules import Rules
from sensorium_jax.simulation.cortex import calcium, rates as cortex
from sensorium_jax.simulation.cortex.behavior import behave
from sensorium_jax.simulation.cortex.calibrate import calibrate
from sensorium_jax.simulation.cortex.neurons import Neurons, draw
from sensorium_jax.simulation.design import CALIBRATION, Preset, Shown
from sensorium_jax.simulation.draws import FPS, generator
from sensorium_jax.simulation.stimuli import clip as stimuli


class SimulatedMouse(NamedTuple):
    """One animal, ready to be recorded."""

    number: int
    seed: int
    rules: Rules  # of the release that it is recorded for
    neurons: Neurons
    weights: cortex.Weights


class SimulatedTrial(NamedTuple):
    """One recorded trial, time first."""

    video_thwc: np.ndarray
    behavior_tk: np.ndarray
    pupil_t2: np.ndarray
    rates_tn: np.ndarray
    responses_tn: np.ndarray


@lru_cache(maxsize=128)
def clip(seed: int, kind: str, number: int, frames: int):
    """As stimuli.clip, remembered for the repeats."""
    return stimuli.clip(seed, kind, number, frames)


def traces(rng: np.random.Generator, rules: Rules, frames: int):
    """Behavior [T, K] and gaze [T, 2] of one trial, as films or pictures have them."""
    if rules.films:
        b = behave(rng, frames)
        return np.column_stack([b.dilation_t, b.running_t]), b.pupil_t2
    b = behave(rng, 2 * FPS)
    widening = (b.dilation_t[-1] - b.dilation_t[-5]) / 4 * FPS
    signals = [b.dilation_t[-1], widening, b.running_t[-1]]
    return np.array([signals], np.float32), b.pupil_t2[-1:]


def new_mouse(p: Preset, rules: Rules, seed: int, number: int) -> SimulatedMouse:
    """Draw one animal and calibrate it, its behavior other than in any recording."""
    drawn = draw(seed, number, p.neurons, centered=p.centered)
    built = cortex.weights(drawn)
    kind = stimuli.MOVIE if rules.films else stimuli.PICTURE
    clips = [CALIBRATION + i for i in range(p.calibration)]
    # Ten movies differ from ten others: the ceilings are those of the validation clips.
    shown = list(range(p.oracle.clips)) if rules.films else []
    aimed = shown * max(1, round(p.calibration / max(len(shown), 1)))
    trials = []
    for i, clip_number in enumerate([*clips, *aimed]):
        rng = generator(seed, "calibration", int(rules.name), number, i)
        video, _ = clip(seed, kind, clip_number, p.frames)
        trials.append((video, *traces(rng, rules, p.frames)))
    pictures, aim = not rules.films, len(aimed)
    neurons = calibrate(drawn, built, trials, pictures=pictures, aim=aim)
    weights = cortex.renumber(built, neurons)
    return SimulatedMouse(number, seed, rules, neurons, weights)


def make(mouse: SimulatedMouse, shown: Shown, index: int) -> SimulatedTrial:
    """Record trial `index`, a pure function of the mouse and the trial."""
    video, _ = clip(mouse.seed, shown.kind, shown.clip, shown.frames)
    use = (int(mouse.rules.name), mouse.number, index)
    behavior, pupil = traces(
        generator(mouse.seed, "behavior", *use), mouse.rules, shown.frames
    )
    pictures = not mouse.rules.films
    rates, relative = cortex.rates(
        mouse.weights, video, behavior, pupil, pictures=pictures
    )
    rng = generator(mouse.seed, "responses", *use)
    recorded = calcium.responses(rng, mouse.neurons, np.asarray(relative))
    if pictures:
        recorded = recorded[calcium.FIRST : calcium.FIRST + calcium.ON_FRAMES]
        recorded = recorded.sum(0, keepdims=True)
    recorded = calcium.at_rest(rng, recorded)
    return SimulatedTrial(
        video[..., None], behavior, pupil, np.asarray(rates), recorded
    )
