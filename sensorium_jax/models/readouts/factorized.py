"""Each neuron reads through a mask and a feature vector (Klindt et al. 2017)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.lax import stop_gradient

from sensorium_jax.errors import UserError
from sensorium_jax.models.readouts.gaussian import real
from sensorium_jax.models.rows import Mouse, Side, per_neuron

Array = Any


class FactorizedReadout(nn.Module):
    """Drive of one mouse: sum over features of weight times masked mean.

    Masks are divided by their L2 norm with `normalize`; `positive_spatial` takes their
    magnitude, `constrain_positive` cuts masks and weights at zero.
    """

    normalize: bool = True
    positive_spatial: bool = False
    constrain_positive: bool = False
    init_std: float = 1e-3
    use_bias: bool = True

    @nn.compact
    def __call__(
        self, feat_bthwf: Array, mouse: Mouse, side: Side, *, train: bool
    ) -> Array:
        """Drive of each neuron, [B, T, N]."""
        del train
        if side.shift_bt2 is not None:
            raise UserError(
                "The factorized readout cannot follow the eye: its masks are fixed to "
                "pixels. Build the model without a shifter, or with a Gaussian readout."
            )
        height, width, features = feat_bthwf.shape[2:]
        spatial_nhw = self.param("spatial", self._normal(mouse), (height, width))
        weight_nf = self.param("features", self._normal(mouse), (features,))
        if self.constrain_positive:
            weight_nf = _cut(weight_nf)
        mask_nhw = masks(
            spatial_nhw,
            normalize=self.normalize,
            positive=self.positive_spatial,
            constrain=self.constrain_positive,
        )
        pooled_btnf = jnp.einsum("bthwf,nhw->btnf", feat_bthwf, mask_nhw)
        drive_btn = jnp.einsum("btnf,nf->btn", pooled_btnf, weight_nf)
        if self.use_bias:
            bias_n = self.param("bias", lambda _: mouse.rates_n)
            drive_btn = drive_btn + bias_n[None, None, :]
        return drive_btn

    def _normal(self, mouse: Mouse):
        def start(key, shape):
            key = jax.random.fold_in(key, mouse.id)
            neurons = mouse.neurons_n.shape[0]
            value = per_neuron(key, neurons, shape, jax.random.normal)
            return real(self.init_std * value, mouse)

        return start


def masks(
    spatial: Array,
    *,
    normalize: bool = True,
    positive: bool = False,
    constrain: bool = False,
) -> Array:
    """Masks as applied, from parameters [..., H, W]."""
    if normalize:
        square = jnp.sum(spatial**2, (-2, -1), keepdims=True)
        # A mask of zeros (a padded neuron) must not give the gradient of sqrt at 0.
        norm = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
        spatial = spatial / (norm + 1e-6)
    if constrain:
        return _cut(spatial)
    return jnp.abs(spatial) if positive else spatial


def _cut(x: Array) -> Array:
    """x where positive, else 0; the gradient passes, as the original edits the data."""
    return stop_gradient(jnp.maximum(x, 0)) + (x - stop_gradient(x))
