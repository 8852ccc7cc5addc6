"""The true rate of every neuron as one JAX function of video, behavior and gaze.

The same function makes the recordings and answers afterwards, so the truth on disk and
the truth as a callable cannot differ.
"""

from functools import partial, reduce
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.asking import SIGNALS
from sensorium_jax.axes import check
from sensorium_jax.errors import UserError, unknown
from sensorium_jax.rules import Rules
from sensorium_jax.simulation.cortex import behavior, filters, truth
from sensorium_jax.simulation.cortex.neurons import MIDDLE, Neurons
from sensorium_jax.simulation.draws import FPS
from sensorium_jax.simulation.stimuli.clip import HEIGHT, WIDTH, ZOOM, frame_shape

LIGHT, CONTRAST = (
    85.0,
    50.0,
)  # grey level of the adapted screen, and one unit of contrast
ON_FRAMES, OFF_FRAMES, FIRST = 15, 3, 2  # a flashed picture; the window starts at FIRST
EPSILON = 1e-6
PICTURES_TOGETHER = 16


class Weights(NamedTuple):
    """What the rates of one mouse are computed from (arrays of N neurons)."""

    filters: filters.Filters
    numbers: dict[str, np.ndarray]  # per-neuron constants by name, [N]
    eye_22: np.ndarray


NUMBERS = (
    *("complexity", "direction", "pool_weight", "power", "threshold", "base"),
    *("gain_run", "gain_dilation", "scale"),
    *("mean_energy", "drive_rms", "mean_rate", "events"),
)


def weights(neurons: Neurons, height: int = HEIGHT, width: int = WIDTH) -> Weights:
    """Build filters and constants of one mouse."""
    numbers = {k: np.asarray(getattr(neurons, k), np.float32) for k in NUMBERS}
    built = filters.build(neurons, height, width)
    return Weights(built, numbers, np.asarray(neurons.eye_22, np.float32))


def renumber(old: Weights, neurons: Neurons) -> Weights:
    """The same filters with other constants."""
    numbers = {k: np.asarray(getattr(neurons, k), np.float32) for k in NUMBERS}
    return old._replace(numbers=numbers)


def take(w: Weights, rows) -> Weights:
    """The weights of some neurons."""
    some = filters.Filters(*(f[rows] for f in w.filters))
    return Weights(some, {k: v[rows] for k, v in w.numbers.items()}, w.eye_22)


def _blur_matrix(size: int, sigma: float) -> np.ndarray:
    at = np.arange(size)
    matrix = np.exp(-((at[:, None] - at) ** 2) / (2 * sigma**2))
    return (matrix / matrix.sum(1, keepdims=True)).astype(np.float32)


def _shifted(contrast_thw, shift_t2):
    """Contrast as the fields see it: fields move by shift (x, y); grey off screen."""

    def hats(size, shift_t):
        at = jnp.arange(size, dtype=jnp.float32)
        apart = at[None, :, None] + shift_t[:, None, None] - at[None, None, :]
        return jnp.maximum(0.0, 1.0 - jnp.abs(apart))

    _, h, w = contrast_thw.shape
    rows_thi, columns_twj = hats(h, shift_t2[:, 1]), hats(w, shift_t2[:, 0])
    moved_thw = jnp.einsum("thi,tiw->thw", rows_thi, contrast_thw)
    return jnp.einsum("twj,thj->thw", columns_twj, moved_thw)


def _filtered(x_tn, kernel_nl):
    """Causal filter in time; the screen was grey before the first frame."""
    frames, taps = len(x_tn), kernel_nl.shape[1]
    padded = jnp.pad(x_tn, ((taps - 1, 0), (0, 0)))
    terms = [
        padded[taps - 1 - lag : taps - 1 - lag + frames] * kernel_nl[None, :, lag]
        for lag in range(taps)
    ]
    return reduce(jnp.add, terms)


