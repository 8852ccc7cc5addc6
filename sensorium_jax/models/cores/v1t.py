"""Core of a vision transformer: pictures, and what the animal does in every block."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from sensorium_jax.models.ops import convolutions
from sensorium_jax.models.ops.geometry import Geometry
from sensorium_jax.models.parts.block import check_channels
from sensorium_jax.models.parts.penalties import Offered
from sensorium_jax.models.parts.transformer import (
    BlockOptions,
    SequentialBlock,
    dropped,
    uniform,
)

Array = Any


class V1TCore(nn.Module):
    """Pictures (each frame one) [M, B, T, H, W, C] to features [M, B, T, H', W', F].

    Patches and one token more, which the readout does not see, attend to each other.
    Signals that are appended to the video go through an MLP in every block and are
    added to its tokens. With `not_self` no token attends to itself and each head learns
    a scale. Every head is as wide as a token.

    Li et al. 2023, https://openreview.net/forum?id=qHZs2p4ZD4. Frames are not cropped,
    as by the defaults of the original.
    """

    input_channels: int
    video_channels: int = 1  # the other ones are signals
    patch: int = 8
    patch_stride: int = 1
    features: int = 155
    blocks: int = 4
    heads: int = 4
    hidden: int = 488
    states: bool = True  # else signals are part of the patches
    not_self: bool = False
    bias: bool = True
    drop_patches: float = 0.0229
    drop_block: float = 0.2544  # of attention weights and of both parts of a block
    drop_path: float = 0.0
    remat: bool = False
    norm_groups: str = "mouse"  # no batch norm here; accepted as by every core
    train_stride = 1
    causal = True  # a map depends on its own frame only

    @property
    def penalties(self) -> Offered:
        """None of its own; the original has an L1 of all its weights."""
        return {}

    @property
    def lost_frames(self) -> int:
        """Frames by which the output is shorter than the input: none."""
        return 0

    def out_shape(self, frames: int, height: int, width: int) -> tuple[int, ...]:
        """Frames, rows, columns and features of the output; no parameters needed."""
        return (*self._geometry().out(frames, height, width), self.features)

    @nn.compact
    def __call__(
        self, x_mbthwc: Array, *, train: bool, mice_m: Array | None = None
    ) -> Array:
        """Features of all mice at once."""
        del mice_m
        check_channels(x_mbthwc, self.input_channels, "V1TCore")
        m, b, *shape = x_mbthwc.shape
        t, h, w, f = self.out_shape(*shape[:3])
        state = None
        if self.states and self.input_channels > self.video_channels:
            state = x_mbthwc[..., 0, :1, self.video_channels :]
            x_mbthwc = x_mbthwc[..., : self.video_channels]
        patches = PicturePatches(f, self._geometry(), name="patches")(x_mbthwc)
        normal = nn.initializers.normal(1.0)
        first = self.param("first_token", normal, (f,)).astype(patches.dtype)
        place = self.param("positions", normal, (1 + h * w, f)).astype(patches.dtype)
        first = jnp.broadcast_to(first[(None,) * 4], (m, b, t, 1, f))
        x = jnp.concatenate([first, patches.reshape(m, b, t, h * w, f)], 3)
        x = dropped(self, x + place[None, None, None], self.drop_patches, train=train)
        x = self._blocks(x, state, train=train)
        return x[:, :, :, 1:].reshape(m, b, t, h, w, f)

    def _geometry(self) -> Geometry:
        return Geometry.of((self.patch, self.patch), stride=self.patch_stride)

    def _blocks(self, x: Array, state: Array | None, *, train: bool) -> Array:
        options = BlockOptions(
            heads=self.heads,
            head_width=self.features,
            hidden=self.hidden,
            scale=self.features**-0.5,
            bias=self.bias,
            drop_weights=True,
            not_self=self.not_self,
            drop_attention=self.drop_block,
            drop_hidden=self.drop_block,
            drop_path=self.drop_path,
        )

        def call(block: nn.Module, x: Array, state: Array | None) -> Array:
            return block(x, state, train=train)  # pyright: ignore[reportCallIssue]

        call = nn.remat(call) if self.remat else call
        for i in range(self.blocks):
            x = call(SequentialBlock(options, name=f"block{i}"), x, state)
        return x


class PicturePatches(nn.Module):
    """Project patches to tokens [M, B, T, H', W', F].

    The kernel is [C * rows * columns, F], in the order of the original.
    """

    features: int
    geometry: Geometry

    @nn.compact
    def __call__(self, x_mbthwc: Array) -> Array:
        """Tokens."""
        channels, size = x_mbthwc.shape[-1], self.geometry.size
        values = channels * size[0] * size[1]
        start = uniform(values)
        kernel = self.param("kernel", start, (values, self.features))
        bias = self.param("bias", start, (self.features,))
        taps = jnp.moveaxis(kernel.reshape(channels, *size, -1), 0, 2)
        return convolutions.spatial_conv(
            x_mbthwc, taps.astype(x_mbthwc.dtype), bias, stride=self.geometry.stride
        )
