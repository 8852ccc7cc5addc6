"""The stimuli as a rig shows them: grey levels 0..255, and when each one is on."""

from typing import NamedTuple

import numpy as np

from sensorium_jax.errors import UserError
from sensorium_jax.insilico.record import Result

STILL = 0.5  # seconds that a picture is on


class Show(NamedTuple):
    """Frames of every stimulus and a balanced random order; P presentations."""

    frames: np.ndarray  # [S, T, H, W, C] uint8
    grey: int  # between them
    stimulus_p: np.ndarray  # which is shown
    repeat_p: np.ndarray
    onset_p: np.ndarray  # seconds
    duration: float  # seconds that each is on
    pause: float  # seconds of grey before each
    frames_per_second: float  # of the frames of one stimulus

    @property
    def seconds(self) -> float:
        """How long all of it takes."""
        return float(len(self.stimulus_p) * (self.duration + self.pause))


def show(
    result: Result, *, repeats: int = 10, pause: float = 0.5, seed: int = 0
) -> Show:
    """Every stimulus once in a random order, then all again in another one."""
    if repeats < 1 or pause < 0:
        raise UserError(
            f"{repeats} repeats with pauses of {pause:g} s: expected 1 or more, and no "
            "negative time."
        )
    screen = result.about["screen"]
    x = np.asarray(result["stimulus"], np.float64)
    level = 255 * (x - screen["black"]) / (screen["white"] - screen["black"])
    frames = np.clip(np.rint(level), 0, 255).astype(np.uint8)
    grey = (screen["grey"] - screen["black"]) / (screen["white"] - screen["black"])
    count, length = frames.shape[:2]
    fps = float(result.about["frames_per_second"] or 1 / STILL)
    duration = length / fps
    rng = np.random.default_rng([seed, 4])
    order = np.concatenate([rng.permutation(count) for _ in range(repeats)])
    onset = pause + np.arange(len(order)) * (duration + pause)
    repeat = np.repeat(np.arange(repeats), count)
    timing = (order, repeat, onset, duration, float(pause), fps)
    return Show(frames, round(255 * grey), *timing)