def seen(w: Weights, video_thw, pupil_t2) -> tuple:
    """What both filters and the local contrast of each neuron see, each [T, N]."""
    z_t2 = (pupil_t2 - behavior.PUPIL_MEAN.astype(np.float32)[None]) / (
        behavior.PUPIL_SD.astype(np.float32)[None]
    )
    seen_thw = _shifted((video_thw - LIGHT) / CONTRAST, z_t2 @ w.eye_22.T)
    frames, h, width = seen_thw.shape
    seen_tp = seen_thw.reshape(frames, -1)
    even_tn, odd_tn = seen_tp @ w.filters.even_np.T, seen_tp @ w.filters.odd_np.T

    def blurred(sigma):
        rows_hi, columns_wj = _blur_matrix(h, sigma), _blur_matrix(width, sigma)
        return jnp.einsum("hi,tij,wj->thw", rows_hi, seen_thw, columns_wj)

    local_thw = (blurred(1.2) - blurred(4.0)) ** 2
    pooled_tn = local_thw.reshape(frames, -1) @ w.filters.pool_np.T
    return even_tn, odd_tn, pooled_tn


def driven(w: Weights, even_tn, odd_tn, pooled_tn) -> tuple:
    """Unnormalized drive and local contrast energy of each neuron, both [T, N]."""
    early, late, n = w.filters.early_nl, w.filters.late_nl, w.numbers
    turn = n["direction"][None]
    first = _filtered(even_tn, early) + turn * _filtered(odd_tn, late)
    second = _filtered(odd_tn, early) - turn * _filtered(even_tn, late)
    share = n["complexity"][None]
    energy = jnp.sqrt(first**2 + second**2 + EPSILON)
    drive_tn = (1 - share) * first + share * energy
    fade_l = np.exp(-np.arange(filters.TAPS) / 4.0).astype(np.float32)
    fade_nl = np.broadcast_to(fade_l / fade_l.sum(), (pooled_tn.shape[1], len(fade_l)))
    return drive_tn, jnp.sqrt(_filtered(pooled_tn, fade_nl) + EPSILON)


def drive(w: Weights, video_thw, pupil_t2) -> tuple:
    """Unnormalized drive and local contrast energy by a film, both [T, N]."""
    return driven(w, *seen(w, video_thw, pupil_t2))


def of_trial(w: Weights, video_thw, behavior_tk, pupil_t2, *, pictures: bool) -> tuple:
    """Drive and energy [T, N] of one trial, and its behavior in every frame [T, K].

    A picture is on for some frames, then grey: its space is looked at once.
    """
    if not pictures:
        return *drive(w, video_thw, pupil_t2), behavior_tk
    picture_hw = video_thw[0]
    height, width = picture_hw.shape[0] // ZOOM, picture_hw.shape[1] // ZOOM
    small_hw = picture_hw.reshape(height, ZOOM, width, ZOOM).mean((1, 3))
    frames = ON_FRAMES + OFF_FRAMES
    on_t1 = (jnp.arange(frames) < ON_FRAMES)[:, None]
    once = seen(w, small_hw[None], pupil_t2[:1])
    shown = (jnp.where(on_t1, x_1n, 0.0) for x_1n in once)
    still_tk = jnp.broadcast_to(behavior_tk[:1], (frames, behavior_tk.shape[1]))
    return *driven(w, *shown), still_tk


def normalized(numbers, drive_tn, energy_tn):
    """Drive after divisive normalization by local contrast."""
    pool = 0.5 * numbers["mean_energy"] + numbers["pool_weight"] * energy_tn
    return drive_tn / pool


def rectified(numbers, u_tn):
    """Drive in units of its RMS, above threshold, to a power."""
    over = u_tn / numbers["drive_rms"] - numbers["threshold"]
    safe = jnp.where(over > 0, over, 1.0)
    return jnp.where(over > 0, safe ** numbers["power"], 0.0)


