"""A small encoder over a toy core, its inputs, and how to run it."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.models import rows
from sensorium_jax.models.encoder import Encoder, create
from sensorium_jax.models.parts.modulator import MLPModulator
from sensorium_jax.models.parts.norm import BatchNorm
from sensorium_jax.models.parts.shifter import MLPShifter
from sensorium_jax.models.readouts.gaussian import GaussianReadout
from support.quick import quickly


class Core(nn.Module):
    """Two frames and all channels to a few features, with batch norm."""

    features: int = 4
    lost_frames = 2
    norm_groups = "mouse"
    train_stride = 1
    causal = True
    penalties = {}

    def out_shape(self, frames, height, width):
        return frames - 2, height, width, self.features

    @nn.compact
    def __call__(self, x, *, train, mice_m=None):
        shape = (3, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.normal(0.3), shape)
        frames = x.shape[2] - 2
        y = sum(  # no matrix product: its rounding depends on how many mice there are
            jnp.sum(x[:, :, i : i + frames, ..., None] * kernel[i][(None,) * 5], -2)
            for i in range(3)
        )
        return jnp.tanh(BatchNorm(name="norm")(y, train=train, mice_m=mice_m))


SMALL = Encoder(
    Core(),
    GaussianReadout(),
    shifter=MLPShifter(),
    modulator=MLPModulator(),
    behavior_as_channels=True,
)


def start(info, encoder=SMALL, seed=0, **rows_options):
    with quickly():
        return create(
            encoder,
            rows.mouse_rows(info, **rows_options),
            jax.random.key(seed),
            frame_shape=info.frame_shape,
            behaviors=info.behaviors,
        )


def inputs(names, windows=2, frames=5, seed=0):
    """Video, behavior and pupil that follow from each mouse's name."""
    out = []
    for name in names:
        rng = np.random.default_rng([seed, ord(name)])
        shape = (windows, frames)
        out.append([rng.normal(size=(*shape, *s)) for s in ((8, 9, 1), (2,), (2,))])
    return [np.stack(x).astype(np.float32) for x in zip(*out, strict=True)]


def answer(variables, x, *, train=False, encoder=SMALL, exact=False, **options):
    """Rates; in training with the draws of one fixed key.

    exact compiles as users do: without optimization, rounding depends on the shapes.
    """
    with quickly(not exact):
        return np.asarray(_apply(encoder, train, exact, variables, x, **options))


@partial(jax.jit, static_argnums=(0, 1, 2), static_argnames="all_readouts")
def _apply(encoder, train, exact, variables, x, **options):
    del exact  # only keeps the two ways of compiling apart
    rngs = {"sample": jax.random.key(5)}
    return encoder.apply(
        variables, *x, train=train, rngs=rngs, mutable=["batch_stats"], **options
    )[0]
