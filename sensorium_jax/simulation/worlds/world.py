"""What a simulated world is: stimuli, cells, a recording of them, and who sees what."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax.errors import UserError
from sensorium_jax.rules import TRAIN
from sensorium_jax.simulation.design import Shown
from sensorium_jax.simulation.draws import generator

Array = np.ndarray
VALIDATION, TEST = "validation", "test"
OWN = 100_000  # numbers of training clips begin here, other ones for every mouse
CALIBRATION = 1_000_000  # and those that rates are calibrated on here


class Shows(NamedTuple):
    """So many distinct clips of a kind, each shown so many times, in one tier."""

    tier: str
    kind: str
    clips: int
    repeats: int
    frames: int


class Population(NamedTuple):
    """The cells of one mouse, ready to be recorded."""

    facts: dict[str, Array]  # by name, each [N, ...]: kind, center_n2 (x, y pixels) ...
    rates: Callable[..., Array]  # (video_thwc, behavior_tk or None) -> mean response
    # (rng, rates_tn, moment) -> responses; moment is 0 at the session's start, 1 at
    # its end
    observe: Callable[[np.random.Generator, Array, float], Array]
    coordinates_n3: Array | None = None  # micrometres
    answer: Callable[[], Any] | None = None  # gives a worlds.answers.Answer


class World(NamedTuple):
    """One kind of recording with known truth."""

    kind: str  # rules.FILMS or rules.PICTURES
    frame_shape: tuple[int, int, int]
    hertz: float  # frames per second
    mice: int
    neurons: int
    shows: tuple[Shows, ...]
    clip: Callable[[int, str, int, int], Array]  # seed, kind, number, frames -> uint8
    population: Callable[[int, int], Population]  # seed, mouse
    # (rng, frames) -> behavior [T, K] and pupil [T, 2]; None where nobody looked
    behave: Callable[[np.random.Generator, int], tuple[Array, Array]] | None = None

    def resized(self, trials: int) -> "World":
        """About so many trials of each mouse: its first set of clips grows or shrinks.

        That set is one for training; all others stay as they are.
        """
        first, *others = self.shows
        fixed = sum(s.clips * s.repeats for s in others)
        clips = (trials - fixed) // first.repeats
        if clips < 1:
            raise UserError(
                f"{trials} trials of each mouse are too few: {fixed} are tests or show "
                f"something else. Give at least {fixed + first.repeats}."
            )
        return self._replace(shows=(first._replace(clips=clips), *others))


def plan(world: World, seed: int, mouse: int) -> list[Shown]:
    """The trials of one mouse in the order shown; all mice share the test clips."""
    shown: list[Shown] = []
    for place, s in enumerate(world.shows):
        first = OWN * (mouse + 1) if s.tier == TRAIN else 0
        first += 10_000 * place
        shown += [
            Shown(s.tier, s.kind, first + i, r, s.frames)
            for i in range(s.clips)
            for r in range(s.repeats)
        ]
    order = generator(seed, "order", mouse).permutation(len(shown))
    return [shown[i] for i in order]


def scaled_to(mean_n: Array, rates_tn: Array) -> Array:
    """What rates are multiplied by so that their means over frames are these, [N]."""
    return mean_n / np.maximum(rates_tn.mean(0), 1e-9)