def modulated(numbers, raised_tn, behavior_tk):
    """Rate relative to the mean, with baseline and the gain of the animal's state."""
    rate = numbers["base"] + raised_tn / numbers["mean_rate"]
    run_t1 = jnp.tanh(behavior_tk[:, -1:] / 2)
    wide_t1 = (behavior_tk[:, :1] - behavior.DILATION_MEAN) / behavior.DILATION_SD
    gain = numbers["gain_run"] * run_t1
    gain = gain + numbers["gain_dilation"] * jnp.clip(wide_t1, -2.5, 2.5)
    return rate * jnp.exp(gain)


def smeared(x_tn):
    """Events seen through calcium."""
    kernel = np.broadcast_to(filters.KAPPA, (x_tn.shape[1], len(filters.KAPPA)))
    return _filtered(x_tn, kernel)


def _lift(w: Weights):
    """Constants with a leading axis of frames."""
    return {k: v[None] for k, v in w.numbers.items()}


def relative_rate(w: Weights, video_thw, behavior_tk, pupil_t2, *, pictures: bool):
    """Rate of events relative to the mean, [T, N], before calcium."""
    numbers, trial = _lift(w), (video_thw, behavior_tk, pupil_t2)
    drive_tn, energy_tn, state_tk = of_trial(w, *trial, pictures=pictures)
    u_tn = normalized(numbers, drive_tn, energy_tn)
    return modulated(numbers, rectified(numbers, u_tn), state_tk)


@partial(jax.jit, static_argnames="pictures")
def rates(w: Weights, video_thw, behavior_tk, pupil_t2, *, pictures: bool):
    """True rates [T, N] of one trial and the relative rates of events behind them.

    The first is E[response | video, behavior, gaze] in response units. With pictures
    the trial is one frame of 144 x 256 and its rate the sum over the window in which
    responses are counted; the second then has all frames that a picture lasts.
    """
    video_thw = video_thw.astype(jnp.float32)
    trial = (video_thw, behavior_tk, pupil_t2)
    relative_tn = relative_rate(w, *trial, pictures=pictures)
    mean_tn = smeared(relative_tn)
    if pictures:
        mean_tn = mean_tn[FIRST : FIRST + ON_FRAMES].sum(0, keepdims=True)
    unit_n = w.numbers["scale"] * w.numbers["events"]
    return mean_tn * unit_n[None], relative_tn


