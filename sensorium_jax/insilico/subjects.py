"""One mouse of a twin as experiments ask it: its screen, its time, and its animal.

Whatever answers like a twin may be asked: `respond` alone is enough beside `mice`,
`neurons` and `frame_shape`. What else a twin says of itself is used where it is there:
`only` and `each` (so that nobody computes neurons that are not asked), `light`,
`usual`, `memory`, `frames_per_second`, `degrees_per_pixel`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax import asking as ask
from sensorium_jax.errors import UserError
from sensorium_jax.normalize import shrunk_shape

Array = Any
BLACK, WHITE = 0.0, 255.0  # grey levels of a screen
# The same where a twin takes normalized pictures and nobody kept their statistics:
# 0 and 255 under those of the pictures of 2022 (Walker et al. 2019 clip there too).
DARKEST, BRIGHTEST = -1.75, 2.26
SETTLING = 50  # frames that a twin without known memory is given to forget its start


class Screen(NamedTuple):
    """Levels of a twin's input; contrast is counted from grey, in units."""

    black: float
    white: float
    grey: float  # what is shown where there is no stimulus
    unit: float  # one unit of contrast: the SD of the films that it learned from
    words: str  # what the numbers are

    @property
    def low(self) -> float:
        """Black in units of contrast."""
        return (self.black - self.grey) / self.unit

    @property
    def high(self) -> float:
        """White in units of contrast."""
        return (self.white - self.grey) / self.unit

    @property
    def swing(self) -> float:
        """The largest contrast that fits to both sides of grey, in units."""
        return min(abs(self.low), abs(self.high))

    def shown(self, z: Array) -> Array:
        """Input of the twin from units of contrast."""
        return z * self.unit + self.grey

    def contrast(self, x: Array) -> Array:
        """Units of contrast from input of the twin."""
        return (x - self.grey) / self.unit


@dataclass(frozen=True, eq=False)
class Subject:
    """One mouse of a twin under one state of the animal."""

    twin: Any
    mouse: int | str  # as the twin knows it
    name: str
    neurons: int
    frame: tuple[int, int, int]  # rows, columns, channels of a stimulus
    screen: Screen
    fps: float | None  # frames per second; None for pictures, or where unknown
    degrees: float | None  # of visual angle, of a pixel of a stimulus
    behavior_k: np.ndarray
    pupil_2: np.ndarray
    chosen: tuple[int, ...] | None = None  # its neurons, where it was narrowed

    @property
    def asking(self) -> ask.Asking:
        """How the twin is asked."""
        return ask.of(self.twin)

    @property
    def lost(self) -> int:
        """Frames of a clip before the first that is answered."""
        lost = int(getattr(self.twin, "lost_frames", 0)) * self.asking.stride
        return max(lost, self.asking.span - 1 if self.asking.mode == "window" else 0)

    @property
    def films(self) -> bool:
        """Whether it sees films; else every stimulus is one picture."""
        return self.fps is not None or self.lost > 0

    @property
    def memory(self) -> int:
        """Frames that must be shown so that a rate is what it would be for ever."""
        if not self.films:
            return 1
        known = getattr(self.twin, "memory", None)
        return SETTLING + self.lost if known is None else int(known)

    @property
    def causal(self) -> bool:
        """Whether what comes later changes no rate."""
        return self.asking.causal

    def rates(self, video_bthwc: Array) -> Array:
        """Rates [B, T', N] of all its neurons; the video is input of the twin."""
        respond = partial(self._respond, self.twin.respond)
        return self._whole(respond, video_bthwc)

    def core(self, video_bthwc: Array, cells: tuple[int, int]) -> Array:
        """What the model's core makes of films, [B, T', D]: means over parts of maps.

        Maps are cut into so many rows and columns of parts, or as many as they have.
        """
        if not hasattr(self.twin, "features"):
            raise UserError(
                f"A {type(self.twin).__name__} has no core of its own to look into. "
                "Ask one model, or probe its rates."
            )

        def pooled(*shown, **options):
            maps = self.twin.features(*shown, **options)
            b, t, h, w, f = maps.shape
            rows, columns = (_parts(n, k) for n, k in zip((h, w), cells, strict=True))
            parts = jnp.einsum("bthwf,ih,jw->btijf", maps, rows, columns)
            return parts.reshape(b, t, -1)

        return self._whole(partial(self._respond, pooled), video_bthwc)

    def each(self, video_bthwc: Array, neuron_b: Array) -> Array:
        """Rates [B, T'] where clip i is shown to neuron neuron_b[i] alone."""
        if hasattr(self.twin, "each"):
            one = partial(self.twin.each, neuron_b=neuron_b)

            def respond(*shown):
                return self._respond(one, *shown)[..., None]

            return self._whole(respond, video_bthwc)[..., 0]
        rates_btn = self.rates(video_bthwc)
        return jnp.take_along_axis(rates_btn, neuron_b[:, None, None], 2)[..., 0]

    def only(self, neurons: Sequence[int]) -> "Subject":
        """The subject with some of its neurons, in this order."""
        chosen = tuple(int(n) for n in neurons)
        if hasattr(self.twin, "only"):
            twin, mouse = self.twin.only(self.mouse, chosen), 0
        else:
            twin, mouse = _Some(self.twin, chosen), self.mouse
        count = len(chosen)
        return replace(self, twin=twin, mouse=mouse, neurons=count, chosen=chosen)

    def _whole(self, respond, video_bthwc: Array) -> Array:
        b, t = video_bthwc.shape[:2]
        behavior = _for_all(self.behavior_k, (b, t, self.signals))
        pupil = _for_all(self.pupil_2, (b, t, 2))
        shown = (video_bthwc, behavior if self.signals else None, pupil)
        return ask.whole(respond, self.asking, *shown, jnp.zeros(b, jnp.int32))

    def _respond(self, answer, video, behavior, pupil, first_b):
        given = {"behavior_btk": behavior, "pupil_bt2": pupil, "mouse": self.mouse}
        return answer(video, first_frame_b=first_b, **given)

    @property
    def signals(self) -> int:
        """Behavior signals that the twin takes."""
        return int(self.behavior_k.shape[-1])

    def about(self) -> dict[str, Any]:
        """What every result says of how it was asked."""
        screen = {k: v for k, v in self.screen._asdict().items() if k != "words"}
        return {
            "mouse": self.name,
            "frame": list(self.frame),
            "input": self.screen.words,
            "screen": {k: float(v) for k, v in screen.items()},
            "frames_per_second": self.fps,
            "degrees_per_pixel": self.degrees,
            "behavior": [float(x) for x in self.behavior_k],
            "pupil": [float(x) for x in self.pupil_2],
            "rates": str(getattr(self.twin, "units", self.asking.units)),
            "causal": self.causal,
        }


