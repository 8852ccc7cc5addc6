"""One simulated trial: a clip, an animal, true rates and a noisy recording of them."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from sensorium_jax.rules import Rules
from sensorium_jax.simulation.cortex import calcium, rates as cortex, types
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
    if p.types:
        drawn = types.draw(seed, number, p.neurons, turned=p.turned)
    else:
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
    trial = (video, behavior, pupil)
    rng = generator(mouse.seed, "responses", *use)
    rates, recorded = observed(rng, mouse, *trial)
    recorded = calcium.at_rest(rng, recorded)
    return SimulatedTrial(video[..., None], behavior, pupil, rates, recorded)


def observed(
    rng: np.random.Generator,
    mouse: SimulatedMouse,
    video_thw: np.ndarray,
    behavior_tk: np.ndarray,
    pupil_t2: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """True rates and one noisy recording [T, N] of any video."""
    pictures = not mouse.rules.films
    trial = (video_thw, behavior_tk, pupil_t2)
    rates, relative = cortex.rates(mouse.weights, *trial, pictures=pictures)
    recorded = calcium.responses(rng, mouse.neurons, np.asarray(relative))
    if pictures:
        recorded = recorded[calcium.FIRST : calcium.FIRST + calcium.ON_FRAMES]
        recorded = recorded.sum(0, keepdims=True)
    return np.asarray(rates), recorded


def repeats(
    truth: cortex.Truth, mouse: int, videos_sthwc: np.ndarray, count: int, seed: int
) -> np.ndarray:
    """Recorded responses [R, S, T, N] of a true mouse to videos, again and again.

    The animal rests and looks straight ahead; noise is new each time.
    """
    row = truth.row(mouse)
    known = (truth.neurons[row], truth.weights[row])
    animal = SimulatedMouse(row, seed, truth.rules, *known)
    out = []
    for r in range(count):
        one = []
        for s, video_thwc in enumerate(np.asarray(videos_sthwc, np.float32)):
            traces = [np.tile(x, (len(video_thwc), 1)) for x in truth.usual(row)]
            rng = generator(seed, "repeats", row, s, r)
            one.append(observed(rng, animal, video_thwc[..., 0], *traces)[1])
        out.append(np.stack(one))
    return np.stack(out)
