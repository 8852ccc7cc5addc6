"""From the pupil's position to a shift of the retina, one network per mouse."""

from typing import Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp

from sensorium_jax.models.parts.dense import Dense
from sensorium_jax.models.parts.penalties import Leaves, Offered
from sensorium_jax.models.rows import Mouse

Array = Any


class Shifter(Protocol):
    """A linen module that moves where the neurons of one mouse look."""

    @property
    def penalties(self) -> Offered:
        """Penalties of its own by name: (regex on paths below it, function)."""
        ...

    def __call__(self, pupil_bt2: Array, mouse: Mouse) -> Array:
        """Shift in grid units, [B, T, 2]."""
        ...


class MLPShifter(nn.Module):
    """Linear layers with tanh after each, the last included (Lurz et al. 2021)."""

    hidden: int = 5
    layers: int = 3
    use_bias: bool = True
    from_zero: bool = False  # no shift at the start

    @property
    def penalties(self) -> Offered:
        """None; the originals have none either."""
        return {}

    @nn.compact
    def __call__(self, pupil_bt2: Array, mouse: Mouse) -> Array:
        """Shift in grid units, [B, T, 2]."""
        x = pupil_bt2
        for i in range(self.layers):
            last = i == self.layers - 1
            layer = Dense(
                2 if last else self.hidden,
                use_bias=self.use_bias,
                zero=last and self.from_zero,
                name=f"layer{i}",
            )
            x = jnp.tanh(layer(x, mouse))
        return x


class StaticAffineShifter(nn.Module):
    """tanh(W pupil + b), both started close to zero."""

    use_bias: bool = True
    init_std: float = 1e-6

    @property
    def penalties(self) -> Offered:
        """Small weights."""
        return {"shifter_l2": ("kernel", shifter_l2)}

    @nn.compact
    def __call__(self, pupil_bt2: Array, mouse: Mouse) -> Array:
        """Shift in grid units, [B, T, 2]."""

        def start(key, shape):
            key = jax.random.fold_in(key, mouse.id)
            return self.init_std * jax.random.normal(key, shape)

        kernel = self.param("kernel", start, (2, 2))
        y = jnp.einsum("btc,cf->btf", pupil_bt2, kernel, precision="highest")
        if self.use_bias:
            y = y + self.param("bias", start, (2,))[None, None, :]
        return jnp.tanh(y)


def shifter_l2(leaves: Leaves, neurons_mn: Array) -> Array:
    """Mean of squares of the static affine shifter's kernel, [M]."""
    del neurons_mn
    (kernel_mcf,) = leaves.values()
    return jnp.mean(kernel_mcf**2, (1, 2))
