"""A small fast core: fixed temporal bases first, two spatial convolutions after."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.models.ops import convolutions
from sensorium_jax.models.ops.geometry import Geometry
from sensorium_jax.models.parts.block import check_channels
from sensorium_jax.models.parts.conv import Conv
from sensorium_jax.models.parts.penalties import Offered

Array = Any


class TemporalBasesCore(nn.Module):
    """Video [M, B, T, H, W, C] to features [M, B, T - lags + 1, H', W', F].

    Frames are average-pooled, filtered in time by `bases` raised cosines over `lags`
    frames (no parameters), then convolved twice in space. With no bases the model is
    static: it sees the one frame that is lags - 1 old. Time comes first because the
    bases are few and shared: the convolutions see T' frames, not T. While training only
    every train_stride-th frame is answered, the last one among them: neighbouring
    frames teach almost the same.
    """

    input_channels: int = 1
    pool: int = 2
    bases: int = 6
    lags: int = 16
    channels: tuple[int, int] = (16, 24)
    kernels: tuple[int, int] = (7, 3)
    train_stride: int = 3
    contrast: int = 7  # pixels of the pooled frame that share a contrast; 0 for none
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

    def out_shape(self, frames: int, height: int, width: int) -> tuple[int, ...]:
        """Frames, rows, columns and features of the output; no parameters needed."""
        shape = Geometry.of((self.lags,)).out(frames, height, width)
        shape = Geometry.of((self.pool,) * 2, stride=self.pool).out(*shape)
        for geometry in self._geometry():
            shape = geometry.out(*shape)
        return (*shape, self.channels[-1])

    @nn.compact
    def __call__(
        self, x_mbthwc: Array, *, train: bool, mice_m: Array | None = None
    ) -> Array:
        """Features of all mice at once."""
        del mice_m
        check_channels(x_mbthwc, self.input_channels, "TemporalBasesCore")
        self.out_shape(*x_mbthwc.shape[2:5])
        x = pooled(x_mbthwc, self.pool)
        x = normalized(x, self.contrast) if self.contrast else x
        bases_tk = jnp.asarray(raised_cosines(self.lags, self.bases), x.dtype)
        kernel = jnp.einsum(
            "tk,cd->tcdk", bases_tk, jnp.eye(x.shape[-1], dtype=x.dtype)
        )
        kernel = kernel.reshape(self.lags, x.shape[-1], -1)
        stride = self.train_stride if train else 1
        early = (x.shape[2] - self.lags) % stride
        x = convolutions.temporal_conv(x[:, :, early:], kernel, stride=stride)
        for i, geometry in enumerate(self._geometry()):
            x = jax.nn.elu(Conv(self.channels[i], geometry, name=f"layer{i}")(x))
        return x

    def _geometry(self) -> list[Geometry]:
        return [Geometry.of((k, k), padding=k // 2) for k in self.kernels]


def pooled(x_mbthwc: Array, size: int) -> Array:
    """Mean of size by size pixels; rows and columns left over are dropped."""
    m, b, t, h, w, c = x_mbthwc.shape
    x = x_mbthwc[:, :, :, : h // size * size, : w // size * size]
    return x.reshape(m, b, t, h // size, size, w // size, size, c).mean((4, 6))


def normalized(x_mbthwc: Array, size: int) -> Array:
    """Each pixel over the contrast around it, as responses in cortex saturate.

    Contrast is the standard deviation within size by size pixels; half a unit is added
    so that a blank stays one (Heeger 1992, https://doi.org/10.1017/S0952523800009640).
    """
    # The root is smooth everywhere: optimal stimuli are found by gradients through it.
    contrast = jnp.sqrt(local_variance(x_mbthwc, size) + 1e-2)
    return (x_mbthwc / (0.5 + contrast)).astype(x_mbthwc.dtype)


def local_variance(x_mbthwc: Array, size: int) -> Array:
    """Variance within size by size pixels around each one; float32 whatever comes in.

    It is a small difference of large squares where frames are bright.
    """
    x = x_mbthwc.astype(jnp.float32)
    variance = boxed(jnp.square(x), size) - jnp.square(boxed(x, size))
    return jnp.maximum(variance, 0.0)


def boxed(x_mbthwc: Array, size: int) -> Array:
    """Mean of size by size pixels around each one; smaller boxes at the border."""
    for axis in (3, 4):
        length = x_mbthwc.shape[axis]
        near = np.abs(np.subtract.outer(np.arange(length), np.arange(length)))
        weights = (near <= size // 2).astype(np.float32)
        weights = jnp.asarray(weights / weights.sum(1, keepdims=True), x_mbthwc.dtype)
        letters = ("mbthwc,yh->mbtywc", "mbthwc,xw->mbthxc")[axis - 3]
        x_mbthwc = jnp.einsum(letters, x_mbthwc, weights, precision="highest")
    return x_mbthwc


def raised_cosines(lags: int, bases: int) -> np.ndarray:
    """[lags, bases] half overlapping bumps of unit norm, oldest lag first.

    Evenly spaced, unlike the logarithmic ones of Pillow et al. 2008
    (https://doi.org/10.1038/nature07140): the lags that matter lie in the middle. No
    bases give one column that takes the oldest lag.
    """
    if bases == 0:
        return np.eye(lags, 1, dtype=np.float32)
    centers = np.linspace(0, lags - 1, bases)
    width = centers[1] - centers[0] if bases > 1 else float(lags)
    phase = (np.arange(lags)[:, None] - centers) * np.pi / width
    bumps = (1 + np.cos(np.clip(phase, -np.pi, np.pi))) / 2
    return (bumps / np.linalg.norm(bumps, axis=0))[::-1].astype(np.float32)
