"""From behavior to a gain per neuron, one network per mouse."""

from typing import Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp

from sensorium_jax.models.parts.dense import Dense
from sensorium_jax.models.parts.penalties import Leaves, Offered, neurons_per_mouse
from sensorium_jax.models.rows import Mouse

Array = Any


class Modulator(Protocol):
    """A linen module from the behavior of one mouse to what it does to drives."""

    @property
    def additive(self) -> bool:
        """Whether its output is added to the drive, or multiplies it."""
        ...

    @property
    def penalties(self) -> Offered:
        """Penalties of its own by name: (regex on paths below it, function)."""
        ...

    def __call__(self, behavior_btk: Array, mouse: Mouse) -> Array:
        """Term or factor of the drive of each neuron, [B, T, N]."""
        ...


class LogGain(nn.Module):
    """What an exponential output adds to its drive: the log of a gain, at first 0.

    Goes with Output('exp'), where a sum before the exponential is a gain after it.
    """

    hidden: int = 8
    additive = True

    @property
    def penalties(self) -> Offered:
        """Small gains."""
        return {"modulator_l1": ("kernel", modulator_l1)}

    @nn.compact
    def __call__(self, behavior_btk: Array, mouse: Mouse) -> Array:
        """Term of the drive, [B, T, N]."""
        x = jnp.tanh(Dense(self.hidden, name="layer0")(behavior_btk, mouse))
        shape = (self.hidden, mouse.neurons_n.shape[0])
        kernel_cn = self.param("kernel", nn.initializers.zeros, shape)
        return jnp.einsum("btc,cn->btn", x, kernel_cn)


class MLPModulator(nn.Module):
    """Gain ELU(MLP(behavior)) + 1, with a ReLU after every linear layer.

    The last ReLU makes every gain at least 1, as in neuralpredictors.
    """

    hidden: int = 10
    layers: int = 2
    use_bias: bool = True
    additive = False

    @property
    def penalties(self) -> Offered:
        """Small weights of the last layer."""
        return {"modulator_l1": (f"layer{self.layers - 1}/kernel", modulator_l1)}

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


def modulator_l1(leaves: Leaves, neurons_mn: Array) -> Array:
    """Mean magnitude of the modulator's last kernel over real neurons, [M]."""
    (kernel_mcn,) = leaves.values()
    sum_m = jnp.sum(jnp.sum(jnp.abs(kernel_mcn), 1), 1, where=neurons_mn)
    return sum_m / (kernel_mcn.shape[1] * neurons_per_mouse(neurons_mn))
