"""A small causal core of energy units: simple and complex cells, then a mixture."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.models.cores.temporal_bases import local_variance, pooled
from sensorium_jax.models.ops import convolutions
from sensorium_jax.models.ops.geometry import Geometry
from sensorium_jax.models.parts.block import check_channels
from sensorium_jax.models.parts.conv import Conv, xavier_normal
from sensorium_jax.models.parts.penalties import Offered

Array = Any
DARK = 0.25  # variance of light that is added, so that a blank divides by a constant
SMALLEST = 5  # pixels of a kernel that can hold an oriented wave
FLAT = 0.1  # under the root of an energy, whose gradient is smooth at zero


class EnergyCore(nn.Module):
    """Video [M, B, T, H, W, C] to features [M, B, T - lags + 1, H', W', F].

    Frames are average-pooled, divided by a learned power of the contrast around each
    pixel (Heeger 1992), and seen through `bases` bumps in time. The first convolution
    begins as pairs of oriented waves a quarter of a period apart: either of a pair is
    a simple cell, the root of their squares a complex one (Adelson & Bergen 1985). The
    second one mixes them. Light, cells and mixtures all reach the readout, so a neuron
    with a linear field needs no convolution to be learned first, and one that does not
    care for the phase of a wave finds its unit on few pictures.
    """

    input_channels: int = 1
    pool: int = 1
    lags: int = 18
    bases: int = 6
    pairs: int = 8  # of waves; each gives two simple cells and a complex one
    mixtures: int = 24
    kernels: tuple[int, int] = (7, 3)
    contrast: int = 7  # pixels of the pooled frame that share a contrast; 0 for none
    power: float = 0.5  # of the contrast, where learning begins
    train_stride: int = 1
    norm_groups: str = "mouse"  # no batch norm here; accepted as by every core
    causal = True  # no answer depends on frames after its own

    @property
    def penalties(self) -> Offered:
        """None of its own; the general ones suit its kernels."""
        return {}

    @property
    def lost_frames(self) -> int:
        """Frames by which the output is shorter than the input."""
        return self.lags - 1

    @property
    def light(self) -> int:
        """Channels of the light: each of the video through each bump."""
        return self.input_channels * min(self.bases, self.lags)

    def out_shape(self, frames: int, height: int, width: int) -> tuple[int, ...]:
        """Frames, rows, columns and features of the output; no parameters needed."""
        shape = Geometry.of((self.lags,)).out(frames, height, width)
        shape = Geometry.of((self.pool,) * 2, stride=self.pool).out(*shape)
        for geometry in self._geometry():
            shape = geometry.out(*shape)
        return (*shape, self.light + 3 * self.pairs + self.mixtures)

    @nn.compact
    def __call__(
        self, x_mbthwc: Array, *, train: bool, mice_m: Array | None = None
    ) -> Array:
        """Features of all mice at once."""
        del mice_m
        check_channels(x_mbthwc, self.input_channels, "EnergyCore")
        self.out_shape(*x_mbthwc.shape[2:5])
        x = pooled(x_mbthwc, self.pool) if self.pool > 1 else x_mbthwc
        if self.contrast:
            start = nn.initializers.constant(self.power)
            power = self.param("power", start, ()).astype(x.dtype)
            x = divided(x, self.contrast, power)
        stride = self.train_stride if train else 1
        light = through_bumps(x, self.lags, min(self.bases, self.lags), stride)
        first, second = self._geometry()
        waves = Conv(2 * self.pairs, first, kernel_init=oriented, name="layer0")
        cells = simple_and_complex(waves(light))
        mixed = jax.nn.elu(Conv(self.mixtures, second, name="layer1")(cells))
        return jnp.concatenate([light, cells, mixed], -1)

    def _geometry(self) -> list[Geometry]:
        return [Geometry.of((k, k), padding=k // 2) for k in self.kernels]


def divided(x_mbthwc: Array, size: int, power: Array) -> Array:
    """Each pixel over a power of the contrast within size by size pixels around it."""
    gain = jnp.exp(-0.5 * power * jnp.log(local_variance(x_mbthwc, size) + DARK))
    return (x_mbthwc * gain).astype(x_mbthwc.dtype)


def through_bumps(x_mbthwc: Array, lags: int, bases: int, stride: int = 1) -> Array:
    """The last frames through bumps in time, [M, B, T', H, W, C x bases]."""
    if lags == 1:
        return x_mbthwc
    channels = x_mbthwc.shape[-1]
    bumps_tk = jnp.asarray(log_bumps(lags, bases), x_mbthwc.dtype)
    same = jnp.eye(channels, dtype=x_mbthwc.dtype)
    kernel = jnp.einsum("tk,cd->tcdk", bumps_tk, same).reshape(lags, channels, -1)
    early = (x_mbthwc.shape[2] - lags) % stride
    return convolutions.temporal_conv(x_mbthwc[:, :, early:], kernel, stride=stride)


def simple_and_complex(waves: Array) -> Array:
    """Each of a pair past a threshold, and their energy: [..., 2 P] to [..., 3 P]."""
    even, odd = jnp.split(waves, 2, -1)
    energy = jnp.sqrt(even**2 + odd**2 + FLAT) - FLAT**0.5
    return jnp.concatenate([jax.nn.elu(even), jax.nn.elu(odd), energy], -1)


def oriented(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """Kernels [h, w, C, 2 P]: P waves of all orientations, and those a quarter later.

    Each wave has one random mixture of the input's channels, of unit norm. Kernels that
    can hold no wave are random.
    """
    size, _, channels, filters = shape
    if size < SMALLEST:
        return xavier_normal(key, shape, dtype)
    mixture_cp = jax.random.normal(key, (channels, filters // 2))
    mixture_cp = mixture_cp / jnp.linalg.norm(mixture_cp, axis=0, keepdims=True)
    pairs = [waves(size, filters // 2, phase) for phase in (0.0, np.pi / 2)]
    each = [jnp.einsum("hwp,cp->hwcp", w, mixture_cp) for w in pairs]
    return jnp.concatenate(each, -1).astype(dtype)


def waves(size: int, count: int, phase: float) -> np.ndarray:
    """Gabor functions [size, size, count] of evenly spaced orientations, unit norm."""
    at = np.arange(size) - (size - 1) / 2
    y, x = np.meshgrid(at, at, indexing="ij")
    angle = np.pi * np.arange(count) / count
    along = x[..., None] * np.cos(angle) + y[..., None] * np.sin(angle)
    envelope = np.exp(-(x**2 + y**2) / (2 * (0.22 * size) ** 2))[..., None]
    wave = envelope * np.cos(2 * np.pi * along / (0.62 * size) - phase)
    wave -= envelope * wave.sum((0, 1)) / envelope.sum()  # blind to a uniform light
    return (wave / np.linalg.norm(wave, axis=(0, 1))).astype(np.float32)


def log_bumps(lags: int, bases: int) -> np.ndarray:
    """[lags, bases] orthonormal bumps, oldest first, narrow where lags are short.

    Raised cosines in log time (Pillow et al. 2008, https://doi.org/10.1038/nature07140).
    """
    if bases == lags:
        return np.eye(lags, dtype=np.float32)[:, ::-1]
    time = np.log(np.arange(lags) + lags / 8)
    centers = np.linspace(time[0], time[-1], bases)
    gap = centers[1] - centers[0] if bases > 1 else time[-1] - time[0]
    phase = np.clip((time[:, None] - centers) / gap / 2, -1, 1) * np.pi
    orthonormal, triangle = np.linalg.qr((1 + np.cos(phase)) / 2)
    return (orthonormal * np.sign(np.diag(triangle)))[::-1].astype(np.float32)
