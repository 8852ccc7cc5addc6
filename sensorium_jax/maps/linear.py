"""The best linear-nonlinear model, in closed form: the row that every table needs.

Weights are ridge maps, each multiplied by how much of it a field explains (fields.py)
and, if that foretells more of the trials that were held out, reduced to one kernel in
time. The ridge strength of a neuron is chosen on the same trials, and so is the curve
from drive to rate, whose bends are a list and whose gain and offset are least squares.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax import asking as ask
from sensorium_jax.asking import Asking
from sensorium_jax.axes import Batch
from sensorium_jax.errors import unknown
from sensorium_jax.maps import moments, reduce, ridge
from sensorium_jax.maps.fields import Fields
from sensorium_jax.maps.moments import Centered, Sample
from sensorium_jax.maps.reduce import Plan
from sensorium_jax.maps.ridge import Spectrum

Array = Any
STRENGTHS = tuple(float(10**x) for x in np.arange(-2.0, 1.6, 0.5))
LOWEST, STEP, BINS = -2.5, 0.35, 22  # of drives, in SDs; the outer bins are open
# Bends of a curve: threshold, sharpness and power of a softplus; the first is a line.
BENDS = ((-30.0, 1.0, 1.0),) + tuple(
    (threshold, sharp, power)
    for power in (1.0, 2.0)
    for sharp in (2.0, 6.0)
    for threshold in (-1.0, 0.0, 1.0, 2.0)
)
TOP = LOWEST + STEP * BINS  # a drive in the last bin
STEEPEST = 5.0  # times the largest mean of a bin: no bend may promise more there
STRAIGHTER = 1e-3  # share of the variance that a bend must explain more than a line
DIMMEST = 0.02  # of the mean response: no rate is lower, as no neuron is surely silent


class Weights(NamedTuple):
    """Everything that a linear model has learned; a pytree whose leaves lead with M."""

    weight_mdn: Array  # of features less their means
    mean_md: Array
    spread_mn: Array  # SD of the drive, which the curve divides by
    bend_mn3: Array  # threshold, sharpness, power
    gain_mn: Array
    offset_mn: Array
    least_mn: Array  # no rate is lower


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear-nonlinear twin. Inputs are normalized, rates in `asking.units`."""

    plan: Plan
    weights: Weights
    mice: tuple[str, ...]
    neurons: tuple[int, ...]  # of each mouse
    behaviors: int
    asking: Asking

    raw = ()  # inputs taken as recorded: none

    @property
    def units(self) -> str:
        """How the responses that it learned from were normalized; so are its rates."""
        return self.asking.units

    def respond(
        self,
        video_bthwc: Array,
        behavior_btk: Array | None = None,
        pupil_bt2: Array | None = None,
        mouse: int | str = 0,
        first_frame_b: Array | int = 0,
    ) -> jax.Array:
        """Rates [B, T, N] of one mouse; differentiable in the video, usable under jit.

        The stimulus was at its mean before the clip, wherever in its trial that began.
        Signals that are None stay at zero, their mean.
        """
        if isinstance(mouse, str):
            if mouse not in self.mice:
                raise unknown("mouse", mouse, self.mice)
            mouse = self.mice.index(mouse)
        lead = video_bthwc.shape[:2]
        signals = [
            jnp.zeros((*lead, size)) if x is None else jnp.asarray(x)
            for x, size in ((behavior_btk, self.behaviors), (pupil_bt2, 2))
        ]
        signals_btk = jnp.concatenate(signals, -1)[..., : self.plan.signals]
        rates = _respond(self.plan, self.weights, mouse, video_bthwc, signals_btk)
        return rates[..., : self.neurons[mouse]]


jax.tree_util.register_pytree_node(
    Linear,
    lambda x: ((x.weights,), (x.plan, x.mice, x.neurons, x.behaviors, x.asking)),
    lambda fixed, children: Linear(fixed[0], children[0], *fixed[1:]),
)


@partial(jax.jit, static_argnums=0)
def _respond(plan: Plan, weights: Weights, mouse: Array, video: Array, signals: Array):
    one = jax.tree.map(lambda x: x[mouse], weights)
    return curve(one, drive(plan, one, video, signals))


def drive(plan: Plan, one: Weights, video_bthwc: Array, signals_btk: Array):
    """Drives [B, T, N] of one mouse in SDs."""
    video_bthwc = jnp.asarray(video_bthwc, jnp.float32)
    features_btd = reduce.light(plan, video_bthwc, signals_btk)
    apart_btd = features_btd - one.mean_md[None, None]
    raw = jnp.einsum("btd,dn->btn", apart_btd, one.weight_mdn, precision=reduce.EXACT)
    return raw / one.spread_mn[None, None]


