"""Each neuron reads through a mask and a feature vector (Klindt et al. 2017)."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax.lax import stop_gradient

from sensorium_jax.errors import UserError
from sensorium_jax.models.parts.penalties import (
    Leaves,
    Offered,
    by_last_word,
    neurons_per_mouse,
)
from sensorium_jax.models.readouts.readout import FEATURES_L1, normal
from sensorium_jax.models.rows import Mouse, Side

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
    needs_coordinates = False

    @property
    def penalties(self) -> Offered:
        """L1 of the feature weights alone, or jointly with that of the masks."""
        joint = partial(
            factorized_l1,
            normalize=self.normalize,
            positive_spatial=self.positive_spatial,
            constrain_positive=self.constrain_positive,
        )
        return {"readout_l1": FEATURES_L1, "factorized_l1": ("spatial|features", joint)}

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
        start = normal(mouse, self.init_std)
        spatial_nhw = self.param("spatial", start, (height, width))
        weight_nf = self.param("features", start, (features,))
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


def factorized_l1(
    leaves: Leaves,
    neurons_mn: Array,
    *,
    mean: bool = False,
    per_neuron: bool = False,
    normalize: bool = True,
    positive_spatial: bool = False,
    constrain_positive: bool = False,
) -> Array:
    """Joint L1 of masks and features, [M]; the last three arguments are the readout's.

    The original multiplies the sum over all masks by the sum over all features (a
    broadcast gone wrong, about N times too large); per_neuron=True sums over neurons
    the product of each one's own.
    """
    named = by_last_word(leaves)
    spatial_mnhw, weight_mnf = named["spatial"], named["features"]
    mask_mnhw = masks(
        spatial_mnhw,
        normalize=normalize,
        positive=positive_spatial,
        constrain=constrain_positive,
    )
    real = neurons_mn.astype(weight_mnf.dtype)
    where_mn = real * jnp.sum(jnp.abs(mask_mnhw), (2, 3))
    what_mn = real * jnp.sum(jnp.abs(weight_mnf), 2)
    if per_neuron:
        total_m = jnp.sum(where_mn * what_mn, 1)
    else:
        total_m = jnp.sum(where_mn, 1) * jnp.sum(what_mn, 1)
    if not mean:
        return total_m
    entries = weight_mnf.shape[2] * spatial_mnhw.shape[2] * spatial_mnhw.shape[3]
    return total_m / (neurons_per_mouse(neurons_mn) * entries)


def _cut(x: Array) -> Array:
    """x where positive, else 0; the gradient passes, as the original edits the data."""
    return stop_gradient(jnp.maximum(x, 0)) + (x - stop_gradient(x))