@dataclass(frozen=True, eq=False)
class _Some:
    """Some neurons of a twin that cannot be narrowed: the others are thrown away."""

    twin: Any
    chosen: tuple[int, ...]

    def __getattr__(self, name: str) -> Any:
        if name in ("each", "only"):
            raise AttributeError(name)
        return getattr(self.twin, name)

    def respond(self, video_bthwc: Array, *args: Any, **options: Any) -> Array:
        """Rates of the chosen ones."""
        rates_btn = self.twin.respond(video_bthwc, *args, **options)
        return rates_btn[..., np.array(self.chosen)]


def _parts(size: int, count: int) -> np.ndarray:
    """Weights [count, size] of means over so many parts of a side, or fewer."""
    at = np.array_split(np.arange(size), min(count, size))
    weights = np.zeros((len(at), size), np.float32)
    for i, some in enumerate(at):
        weights[i, some] = 1 / len(some)
    return weights


def _for_all(value: Array, shape: tuple[int, ...]) -> Array:
    """A state [K] of all clips, of each [B, K], or of each frame [B, T, K]."""
    if value.ndim < 3:
        value = value[None, None] if value.ndim == 1 else value[:, None]
    return jnp.broadcast_to(value, shape)


def of(
    twin: Any,
    mouse: int | str = 0,
    *,
    fps: float | None = None,
    degrees: float | None = None,
    behavior: Sequence[float] | None = None,
    pupil: Sequence[float] | None = None,
) -> Subject:
    """The subject of an experiment.

    fps and degrees (of visual angle, of a pixel as recorded) are needed only where the
    twin does not say them itself. behavior [K] and pupil [2] are kept still, in the
    twin's own units; without them they are as usual in the recording.
    """
    row = _row(twin, mouse)
    count = twin.neurons[row]
    scale = ask.of(twin).scale
    height, width, channels = twin.frame_shape
    small = (*shrunk_shape(height, width, scale), channels)
    usual = getattr(twin, "usual", None)
    signals = int(getattr(twin, "behaviors", 0))
    still = usual(mouse) if usual else (np.zeros(signals), np.zeros(2))
    per_pixel = _agreed(twin, "degrees_per_pixel", degrees, "degrees per pixel")
    return Subject(
        twin=twin,
        mouse=mouse,
        name=twin.mice[row],
        neurons=int(getattr(count, "cells", count)),
        frame=small,
        screen=screen_of(twin, mouse),
        fps=_agreed(twin, "frames_per_second", fps, "frames per second"),
        degrees=None if per_pixel is None else per_pixel / scale,
        behavior_k=_still(behavior, still[0], "behavior"),
        pupil_2=_still(pupil, still[1], "pupil"),
    )


