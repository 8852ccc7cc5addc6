"""A small causal core: the light itself beside what two convolutions make of it."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.models.cores.temporal_bases import normalized, pooled
from sensorium_jax.models.ops import convolutions
from sensorium_jax.models.ops.geometry import Geometry
from sensorium_jax.models.parts.block import check_channels
from sensorium_jax.models.parts.conv import Conv
from sensorium_jax.models.parts.penalties import Offered

Array = Any


class LightAndFeaturesCore(nn.Module):
    """Video [M, B, T, H, W, C] to features [M, B, T - lags + 1, H', W', F].

    Frames are average-pooled and seen through `bases` bumps in time (no parameters),
    then convolved in space as often as there are kernels. Light, first layer and last
    layer all reach the readout, each of them averaged over small and over large
    neighbourhoods (`widths`, SDs in pixels of the map; 0 is the pixel itself). So a
    neuron with a linear field, and a surround, needs no convolution to be learned
    first; the model starts as good as a linear one and grows from there.
    """

    input_channels: int = 1
    pool: int = 1
    lags: int = 18
    bases: int = 6
    channels: tuple[int, ...] = (16, 24)
    kernels: tuple[int, ...] = (7, 3)
    widths: tuple[float, ...] = (0.0, 2.0)
    contrast: int = 0  # pixels of the pooled frame that share a contrast; 0 for none
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
    def seen(self) -> int:
        """Channels of the light: one for each channel of the video and each bump."""
        return self.input_channels * self.bases

    def out_shape(self, frames: int, height: int, width: int) -> tuple[int, ...]:
        """Frames, rows, columns and features of the output; no parameters needed."""
        shape = Geometry.of((self.lags,)).out(frames, height, width)
        shape = Geometry.of((self.pool,) * 2, stride=self.pool).out(*shape)
        for geometry in self._geometry():
            shape = geometry.out(*shape)
        return (*shape, (self.seen + sum(self.channels)) * len(self.widths))

    @nn.compact
    def __call__(
        self, x_mbthwc: Array, *, train: bool, mice_m: Array | None = None
    ) -> Array:
        """Features of all mice at once."""
        del mice_m
        check_channels(x_mbthwc, self.input_channels, "LightAndFeaturesCore")
        self.out_shape(*x_mbthwc.shape[2:5])
        x = pooled(x_mbthwc, self.pool) if self.pool > 1 else x_mbthwc
        x = normalized(x, self.contrast) if self.contrast else x
        light = through_bumps(
            x, self.lags, self.bases, self.train_stride if train else 1
        )
        layers = [light]
        for i, geometry in enumerate(self._geometry()):
            conv = Conv(self.channels[i], geometry, name=f"layer{i}")
            layers.append(jax.nn.elu(conv(layers[-1])))
        features = jnp.concatenate(layers, -1)
        return jnp.concatenate([blurred(features, s) for s in self.widths], -1)

    def _geometry(self) -> list[Geometry]:
        return [Geometry.of((k, k), padding=k // 2) for k in self.kernels]


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


def blurred(x_mbthwc: Array, sd: float) -> Array:
    """Each map averaged with a Gaussian of so many pixels; weights sum to 1."""
    if sd == 0:
        return x_mbthwc
    for axis, letters in ((3, "mbthwc,yh->mbtywc"), (4, "mbthwc,xw->mbthxc")):
        weights = jnp.asarray(gaussian(x_mbthwc.shape[axis], sd), x_mbthwc.dtype)
        x_mbthwc = jnp.einsum(letters, x_mbthwc, weights)
    return x_mbthwc


def gaussian(size: int, sd: float) -> np.ndarray:
    """Weights [size, size] of a blur along one axis; every row sums to 1."""
    at = np.arange(size)
    weights = np.exp(-((at[:, None] - at) ** 2) / (2 * sd**2))
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def log_bumps(lags: int, bases: int) -> np.ndarray:
    """[lags, bases] orthonormal bumps, oldest first, narrow where lags are short.

    Raised cosines in log time (Pillow et al. 2008, https://doi.org/10.1038/nature07140).
    """
    if bases >= lags:
        return np.eye(lags, dtype=np.float32)[:, ::-1][:, :bases]
    time = np.log(np.arange(lags) + lags / 8)
    centers = np.linspace(time[0], time[-1], bases)
    gap = centers[1] - centers[0] if bases > 1 else time[-1] - time[0]
    phase = np.clip((time[:, None] - centers) / gap / 2, -1, 1) * np.pi
    bumps_tk = (1 + np.cos(phase)) / 2
    orthonormal, triangle = np.linalg.qr(bumps_tk)
    return (orthonormal * np.sign(np.diag(triangle)))[::-1].astype(np.float32)
