"""Linear layers of one mouse, started as PyTorch starts them."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from sensorium_jax.models.rows import Mouse, per_neuron

Array = Any


class Dense(nn.Module):
    """Linear layer seeded by its mouse; [..., C] to [..., F].

    With to_neurons the outputs are the mouse's neurons, each seeded on its own.
    Kernel and bias start uniform within 1/sqrt(C).
    """

    features: int
    use_bias: bool = True
    to_neurons: bool = False
    zero: bool = False  # start at zero instead

    @nn.compact
    def __call__(self, x: Array, mouse: Mouse) -> Array:
        """Apply the layer."""
        bound = 0.0 if self.zero else 1 / math.sqrt(x.shape[-1])

        def start(key, shape):
            key = jax.random.fold_in(key, mouse.id)
            if not self.to_neurons:
                return jax.random.uniform(key, shape, minval=-bound, maxval=bound)
            draw = per_neuron(
                key,
                shape[-1],
                shape[:-1],
                lambda k, s: jax.random.uniform(k, s, minval=-bound, maxval=bound),
            )
            value = jnp.moveaxis(draw, 0, -1)
            mask = mouse.neurons_n.reshape((1,) * len(shape[:-1]) + (-1,))
            return jnp.where(mask, value, 0.0)

        kernel_cf = self.param("kernel", start, (x.shape[-1], self.features))
        y = jnp.einsum("...c,cf->...f", x, kernel_cf, precision="highest")
        if self.use_bias:
            bias_f = self.param("bias", start, (self.features,))
            y = y + bias_f.reshape((1,) * (y.ndim - 1) + (-1,))
        return y