def rates(
    plan: Plan, arrays: Mapping[str, Array], video_mbthwc: Array, *signals_mbtk: Array
) -> jax.Array:
    """Rates [M, B, T, N] of all mice, from what is normalized.

    arrays are Weights by name, and may hold more; signals are behavior and pupil.
    """
    weights = Weights(**{name: arrays[name] for name in Weights._fields})
    signals = jnp.concatenate(signals_mbtk, -1)[..., : plan.signals]

    def mouse(one: Weights, video: Array, signals: Array) -> jax.Array:
        return curve(one, drive(plan, one, video, signals))

    return jax.vmap(mouse)(weights, video_mbthwc, signals)


def curve(one: Weights, drive_btn: Array) -> jax.Array:
    """From drives to rates."""
    lifted = jax.tree.map(lambda x: x[None, None], one)
    bent_btn = bend(drive_btn, *jnp.moveaxis(lifted.bend_mn3, -1, 0))
    rates_btn = lifted.gain_mn * bent_btn + lifted.offset_mn
    return jnp.maximum(rates_btn, lifted.least_mn)


def bend(z: Array, threshold: Array, sharp: Array, power: Array) -> jax.Array:
    """A softplus to a power."""
    above = jax.nn.softplus(sharp * (z - threshold)) / sharp
    return jnp.where(power == 1, above, above**2)


def choose(
    plan: Plan, light: Spectrum, held: Centered, fields: Fields
) -> tuple[np.ndarray, np.ndarray]:
    """Weights [D, N] of one mouse and their correlation [N] with what was held out.

    Every strength is tried with all kernels in time and with one; neurons choose for
    themselves, but what the mouse's neurons have in common counts as much.
    """
    light = ridge.rounded(light)
    tries = [(x, one) for x in STRENGTHS for one in (False, True)[: plan.bases]]

    def tried(strength: float, one: bool) -> np.ndarray:
        w = _within(plan, ridge.weights(light, strength), fields.envelope_np)
        return separable(plan, w) if one else w

    xx_de = np.asarray(light.centered.xx_de, np.float32)
    score_kn = np.array([ridge.correlation(tried(*t), xx_de, held) for t in tries])
    best_n = (score_kn + score_kn.mean(1, keepdims=True)).argmax(0)
    chosen = np.zeros((plan.light, len(best_n)), np.float32)
    for k in np.unique(best_n):  # made again, so that they need not all be kept
        chosen[:, best_n == k] = tried(*tries[k])[:, best_n == k]
    return chosen, score_kn[best_n, np.arange(len(best_n))]


def _within(plan: Plan, w: np.ndarray, envelope_np: np.ndarray) -> np.ndarray:
    """The weights of pixels shrunk to the field; those of signals as they are."""
    pixels = plan.light - plan.signals
    shape = (plan.bases, plan.frame[2], envelope_np.shape[1], -1)
    light = w[:pixels].reshape(shape) * envelope_np.T[None, None]
    return np.concatenate([light.reshape(pixels, -1), w[pixels:]])


def separable(plan: Plan, w: np.ndarray) -> np.ndarray:
    """The weights with one kernel in time for all pixels, the best in squares."""
    pixels = plan.light - plan.signals
    light = w[:pixels].reshape(plan.bases, plan.pixels, -1).transpose(2, 0, 1)
    _, axes = np.linalg.eigh(light @ light.transpose(0, 2, 1))
    first = axes[:, :, -1:]
    light = first @ (first.transpose(0, 2, 1) @ light)
    light = light.transpose(1, 2, 0).reshape(pixels, -1)
    return np.concatenate([light, w[pixels:]])


class Curves(NamedTuple):
    """Responses by bin of drive; a pytree whose leaves lead with M."""

    count_mnk: Array
    z_mnk: Array
    y_mnk: Array
    yy_mn: Array


def no_curves(mice: int, neurons: int) -> Curves:
    """The sums before any frame."""
    count, z, y = (jnp.zeros((mice, neurons, BINS)) for _ in range(3))
    return Curves(count, z, y, jnp.zeros((mice, neurons)))


def watch(plan: Plan, weights: Weights, curves: Curves, sample: Sample) -> Curves:
    """Add the valid frames of a batch."""

    def mouse(one: Weights, video: Array, signals: Array) -> jax.Array:
        return drive(plan, one, video, signals)

    keep = sample.valid_mbt.astype(bool)[..., None]
    video = jnp.where(keep[..., None, None], sample.video_mbthwc, 0.0)
    signals = jnp.where(keep, sample.signals_mbtk, 0.0)
    z_mbtn = jax.vmap(mouse)(weights, video, signals)
    if sample.observed_mbn is not None:
        keep = keep & sample.observed_mbn[:, :, None].astype(bool)
    y = jnp.where(keep, sample.responses_mbtn, 0.0)
    bins = jnp.clip(jnp.floor((z_mbtn - LOWEST) / STEP) + 1, 0, BINS - 1)

    def of_bin(k: Array) -> tuple[Array, Array, Array]:
        here = keep & (bins == k)
        z, known = (jnp.sum(x, (1, 2), where=here) for x in (z_mbtn, y))
        return here.sum((1, 2)).astype(jnp.float32), z, known

    every = jax.lax.map(of_bin, jnp.arange(BINS))
    count, total_z, total_y = (jnp.moveaxis(x, 0, -1) for x in every)
    yy = jnp.sum(y * y, (1, 2), where=keep)
    new = Curves(count, total_z, total_y, yy)
    return jax.tree.map(jnp.add, curves, new)


