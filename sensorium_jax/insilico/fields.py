"""Receptive fields: where, how large, how turned and how late a neuron looks.

From gradients: what changes the rate, averaged over pieces of noise. The mean gradient
is the linear field; its mean square over noises is a map that complex cells have too.
From noise: the response-weighted mean of what was shown (reverse correlation).
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.insilico import batches, record, stimuli
from sensorium_jax.insilico.record import Result
from sensorium_jax.insilico.stimuli import Frame
from sensorium_jax.insilico.subjects import Subject, split

Array = Any
ITERATIONS = 60  # of the fit
FLAT = "its rate is flat: at no piece of noise does a change of it change the rate"


def rf(
    subject: Subject,
    neurons: Sequence[int] | None = None,
    *,
    method: str = "gradient",
    clips: int | None = None,
    exponent: float = 1.0,
    seed: int = 0,
    memory: float | None = None,
    tell: Callable[[int], None] | None = None,
) -> Result:
    """Receptive fields with their fits, [N, T, H, W]; the last frame is the newest.

    method "gradient" asks for gradients at `clips` pieces of noise (8), "noise" shows
    `clips` of them (1000). The noise's amplitude falls with frequency to `exponent`
    (for "noise" it is white: a mean over colored noise is blurred).
    """
    asked, failed = split(subject, neurons)
    if method == "gradient":
        found = gradients(subject, asked, clips or 8, exponent, seed, memory, tell)
    else:
        found = reverse_correlation(subject, asked, clips or 1000, seed, memory, tell)
    fits = fit(found.envelope_nhw)
    power_nt = (found.field_nthw**2).sum((2, 3))
    lag_n = found.power_nt.shape[1] - 1 - found.power_nt.argmax(1)
    arrays = {
        "field": found.field_nthw,
        "envelope": found.envelope_nhw,
        "x": fits.center_n2[:, 0],
        "y": fits.center_n2[:, 1],
        "sigma_long": fits.sigma_n2[:, 0],
        "sigma_short": fits.sigma_n2[:, 1],
        "turn": fits.turn_n,
        "orientation": found.orientation_n,
        "latency_frames": lag_n.astype(np.float64),
        "linear": power_nt.sum(1) / np.maximum(found.power_nt.sum(1), 1e-30),
    }
    if subject.fps:
        arrays["latency_ms"] = 1000 * lag_n / subject.fps
    about = {**subject.about(), "method": method, "clips": clips, "seed": seed}
    about |= {"lengths": "pixels", "angles": "radians"}
    shown = Result("rf", about, np.array(asked), arrays, failed=failed)
    return record.keep(shown, found.power_nt.sum(1) > 0, lambda _: FLAT)


class Found(NamedTuple):
    """Fields before their fits."""

    field_nthw: np.ndarray
    envelope_nhw: np.ndarray
    power_nt: np.ndarray  # how much each frame matters, linearly or not
    orientation_n: np.ndarray  # across the stripes


def gradients(
    subject: Subject,
    neurons: Sequence[int],
    clips: int = 8,
    exponent: float = 1.0,
    seed: int = 0,
    memory: float | None = None,
    tell: Callable[[int], None] | None = None,
) -> Found:
    """Fields from what changes the last frame's rate, at some noises."""
    frame, one = frame_of(subject), _slopes(subject, exponent)
    n, shape = len(neurons), (frame.frames, frame.height, frame.width)
    rows = (
        np.tile(seed * 1000 + np.arange(clips), n).astype(np.float32),
        np.repeat(np.asarray(neurons, np.int32), clips),
    )
    total, square = np.zeros((2, n, *shape), np.float32)
    turned = np.zeros((n, 3))
    for part, (slope, turns) in batches.through(one, rows, memory=memory, tell=tell):
        place = np.arange(part.start, part.stop) // clips
        np.add.at(total, place, slope / clips)
        np.add.at(square, place, slope**2 / clips)
        np.add.at(turned, place, turns.astype(np.float64))
    envelope_nhw = np.sqrt(square.sum(1))
    return Found(total, envelope_nhw, square.sum((2, 3)), across(turned))


@lru_cache(maxsize=4)
def _slopes(subject: Subject, exponent: float) -> Callable[..., Any]:
    """Gradients [B, T, H, W] of neurons' rates at pieces of noise, and their turns."""
    frame = frame_of(subject)
    channels = subject.frame[2]

    def rate(z_bthwc, neuron_b):
        return subject.each(subject.screen.shown(z_bthwc), neuron_b)[:, -1].sum()

    def one(rows):
        seed_b, neuron_b = rows
        clip = partial(stimuli.noise, frame, exponent=exponent)
        z_bthw = subject.screen.swing * jax.vmap(clip)(seed_b)
        z_bthwc = jnp.broadcast_to(z_bthw[..., None], (*z_bthw.shape, channels))
        slope_bthw = jax.grad(rate)(z_bthwc, neuron_b).sum(-1)
        return slope_bthw, tensor(slope_bthw)

    return one


