"""Each neuron weighs one group of the core's features (DwiseNeuro, 2023)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from sensorium_jax.errors import UserError
from sensorium_jax.models.parts.drop import drop_features
from sensorium_jax.models.parts.penalties import Offered
from sensorium_jax.models.readouts.readout import FEATURES_L1, normal, real
from sensorium_jax.models.rows import Mouse, Side

Array = Any


class GroupedReadout(nn.Module):
    """Drive of one mouse from the mean of its maps, a feature vector a frame.

    The features are cut into groups; a neuron whose match number is m reads group
    m mod groups, so neurons in order take turns. (The original gives the first half of
    the neurons the first half of the features; imported weights keep that by their
    match numbers.) While training, whole features are left out of a window at random.
    """

    groups: int = 2
    drop: float = 0.4
    needs_coordinates = False

    @property
    def penalties(self) -> Offered:
        """L1 of the feature weights."""
        return {"readout_l1": FEATURES_L1}

    @nn.compact
    def __call__(
        self, feat_bthwf: Array, mouse: Mouse, side: Side, *, train: bool
    ) -> Array:
        """Drive of each neuron, [B, T, N]."""
        if side.shift_bt2 is not None:
            raise UserError(
                "The grouped readout cannot follow the eye: it sees no pixels. Build "
                "the model without a shifter, or with a Gaussian readout."
            )
        feat_btf = feat_bthwf.mean((2, 3)).astype(jnp.float32)
        if train and self.drop and side.key is not None:
            feat_btf = drop_features(feat_btf, self.drop, side.key)
        features = feat_btf.shape[-1]
        if features % self.groups:
            raise UserError(
                f"The core gives {features} features, which {self.groups} groups do "
                "not divide. Change readout.groups or the core."
            )
        share = jnp.maximum(jnp.ceil(mouse.neurons_n.sum() / self.groups), 1)
        start = normal(mouse, jnp.sqrt(2 / share))
        weight_nf = self.param("features", start, (features // self.groups,))
        bias_n = self.param("bias", lambda _: real(jnp.zeros(()), mouse))
        whole_nf = spread(weight_nf, mouse.match_n, self.groups)
        return jnp.einsum("btf,nf->btn", feat_btf, whole_nf) + bias_n[None, None, :]


def spread(weight_nf: Array, match_n: Array, groups: int) -> Array:
    """Weights of all features [N, groups x F], zero outside each neuron's group."""
    own_ng = jax.nn.one_hot(match_n % groups, groups, dtype=weight_nf.dtype)
    return (own_ng[:, :, None] * weight_nf[:, None, :]).reshape(len(match_n), -1)
