"""One simulated trial: a clip, an animal, true rates and a noisy recording of them."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from sensorium_jax.simulation.cortex import calcium, rates as cortex
from sensorium_jax.simulation.cortex.behavior import behave
from sensorium_jax.simulation.cortex.calibrate import calibrate
from sensorium_jax.simulation.cortex.neurons import Neurons, draw
from sensorium_jax.simulation.design import CALIBRATION, Preset, Shown
from sensorium_jax.simulation.draws import FPS, generator
from sensorium_jax.simulation.stimuli import clip as stimuli


class Mouse(NamedTuple):
    """One animal, ready to be recorded."""

    number: int
    seed: int
    year: int
    neurons: Neurons
    weights: cortex.Weights


class Made(NamedTuple):
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


def traces(rng: np.random.Generator, year: int, frames: int):
    """Behavior [T, K] and gaze [T, 2] of one trial in the format of a year."""
    if year == 2023:
        b = behave(rng, frames)
        return np.column_stack([b.dilation_t, b.running_t]), b.pupil_t2
    b = behave(rng, 2 * FPS)
    widening = (b.dilation_t[-1] - b.dilation_t[-5]) / 4 * FPS
    signals = [b.dilation_t[-1], widening, b.running_t[-1]]
    return np.array([signals], np.float32), b.pupil_t2[-1:]


def new_mouse(p: Preset, year: int, seed: int, number: int) -> Mouse:
    """Draw one animal and calibrate it, its behavior other than in any recording."""
    drawn = draw(seed, number, p.neurons, centered=p.centered)
    built = cortex.weights(drawn)
    kind = stimuli.PICTURE if year == 2022 else stimuli.MOVIE
    clips = [CALIBRATION + i for i in range(p.calibration)]
    # Ten movies differ from ten others: the ceilings are those of the validation clips.
    shown = list(range(p.oracle.clips)) if year == 2023 else []
    aimed = shown * max(1, round(p.calibration / max(len(shown), 1)))
    trials = []
    for i, clip_number in enumerate([*clips, *aimed]):
        rng = generator(seed, "calibration", year, number, i)
        video, _ = clip(seed, kind, clip_number, p.frames)
        trials.append((video, *traces(rng, year, p.frames)))
    pictures = year == 2022
    neurons = calibrate(drawn, built, trials, pictures=pictures, aim=len(aimed))
    return Mouse(number, seed, year, neurons, cortex.renumber(built, neurons))


def make(mouse: Mouse, shown: Shown, index: int) -> Made:
    """Record trial `index`, a pure function of the mouse and the trial."""
    video, _ = clip(mouse.seed, shown.kind, shown.clip, shown.frames)
    use = (mouse.year, mouse.number, index)
    behavior, pupil = traces(
        generator(mouse.seed, "behavior", *use), mouse.year, shown.frames
    )
    pictures = mouse.year == 2022
    rates, relative = cortex.rates(
        mouse.weights, video, behavior, pupil, pictures=pictures
    )
    rng = generator(mouse.seed, "responses", *use)
    recorded = calcium.responses(rng, mouse.neurons, np.asarray(relative))
    if pictures:
        recorded = recorded[calcium.FIRST : calcium.FIRST + calcium.ON_FRAMES]
        recorded = recorded.sum(0, keepdims=True)
    recorded = calcium.at_rest(rng, recorded)
    return Made(video[..., None], behavior, pupil, np.asarray(rates), recorded)