class Truth(NamedTuple):
    """The simulated mice of one tree, answering any video."""

    mice: tuple[str, ...]  # folder names
    neurons: tuple[Neurons, ...]
    rules: Rules  # of the release that they are recorded for
    weights: tuple[Weights, ...]

    def respond(
        self, video_bthwc, behavior_btk, pupil_bt2, mouse: int | str, first_frame_b=0
    ):
        """True rates [B, T, N] in raw response units from raw inputs.

        Video is 0..255 in one channel, 36 x 64 for videos or 144 x 256 with T = 1 for
        pictures; differentiable in the video. The mouse is a row or a name. Nothing
        depends on first_frame_b, where in their trials the clips begin.
        """
        check(video_bthwc=video_bthwc, behavior_btk=behavior_btk, pupil_bt2=pupil_bt2)
        trials = (video_bthwc[..., 0], behavior_btk, pupil_bt2)
        pictures = not self.rules.films
        return _respond(self.weights[self.row(mouse)], trials, pictures=pictures)

    def each(
        self,
        video_bthwc,
        neuron_b,
        behavior_btk,
        pupil_bt2,
        mouse: int | str,
        first_frame_b=0,
    ):
        """True rates [B, T] where clip i is shown to neuron neuron_b[i] alone."""
        check(video_bthwc=video_bthwc, behavior_btk=behavior_btk, pupil_bt2=pupil_bt2)
        trials = (video_bthwc[..., 0], behavior_btk, pupil_bt2)
        w, pictures = self.weights[self.row(mouse)], not self.rules.films
        return _each(w, jnp.asarray(neuron_b), trials, pictures=pictures)

    def only(self, mouse: int | str, neurons):
        """The truth of one mouse and some of its neurons, in this order."""
        row, chosen = self.row(mouse), np.asarray(neurons, int)
        count = self.neurons[row].cells
        if not chosen.size or chosen.min() < 0 or chosen.max() >= count:
            raise UserError(
                f"Neurons {chosen.tolist()} were asked for; {self.mice[row]} has "
                f"{count}, numbers 0 to {count - 1}."
            )
        some = filters.take(self.neurons[row], chosen)
        cut = take(self.weights[row], chosen)
        return Truth((self.mice[row],), (some,), self.rules, (cut,))

    def centered(self) -> "Truth":
        """The same cells with every field in the middle, wherever the eye is."""
        middle = np.array(MIDDLE)
        moved = tuple(
            n._replace(center_n2=np.tile(middle, (n.cells, 1)), eye_22=np.zeros((2, 2)))
            for n in self.neurons
        )
        return self._replace(neurons=moved, weights=tuple(map(weights, moved)))

    def row(self, mouse: int | str) -> int:
        """Row of a mouse, from its number or its name."""
        if not isinstance(mouse, str):
            return int(mouse)
        if mouse not in self.mice:
            raise unknown("mouse", mouse, self.mice)
        return self.mice.index(mouse)

    # What experiments ask of any twin, see zoo.twins.twin.
    raw = SIGNALS
    behaviors = 2
    lost_frames = 0
    units = "raw"
    degrees_per_pixel = None

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """Rows, columns and channels of a frame."""
        return frame_shape(films=self.rules.films)

    @property
    def frames_per_second(self) -> float | None:
        """Of films; pictures have no time."""
        return float(FPS) if self.rules.films else None

    @property
    def memory(self) -> int:
        """Frames that a rate depends on: filter, normalization and calcium."""
        return filters.TAPS + len(filters.KAPPA) - 1 if self.rules.films else 1

    def light(self, mouse: int | str) -> tuple[float, float]:
        """Grey level that the cortex is adapted to, and one unit of contrast."""
        del mouse  # all see alike
        return LIGHT, CONTRAST

    def usual(self, mouse: int | str) -> tuple[np.ndarray, np.ndarray]:
        """An animal at rest that looks straight ahead: behavior [2] and pupil [2]."""
        del mouse
        still = np.array([behavior.DILATION_MEAN, 0.0], np.float32)
        return still, behavior.PUPIL_MEAN.astype(np.float32)


@partial(jax.jit, static_argnames="pictures")
def _respond(w: Weights, trials, *, pictures):
    def one(trial):
        return rates(w, *trial, pictures=pictures)[0]

    w = jax.tree.map(jnp.asarray, w)
    # Films need memory and go one by one.
    return jax.lax.map(one, trials, batch_size=PICTURES_TOGETHER if pictures else None)


@partial(jax.jit, static_argnames="pictures")
def _each(w: Weights, neuron_b, trials, *, pictures):
    w = jax.tree.map(jnp.asarray, w)

    def one(neuron, trial):
        return rates(take(w, neuron[None]), *trial, pictures=pictures)[0][:, 0]

    return jax.vmap(one)(neuron_b, trials)


def load(path: str | Path) -> Truth:
    """The truth of a simulated tree (or of one of its mice) as a callable."""
    folders = truth.mice(Path(path)) if Path(path).is_dir() else []
    if not folders:
        raise UserError(
            f"No simulated mouse in {path}: expected folders with {truth.FOLDER}/. "
            "Make one with: sensorium simulate OUT --preset tiny"
        )
    pairs = [truth.read_neurons(f) for f in folders]
    neurons = tuple(n for n, _ in pairs)
    names = tuple(f.resolve().name for f in folders)
    return Truth(names, neurons, pairs[0][1], tuple(weights(n) for n in neurons))
