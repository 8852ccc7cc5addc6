"""From behavior to a gain per neuron, one network per mouse."""

from typing import Any

import flax.linen as nn
import jax

from sensorium_jax.models.dense import Dense
from sensorium_jax.models.rows import Mouse

Array = Any


class MLPModulator(nn.Module):
    """Gain ELU(MLP(behavior)) + 1, with a ReLU after every linear layer.

    The last ReLU makes every gain at least 1, as in neuralpredictors.
    """

    hidden: int = 10
    layers: int = 2
    use_bias: bool = True

    @nn.compact
    def __call__(self, behavior_btk: Array, mouse: Mouse) -> Array:
        """Factor of the drive before the output nonlinearity, [B, T, N]."""
        x, last = behavior_btk, self.layers - 1
        for i in range(last):
            layer = Dense(self.hidden, use_bias=self.use_bias, name=f"layer{i}")
            x = jax.nn.relu(layer(x, mouse))
        layer = Dense(
            mouse.neurons_n.shape[0],
            use_bias=self.use_bias,
            to_neurons=True,
            name=f"layer{last}",
        )
        return jax.nn.elu(jax.nn.relu(layer(x, mouse))) + 1