def reverse_correlation(
    subject: Subject,
    neurons: Sequence[int],
    clips: int = 1000,
    seed: int = 0,
    memory: float | None = None,
    tell: Callable[[int], None] | None = None,
) -> Found:
    """Fields from the responses to white noise, of all neurons at once."""
    frame, some = frame_of(subject), subject.only(neurons)
    film = frame._replace(frames=2 * frame.frames - 1 if subject.films else 1)

    def drawn(seed_b):
        return jax.vmap(partial(stimuli.noise, film))(seed_b)

    def one(seed_b):
        z_bthwc = subject.screen.swing * drawn(seed_b)[..., None]
        z_bthwc = jnp.broadcast_to(z_bthwc, (*z_bthwc.shape[:4], subject.frame[2]))
        return some.rates(subject.screen.shown(z_bthwc))[:, -frame.frames :]

    @jax.jit
    def sums(seed_b, rates_btn):
        """Light, and contrast, before every answered frame, weighed by its rate."""
        z_bthw, count = drawn(seed_b), frame.frames
        late = z_bthw.shape[1] - rates_btn.shape[1]
        total = []
        for x in (z_bthw, z_bthw**2):
            lags = [
                jnp.einsum("bthw,btn->nhw", x[:, s : s + rates_btn.shape[1]], rates_btn)
                for s in range(late - count + 1, late + 1)
            ]
            total.append(jnp.stack(lags, 1))
        return total[0], total[1]

    seeds = (seed * 1000 + 1 + np.arange(clips)).astype(np.float32)
    n, shape = len(neurons), (frame.frames, frame.height, frame.width)
    light, contrast = np.zeros((2, n, *shape), np.float32)
    rates_n, count = np.zeros(n), 0
    for part, rates in batches.through(one, seeds, memory=memory, tell=tell):
        more, square = (np.asarray(x) for x in sums(seeds[part], rates))
        light += more
        contrast += square
        rates_n += rates.sum((0, 1), dtype=np.float64)
        count += rates.shape[0] * rates.shape[1]
    # Noise is even around grey, so only the square has a mean to take away: 1/9.
    light /= count
    contrast = contrast / count - (rates_n / count / 9)[:, None, None, None]
    power = light**2 + contrast**2
    turned = np.asarray(tensor(jnp.asarray(light)), np.float64)
    power_nt = power.sum((2, 3)).astype(np.float64)
    envelope_nhw = np.sqrt(power.sum(1))
    return Found(light, envelope_nhw, power_nt, across(turned))


def tensor(slope_bthw: Array) -> Array:
    """Sums of gx gx, gy gy and gx gy over a film, of its change from pixel to pixel."""
    gx = slope_bthw[..., 1:-1, 2:] - slope_bthw[..., 1:-1, :-2]
    gy = slope_bthw[..., 2:, 1:-1] - slope_bthw[..., :-2, 1:-1]
    pairs = ((gx, gx), (gy, gy), (gx, gy))
    return jnp.stack([jnp.sum(a * b, (1, 2, 3)) for a, b in pairs], -1)


def across(tensor_n3: np.ndarray) -> np.ndarray:
    """The direction of most change, 0..pi."""
    xx, yy, xy = tensor_n3.T
    return (0.5 * np.arctan2(2 * xy, xx - yy)) % np.pi


class Fit(NamedTuple):
    """A Gaussian fitted to a map."""

    center_n2: np.ndarray  # x, y in pixels
    sigma_n2: np.ndarray  # SDs in pixels, the longer first
    turn_n: np.ndarray  # direction of the longer one, 0..pi


def fit(map_nhw: np.ndarray) -> Fit:
    """Gaussians by adaptive moments (Bernstein & Jarvis 2002).

    The map less its median is weighed by the Gaussian of the moment before; where they
    agree, the weighed map has half its variance. Exact for a Gaussian on a flat ground.
    """
    n, h, w = map_nhw.shape
    x = np.asarray(map_nhw, np.float64)
    x = x - np.median(x.reshape(n, -1), axis=1)[:, None, None]
    x = np.maximum(x, 0)
    y, x_ = np.mgrid[:h, :w].astype(float)
    at = np.stack([x_, y], -1).reshape(-1, 2)
    flat = x.reshape(n, -1) + 1e-30
    center = at[(flat**2).argmax(1)]
    narrow, wide = 0.25, (max(h, w) / 2) ** 2
    spread = np.tile(np.eye(2) * (min(h, w) / 6) ** 2, (n, 1, 1))
    for _ in range(ITERATIONS):
        apart = at[None] - center[:, None]
        distance = np.einsum("npi,nij,npj->np", apart, np.linalg.inv(spread), apart)
        weight = flat * np.exp(-0.5 * distance)
        weight = weight / weight.sum(1, keepdims=True)
        center = weight @ at
        apart = at[None] - center[:, None]
        spread = 2 * np.einsum("np,npi,npj->nij", weight, apart, apart)
        values, vectors = np.linalg.eigh(spread)
        values = np.clip(values, narrow, wide)
        spread = np.einsum("nij,nj,nkj->nik", vectors, values, vectors)
    values, vectors = np.linalg.eigh(spread)
    long = vectors[:, :, 1]
    turn = np.arctan2(long[:, 1], long[:, 0]) % np.pi
    return Fit(center, np.sqrt(values[:, ::-1]), turn)


def frame_of(subject: Subject) -> Frame:
    """The film that a rate depends on."""
    h, w, _ = subject.frame
    frames = max(subject.memory, subject.lost + 1) if subject.films else 1
    return Frame(h, w, frames, subject.fps or 1.0)