def bent(weights: Weights, curves: Curves) -> Weights:
    """The weights with the curves that fit best, neuron by neuron, least squares.

    Trials that were held out may have smaller drives than others. A bend that begins
    where they end fits them with any gain, so bends that grow too far are left out.
    """
    count, z, y, yy = (np.asarray(x, np.float64) for x in curves)
    middle = z / np.maximum(count, 1)
    total = np.maximum(count.sum(-1), 1)
    mean_y = y.sum(-1) / total
    largest = STEEPEST * (y / np.maximum(count, 1)).max(-1)
    left, gains, offsets = [], [], []
    for shape in BENDS:
        g = np.asarray(bend(middle, *(np.float64(x) for x in shape)))
        mean_g = (count * g).sum(-1) / total
        product = (y * g).sum(-1) / total - mean_y * mean_g
        power = (count * g * g).sum(-1) / total - mean_g**2
        gain = np.maximum(product, 0) / np.maximum(power, 1e-12)
        offset = mean_y - gain * mean_g
        top = gain * bend(np.float64(TOP), *(np.float64(x) for x in shape)) + offset
        tame = (shape == BENDS[0]) | (top <= largest)
        left.append(np.where(tame, -gain * (2 * product - gain * power), np.inf))
        gains.append(gain)
        offsets.append(offset)
    variance = np.maximum(yy / total - mean_y**2, 1e-12)
    left = np.stack(left)
    left[0] -= STRAIGHTER * variance
    best = left.argmin(0)[None]
    gain, offset = (
        np.take_along_axis(np.stack(x), best, 0)[0] for x in (gains, offsets)
    )
    return weights._replace(
        bend_mn3=jnp.asarray(np.array(BENDS)[best[0]], jnp.float32),
        gain_mn=jnp.asarray(gain, jnp.float32),
        offset_mn=jnp.asarray(offset, jnp.float32),
    )


def straight(
    plan: Plan,
    chosen: Sequence[np.ndarray],
    lights: Sequence[Spectrum],
    least: Sequence[np.ndarray],
    shape: tuple[int, int],
) -> Weights:
    """Weights of all mice, padded to [M, N], with curves that are still lines."""
    (mice, n), d = shape, plan.light
    weight, mean = np.zeros((mice, d, n)), np.zeros((mice, d))
    spread, floor = np.ones((mice, n)), np.zeros((mice, n))
    for m, (w, s) in enumerate(zip(chosen, lights, strict=True)):
        rows = slice(w.shape[1])
        weight[m, :, rows], mean[m] = w, s.centered.x_d
        variance = np.einsum("dn,dn->n", w, s.centered.xx_de @ w)
        spread[m, rows] = np.sqrt(np.maximum(variance, 1e-12))
        dimmest = np.maximum(least[m], DIMMEST * s.centered.y_n)
        floor[m, rows] = np.where(least[m] < 0, least[m], dimmest)
    one, line = np.ones((mice, n)), np.broadcast_to(BENDS[0], (mice, n, 3))
    arrays = (weight, mean, spread, line, one, 0 * one, floor)
    return Weights(*(jnp.asarray(x, jnp.float32) for x in arrays))


def fit_curves(
    plan: Plan,
    weights: Weights,
    batches: Iterable[Batch],
    normalized: Callable[[Batch], Array],
) -> Weights:
    """Bend the curves by batches of whole trials that were held out."""
    mice, _, neurons = weights.weight_mdn.shape
    curves = no_curves(mice, neurons)
    for batch in batches:
        curves = _watched(plan, weights, curves, batch, normalized(batch))
    return bent(weights, curves)


@partial(jax.jit, static_argnums=0, donate_argnums=2)
def _watched(
    plan: Plan, weights: Weights, curves: Curves, batch: Batch, video_mbthwc: Array
) -> Curves:
    sample = moments.sample(batch, video_mbthwc, plan)
    return watch(plan, weights, curves, sample)


def asked(units: str) -> Asking:
    """How a linear model must be asked: whole trials, inputs normalized."""
    return ask.PLAIN._replace(units=units)
