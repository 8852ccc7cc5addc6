"""What the animal does, as a vector that readouts add to the features that they read.

Of ViV1T, third in SENSORIUM 2023.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from sensorium_jax.models.parts.dense import Dense
from sensorium_jax.models.parts.transformer import LayerNorm
from sensorium_jax.models.rows import Mouse, Side

Array = Any


class StateBranch(nn.Module):
    """Behavior and pupil of a frame to one value for each feature, from -1 to 1.

    Linear, layer norm, GELU, linear, tanh; of one mouse.
    """

    @nn.compact
    def __call__(self, side: Side, mouse: Mouse, features: int) -> Array:
        """The vectors [B, T, F] of the frames that are answered."""
        signals = (side.behavior_btk, side.pupil_bt2)
        x = jnp.concatenate([x for x in signals if x is not None], -1)
        x = LayerNorm(name="norm")(Dense(features, name="layer0")(x, mouse))
        x = jax.nn.gelu(x, approximate=False)
        return jnp.tanh(Dense(features, name="layer1")(x, mouse))