def screen_of(twin: Any, mouse: int | str) -> Screen:
    """Levels of a twin's input, from what it takes as recorded."""
    light = twin.light(mouse) if hasattr(twin, "light") else None
    inputs = ask.of(twin).inputs
    if "video" in getattr(twin, "raw", ()) or inputs == "raw":
        grey, unit = light or (127.5, 50.0)
        return Screen(BLACK, WHITE, grey, unit, "grey levels, 0 to 255")
    if inputs == "minmax":
        return Screen(0.0, 1.0, 0.5, 0.2, "grey levels, 0 to 1")
    words = "grey levels less their mean, by their SD"
    return Screen(DARKEST, BRIGHTEST, 0.0, 1.0, words)


def centered(subject: Subject) -> Subject | None:
    """The subject with every neuron looking at the middle; None where it cannot."""
    if not hasattr(subject.twin, "centered"):
        return None
    try:
        return replace(subject, twin=subject.twin.centered())
    except UserError:  # its readouts are no points
        return None


def choose(subject: Subject, neurons: Sequence[int] | None) -> list[int]:
    """The neurons that are asked; None stands for all."""
    if neurons is None:
        return list(range(subject.neurons))
    return [int(n) for n in neurons]


def missing(subject: Subject, neurons: Sequence[int]) -> dict[int, str]:
    """Of the neurons that are asked those that do not exist, with a word each."""
    last = subject.neurons - 1
    words = f"there is no such neuron: {subject.name} has numbers 0 to {last}"
    return {n: words for n in neurons if not 0 <= n <= last}


def split(
    subject: Subject, neurons: Sequence[int] | None
) -> tuple[list[int], dict[int, str]]:
    """The neurons that can be asked, and why others cannot; none is an error."""
    asked = choose(subject, neurons)
    wrong = missing(subject, asked)
    real = [n for n in asked if n not in wrong]
    if not real:
        first = f"Neuron {asked[0]}: {wrong[asked[0]]}" if asked else "No neuron"
        raise UserError(f"{first}. Ask for at least one that exists.")
    return real, wrong


def need(subject: Subject, neurons: Sequence[int]) -> None:
    """Refuse neurons of which one does not exist, where all must be answered."""
    for n, words in missing(subject, neurons).items():
        raise UserError(f"Neuron {n}: {words}. Ask for those that exist.")


def same_films(subject: Subject, other: Subject, what: str) -> None:
    """Refuse to show films made for one twin to a twin of another rate or size."""
    if subject.fps and other.fps and abs(subject.fps - other.fps) > 1e-6 * other.fps:
        raise UserError(
            f"{what} was made for {other.fps:g} frames per second, the stimuli for "
            f"{subject.fps:g}. Take a twin of the same frame rate."
        )
    if subject.frame != other.frame:
        sizes = [" x ".join(map(str, s.frame)) for s in (other, subject)]
        raise UserError(
            f"{what} sees frames of {sizes[0]}, the stimuli have {sizes[1]}. Take a "
            "twin of the same frames."
        )


def counted(rates_bt: Array, frames: int) -> Array:
    """Mean rate of the last frames of a clip, [B]."""
    return jnp.mean(rates_bt[:, rates_bt.shape[1] - frames :], axis=1)


def _row(twin: Any, mouse: int | str) -> int:
    if hasattr(twin, "row"):
        return twin.row(mouse)
    names = list(twin.mice)
    return names.index(mouse) if isinstance(mouse, str) else int(mouse)


def _agreed(twin: Any, name: str, given: float | None, words: str) -> float | None:
    """What a twin says of itself, or what was given where it says nothing."""
    known = getattr(twin, name, None)
    if given is not None and known is not None and abs(given - known) > 1e-6 * known:
        raise UserError(
            f"{given:g} {words} were given, the twin was made for {known:g}. Leave it "
            "out, or take a twin that was trained so."
        )
    return known if given is None else float(given)


def _still(given: Sequence[float] | None, usual: Any, what: str) -> np.ndarray:
    usual = np.asarray(usual, np.float32)
    if given is None:
        return usual
    value = np.asarray(given, np.float32)
    if value.shape != usual.shape or not np.isfinite(value).all():
        raise UserError(
            f"The {what} is {list(given)}; the twin takes {len(usual)} number(s), as "
            f"usually {[round(float(x), 3) for x in usual]}."
        )
    return value


def devices() -> list[Any]:
    """The devices of this process, over which batches are cut."""
    return list(jax.local_devices())
