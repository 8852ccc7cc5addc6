"""Stimuli by parameters, drawn on the device; all numbers are pixels, radians, seconds.

Every function draws a film [T, H, W] in -1..1 around grey, where 1 is the largest
contrast that fits to both sides of grey. Places are (x, y) of a pixel's middle, x to
the right and y down, the first pixel at 0. An orientation is the direction across the
stripes, from right to down; what drifts goes that way.

The formulas are those that the field uses (Burg et al. 2021), with one convention for
all: elsewhere center-surround, bars and plaids of gratings turn the other way round
than Gabors, and both parts of a plaid have the second contrast.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.errors import UserError, unknown

Array = Any
TURN = 2 * np.pi


class Frame(NamedTuple):
    """What is drawn on."""

    height: int
    width: int
    frames: int = 1
    fps: float = 1.0


def grating(
    frame: Frame, orientation=0.0, frequency=0.1, phase=0.0, tf=0.0, contrast=1.0
) -> Array:
    """Stripes over the whole frame: frequency in cycles per pixel, tf in Hz."""
    x_hw, y_hw, t_t11 = _places(frame)
    u_hw, _ = _turned(x_hw, y_hw, orientation)
    wave_thw = TURN * (frequency * u_hw[None] - tf * t_t11) + phase
    return contrast * jnp.cos(wave_thw)


def patch(
    frame: Frame,
    x=0.0,
    y=0.0,
    size=10.0,
    orientation=0.0,
    frequency=0.1,
    phase=0.0,
    tf=0.0,
    contrast=1.0,
) -> Array:
    """A disc of stripes of this diameter; the phase is that in its middle."""
    return center_surround(
        frame,
        *(x, y, size / 2, 1.0, 1.0),
        orientation=orientation,
        frequency=frequency,
        phase=phase,
        tf=tf,
        contrast=contrast,
    )


def center_surround(
    frame: Frame,
    x=0.0,
    y=0.0,
    radius=10.0,
    center=0.5,
    surround=0.5,
    orientation=0.0,
    orientation_surround=0.0,
    frequency=0.1,
    phase=0.0,
    tf=0.0,
    contrast=1.0,
    contrast_surround=0.0,
) -> Array:
    """A disc of stripes in a ring of others; center and surround are shares of radius.

    The disc reaches to center, the ring from surround to the radius.
    """
    x_hw, y_hw, t_t11 = _places(frame)
    dx, dy = x_hw - x, y_hw - y
    away_hw = jnp.sqrt(dx**2 + dy**2)
    inner_hw = away_hw <= center * radius
    ring_hw = (away_hw > surround * radius) & (away_hw <= radius)
    out_thw = jnp.zeros((frame.frames, frame.height, frame.width))
    for mask_hw, angle, strength in (
        (inner_hw, orientation, contrast),
        (ring_hw, orientation_surround, contrast_surround),
    ):
        u_hw, _ = _turned(dx, dy, angle)
        wave_thw = TURN * (frequency * u_hw[None] - tf * t_t11) + phase
        out_thw = out_thw + mask_hw[None] * strength * jnp.cos(wave_thw)
    return out_thw


def gabor(
    frame: Frame,
    x=0.0,
    y=0.0,
    sigma=3.0,
    orientation=0.0,
    frequency=0.1,
    phase=0.0,
    aspect=1.0,
    tf=0.0,
    contrast=1.0,
) -> Array:
    """Stripes under a Gaussian of SD sigma across them and sigma / aspect along."""
    x_hw, y_hw, t_t11 = _places(frame)
    u_hw, v_hw = _turned(x_hw - x, y_hw - y, orientation)
    window_hw = jnp.exp(-0.5 * (u_hw**2 + (aspect * v_hw) ** 2) / sigma**2)
    wave_thw = TURN * (frequency * u_hw[None] - tf * t_t11) + phase
    return contrast * window_hw[None] * jnp.cos(wave_thw)


def bar(
    frame: Frame,
    x=0.0,
    y=0.0,
    width=3.0,
    length=20.0,
    orientation=0.0,
    speed=0.0,
    contrast=1.0,
) -> Array:
    """A light bar (dark for a negative contrast) that moves across itself, pixels/s.

    It is at its place in the middle of the film.
    """
    x_hw, y_hw, t_t11 = _places(frame)
    u_hw, v_hw = _turned(x_hw - x, y_hw - y, orientation)
    middle = (frame.frames - 1) / (2 * frame.fps)
    u_thw = u_hw[None] - speed * (t_t11 - middle)
    inside = (jnp.abs(u_thw) <= width / 2) & (jnp.abs(v_hw)[None] <= length / 2)
    return contrast * inside.astype(jnp.float32)


def difference_of_gaussians(
    frame: Frame, x=0.0, y=0.0, sigma=3.0, ratio=2.0, surround=0.5, contrast=1.0
) -> Array:
    """A spot less a wider one, ratio times as wide; its largest value is the contrast.

    surround is the height of the wider one; the narrow one has height 1.
    """
    x_hw, y_hw, _ = _places(frame)
    square_hw = (x_hw - x) ** 2 + (y_hw - y) ** 2
    spot_hw = jnp.exp(-square_hw / (2 * sigma**2))
    spot_hw = spot_hw - surround * jnp.exp(-square_hw / (2 * (ratio * sigma) ** 2))
    spot_hw = spot_hw / jnp.maximum(jnp.max(jnp.abs(spot_hw)), 1e-9)
    return _still(frame, contrast * spot_hw)


def plaid_of_gabors(
    frame: Frame,
    x=0.0,
    y=0.0,
    sigma=3.0,
    orientation=0.0,
    angle=np.pi / 2,
    frequency=0.1,
    phase=0.0,
    aspect=1.0,
    tf=0.0,
    contrast=0.5,
    contrast_second=0.5,
) -> Array:
    """Two Gabors, the second turned by an angle; all else they share."""
    one = (frame, x, y, sigma, orientation, frequency, phase, aspect, tf, contrast)
    two = (*one[:4], orientation + angle, *one[5:9], contrast_second)
    return gabor(*one) + gabor(*two)


def plaid_of_gratings(
    frame: Frame,
    x=0.0,
    y=0.0,
    size=10.0,
    orientation=0.0,
    angle=np.pi / 2,
    frequency=0.1,
    phase=0.0,
    tf=0.0,
    contrast=0.5,
    contrast_second=0.5,
) -> Array:
    """Two discs of stripes, the second turned by an angle; all else they share."""
    shared = (frequency, phase, tf)
    one = patch(frame, x, y, size, orientation, *shared, contrast)
    return one + patch(frame, x, y, size, orientation + angle, *shared, contrast_second)


def dots(
    frame: Frame,
    seed=0,
    radius=1.5,
    direction=0.0,
    speed=10.0,
    coherence=1.0,
    density=0.01,
    contrast=1.0,
) -> Array:
    """Half light and half dark dots, a share of which moves one way, pixels/s.

    The others move each its own way. density is in dots per pixel, up to 0.05.
    """
    h, w = frame.height, frame.width
    most = max(int(0.05 * h * w), 1)
    key = _key(7, seed)
    draws = jax.random.uniform(key, (5, most))
    goes = jnp.where(draws[2] < coherence, direction, TURN * draws[3])
    _, _, t_t11 = _places(frame)
    moved = speed * t_t11[:, :, 0]
    x_tn = (w * draws[0][None] + moved * jnp.cos(goes)[None]) % w
    y_tn = (h * draws[1][None] + moved * jnp.sin(goes)[None]) % h
    there_n = jnp.arange(most) < density * h * w
    sign_n = jnp.where(draws[4] < 0.5, -1.0, 1.0) * there_n

    def drawn(x_n, y_n):
        x_hw, y_hw, _ = _places(frame)

        def add(out_hw, dot):
            x, y, sign = dot
            away = (_around(x_hw - x, w)) ** 2 + (_around(y_hw - y, h)) ** 2
            inside = (away <= radius**2) & (sign != 0)
            return jnp.where(inside, sign, out_hw), None

        return jax.lax.scan(add, jnp.zeros((h, w)), (x_n, y_n, sign_n))[0]

    return contrast * jax.lax.map(lambda at: drawn(*at), (x_tn, y_tn))


def noise(frame: Frame, seed=0, exponent=0.0, contrast=1.0) -> Array:
    """Noise of SD contrast / 3, cut at the contrast; a new one in every frame.

    Its amplitude falls with spatial frequency to an exponent: 0 is white, 1 pink.
    """
    key = _key(11, seed)
    shape = (frame.frames, frame.height, frame.width)
    white = jax.random.normal(key, shape)
    fy, fx = np.fft.fftfreq(frame.height), np.fft.rfftfreq(frame.width)
    f_hw = np.hypot(fy[:, None], fx[None]).astype(np.float32)
    f_hw[0, 0] = 1 / max(frame.height, frame.width)
    scale_hw = jnp.asarray(f_hw) ** (-exponent)
    colored = jnp.fft.irfft2(jnp.fft.rfft2(white) * scale_hw[None], s=shape[1:])
    colored = colored / jnp.maximum(jnp.std(colored), 1e-9)
    return contrast * jnp.clip(colored / 3, -1, 1)


KINDS: dict[str, Callable[..., Array]] = {
    "grating": grating,
    "patch": patch,
    "center_surround": center_surround,
    "gabor": gabor,
    "bar": bar,
    "difference_of_gaussians": difference_of_gaussians,
    "plaid_of_gabors": plaid_of_gabors,
    "plaid_of_gratings": plaid_of_gratings,
    "dots": dots,
    "noise": noise,
}


class Product(NamedTuple):
    """Every combination of some values of each parameter, the last varying fastest."""

    kind: str
    values: Mapping[str, Sequence[float]]

    @property
    def shape(self) -> tuple[int, ...]:
        """How many values each parameter has."""
        return tuple(len(v) for v in self.values.values())

    @property
    def count(self) -> int:
        """How many stimuli there are."""
        return int(np.prod(self.shape))

    def parameters(self) -> dict[str, np.ndarray]:
        """The parameters of every stimulus, each [S]."""
        rows = np.array(list(product(*self.values.values())), np.float32)
        rows = rows.reshape(self.count, len(self.values))
        return {name: rows[:, i] for i, name in enumerate(self.values)}

    def of(self, index: int) -> dict[str, float]:
        """The parameters of one stimulus by its number."""
        places = np.unravel_index(index, self.shape)
        pairs = zip(self.values.items(), places, strict=True)
        return {name: float(values[int(at)]) for (name, values), at in pairs}


def uniform(low: float, high: float, count: int, seed: int = 0) -> np.ndarray:
    """Values of a parameter, drawn evenly from a range."""
    return np.random.default_rng(seed).uniform(low, high, count)


def some(values: Sequence[float], count: int, seed: int = 0) -> np.ndarray:
    """A few values of a parameter, drawn from a list without repeats."""
    return np.random.default_rng(seed).choice(np.asarray(values), count, replace=False)


def check(kind: str, names: Sequence[str]) -> None:
    """Refuse a stimulus, or a parameter, that nobody knows."""
    if kind not in KINDS:
        raise unknown("stimulus", kind, KINDS)
    known = list(inspect.signature(KINDS[kind]).parameters)[1:]
    for name in names:
        if name not in known:
            raise unknown(f"parameter of {kind}", name, known)


def check_size(frame: Frame, size: float, what: str) -> None:
    """Refuse what is larger than the frame."""
    room = max(frame.height, frame.width)
    if size > room:
        raise UserError(
            f"{what} of {size:g} pixels is larger than the frame of {frame.height} x "
            f"{frame.width}. Make it {room} or less."
        )


def draw(kind: str, frame: Frame, parameters: Mapping[str, Array]) -> Array:
    """Films [B, T, H, W] of one kind; every parameter is [B]."""
    check(kind, list(parameters))
    function = KINDS[kind]
    return jax.vmap(lambda p: function(frame, **p))(dict(parameters))


def _places(frame: Frame) -> tuple[Array, Array, Array]:
    """x and y of every pixel [H, W], and seconds of every frame [T, 1, 1]."""
    y_hw, x_hw = np.mgrid[: frame.height, : frame.width].astype(np.float32)
    t_t = np.arange(frame.frames, dtype=np.float32) / np.float32(frame.fps)
    return jnp.asarray(x_hw), jnp.asarray(y_hw), jnp.asarray(t_t)[:, None, None]


def _turned(x: Array, y: Array, orientation: Array) -> tuple[Array, Array]:
    """Places across and along stripes of an orientation."""
    cos, sin = jnp.cos(orientation), jnp.sin(orientation)
    return cos * x + sin * y, cos * y - sin * x


def _key(use: int, seed: Array) -> Array:
    """A key from a seed that may be a parameter, and so a float."""
    return jax.random.fold_in(jax.random.key(use), jnp.asarray(seed).astype(jnp.uint32))


def _still(frame: Frame, image_hw: Array) -> Array:
    return jnp.broadcast_to(image_hw[None], (frame.frames, *image_hw.shape))


def _around(distance: Array, size: int) -> Array:
    """A distance on a frame whose edges meet."""
    return (distance + size / 2) % size - size / 2
