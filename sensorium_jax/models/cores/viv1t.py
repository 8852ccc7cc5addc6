"""Core of a factorized video transformer: attention over space, then over time."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from sensorium_jax.errors import UserError
from sensorium_jax.models.ops import convolutions
from sensorium_jax.models.ops.geometry import Geometry
from sensorium_jax.models.parts.block import check_channels
from sensorium_jax.models.parts.penalties import Offered
from sensorium_jax.models.parts.transformer import (
    BlockOptions,
    LayerNorm,
    ParallelBlock,
    SequentialBlock,
    dropped,
    uniform,
)

Array = Any


class ViV1TCore(nn.Module):
    """Video [M, B, T, H, W, C] to features [M, B, T - frames + 1, H', W', F].

    Patches of some frames and pixels become tokens. In each frame the tokens attend to
    each other over space, then at each place over the whole clip, so every map depends
    on later frames too. Signals that are appended to the video are part of the patches,
    or, with `states`, go through an MLP in every block and are added to its tokens.
    Clips have at most `max_frames` frames: positions in time are learned.

    Li et al. 2023, third in SENSORIUM 2023 (Turishcheva et al. 2024,
    https://openreview.net/forum?id=gViJjwRUlM). The original infers rows and columns
    of its maps from their product; here they are those of the patches.
    """

    input_channels: int
    video_channels: int = 1  # the other ones are signals
    patch: int = 7
    patch_stride: int = 2
    patch_frames: int = 25
    max_frames: int = 300
    features: int = 112
    space_blocks: int = 3
    time_blocks: int = 5
    heads: int = 11
    head_width: int = 48
    hidden: int = 136
    parallel: bool = True
    swiglu: bool = False
    norm_qk: bool = False
    scale_by_head: bool = True  # else by the features, in sequential blocks only
    states: bool = False
    drop_patches: float = 0.1338
    drop_attention: float = 0.3580
    drop_hidden: float = 0.0592
    drop_path: float = 0.0505
    together: int = 0  # sequences that attend at a time, to save memory; 0 is all
    remat: bool = False
    norm_groups: str = "mouse"  # no batch norm here; accepted as by every core
    train_stride = 1
    causal = False

    @property
    def penalties(self) -> Offered:
        """None of its own."""
        return {}

    @property
    def lost_frames(self) -> int:
        """Frames by which the output is shorter than the input."""
        return self.patch_frames - 1

    def out_shape(self, frames: int, height: int, width: int) -> tuple[int, ...]:
        """Frames, rows, columns and features of the output; no parameters needed."""
        if frames > self.max_frames:
            raise UserError(
                f"A clip has {frames} frames; the core knows positions of at most "
                f"{self.max_frames}. Build it with a larger max_frames, or cut clips."
            )
        return (*self._geometry().out(frames, height, width), self.features)

    @nn.compact
    def __call__(
        self, x_mbthwc: Array, *, train: bool, mice_m: Array | None = None
    ) -> Array:
        """Features of all mice at once."""
        del mice_m
        check_channels(x_mbthwc, self.input_channels, "ViV1TCore")
        m, b, *shape = x_mbthwc.shape
        t, h, w, f = self.out_shape(*shape[:3])
        state = None
        if self.states and self.input_channels > self.video_channels:
            state = recent(x_mbthwc[..., 0, 0, self.video_channels :], t)
            x_mbthwc = x_mbthwc[..., : self.video_channels]
        x = Patches(f, self._geometry(), name="patches")(x_mbthwc)
        x = dropped(self, x, self.drop_patches, train=train)
        x = x.reshape(m, b, t, h * w, f)
        normal, known = nn.initializers.normal(1.0), self.max_frames - self.lost_frames
        space = self.param("space_positions", normal, (h * w, f)).astype(x.dtype)
        time = self.param("time_positions", normal, (known, f)).astype(x.dtype)
        x = x + space[None, None, None] + time[None, None, :t, None]
        x = self._blocks(x, state, "space", self.space_blocks, train=train)
        x = self._blocks(x.swapaxes(2, 3), state, "time", self.time_blocks, train=train)
        return x.swapaxes(2, 3).reshape(m, b, t, h, w, f)

    def _geometry(self) -> Geometry:
        stride = (1, self.patch_stride, self.patch_stride)
        return Geometry.of((self.patch_frames, self.patch, self.patch), stride=stride)

    def _blocks(
        self, x: Array, state: Array | None, along: str, count: int, *, train: bool
    ) -> Array:
        """Some blocks of attention along the frames or the places of tokens."""
        if state is not None:
            state = state[:, :, :, None] if along == "space" else state[:, :, None]
        by_head = self.parallel or self.scale_by_head
        options = BlockOptions(
            heads=self.heads,
            head_width=self.head_width,
            hidden=self.hidden,
            scale=(self.head_width if by_head else self.features) ** -0.5,
            swiglu=self.swiglu,
            norm_qk=self.norm_qk,
            drop_attention=self.drop_attention,
            drop_hidden=self.drop_hidden,
            drop_path=self.drop_path,
            together=self.together,
        )

        def call(block: nn.Module, x: Array, state: Array | None) -> Array:
            return block(x, state, train=train)  # pyright: ignore[reportCallIssue]

        call = nn.remat(call) if self.remat else call
        for i in range(count):
            kind = ParallelBlock if self.parallel else SequentialBlock
            x = call(kind(options, name=f"{along}{i}"), x, state)
        return x


class Patches(nn.Module):
    """Normalize patches, project them to tokens [M, B, T', H', W', F], normalize those.

    Patches are never cut out: mean and variance of a patch are sums over boxes, and the
    rest is a convolution. Weights are of channel, frame, row, column in that order, in
    one axis as the original has them.
    """

    features: int
    geometry: Geometry
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x_mbthwc: Array) -> Array:
        """Tokens."""
        channels, size = x_mbthwc.shape[-1], self.geometry.size
        values = channels * size[0] * size[1] * size[2]
        scale = self.param("scale", nn.initializers.ones, (values,))
        shift = self.param("shift", nn.initializers.zeros, (values,))
        start = uniform(values)
        kernel = self.param("kernel", start, (values, self.features))
        bias = self.param("bias", start, (self.features,))
        # A patch and the same patch plus a number are one to the norm; small numbers
        # lose nothing when their squares are summed.
        x = x_mbthwc - x_mbthwc.mean((2, 3, 4, 5), keepdims=True)
        wide = x.astype(jnp.float32)
        mean, square = (
            summed(part.sum(-1), self.geometry)[..., None] / values
            for part in (wide, jnp.square(wide))
        )
        gain = jax.lax.rsqrt(jnp.maximum(square - mean**2, 0.0) + self.epsilon)
        scaled = scale[:, None] * kernel
        taps = jnp.moveaxis(scaled.reshape(channels, *size, -1), 0, 3)
        y = convolutions.conv3d(x, taps.astype(x.dtype), stride=self.geometry.stride)
        y = (y.astype(jnp.float32) - mean * _lifted(scaled.sum(0))) * gain
        y = y + _lifted((shift[:, None] * kernel).sum(0) + bias)
        return LayerNorm(name="norm")(y.astype(x.dtype))


def _lifted(x_f: Array) -> Array:
    return x_f.astype(jnp.float32)[None, None, None, None, None]


def summed(x_mbthw: Array, geometry: Geometry) -> Array:
    """Sums over the boxes that a kernel covers, [M, B, T', H', W']."""
    for axis, (size, stride) in enumerate(
        zip(geometry.size, geometry.stride, strict=True), start=2
    ):
        window, steps = [1] * 5, [1] * 5
        window[axis], steps[axis] = size, stride
        x_mbthw = jax.lax.reduce_window(
            x_mbthw, 0.0, jax.lax.add, tuple(window), tuple(steps), "VALID"
        )
    return x_mbthw


def recent(signals_mbtk: Array, frames: int) -> Array:
    """Signals of each of the last frames and those before it, [M, B, T', t * K].

    Oldest first; so many frames before that every one has as many.
    """
    count = signals_mbtk.shape[2] - frames + 1
    each = [signals_mbtk[:, :, i : i + frames] for i in range(count)]
    return jnp.concatenate(each, -1)
