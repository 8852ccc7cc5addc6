"""What the animal does: running bouts, a pupil that widens with them, fixations."""

from typing import NamedTuple

import numpy as np

from sensorium_jax.simulation.draws import FPS, wander

RUN_SECONDS, REST_SECONDS, SMOOTH_SECONDS = 3.0, 5.0, 0.4
DILATION_MEAN, DILATION_SD = 40.0, 12.0
PUPIL_MEAN = np.array([155.8, 151.5])  # x, y in pixels of the eye camera
PUPIL_SD = np.array([3.95, 4.5])
SACCADE_SECONDS = 2.0


class Behavior(NamedTuple):
    """Traces of one trial."""

    dilation_t: np.ndarray  # pupil size, camera pixels
    running_t: np.ndarray  # speed, 0 at rest
    pupil_t2: np.ndarray  # pupil center (x, y), camera pixels


def behave(rng: np.random.Generator, frames: int) -> Behavior:
    """Traces of one trial of T frames."""
    running = _running(rng, frames)
    around = _ema(running, 1.0)
    z = 0.7 * wander(rng, frames, 4 * FPS)[:, 0] + 0.5 * (around - 0.9)
    return Behavior(
        (DILATION_MEAN + DILATION_SD * z).astype(np.float32),
        running.astype(np.float32),
        (PUPIL_MEAN + PUPIL_SD * _gaze(rng, frames)).astype(np.float32),
    )


def _running(rng, frames):
    warm = 5 * FPS  # let the smoothing forget its start
    level = np.zeros(frames + warm)
    moving = rng.random() < RUN_SECONDS / (RUN_SECONDS + REST_SECONDS)
    at = 0
    while at < len(level):
        mean = RUN_SECONDS if moving else REST_SECONDS
        stop = at + max(1, round(rng.exponential(mean * FPS)))
        if moving:
            level[at:stop] = rng.gamma(2.0, 1.0)
        at, moving = stop, not moving
    return _ema(level, SMOOTH_SECONDS)[warm:]


def _ema(trace, seconds):
    """Exponential average with the given time constant."""
    keep = np.exp(-1 / (seconds * FPS))
    out = np.empty_like(trace)
    value = trace[0]
    for t, now in enumerate(trace):
        value = keep * value + (1 - keep) * now
        out[t] = value
    return out


def _gaze(rng, frames):
    """Gaze [T, 2], SD about 1: a step at each saccade, a slow drift between them."""
    jumps = rng.random(frames) < 1 / (SACCADE_SECONDS * FPS)
    jumps[0] = True
    targets = rng.standard_normal((int(jumps.sum()), 2))
    fixation = targets[np.cumsum(jumps) - 1]
    return np.sqrt(0.85) * fixation + np.sqrt(0.15) * wander(rng, frames, FPS, 2)
