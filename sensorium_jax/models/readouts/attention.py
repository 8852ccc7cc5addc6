"""Each neuron pools the maps by its own softmax attention over pixels."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from sensorium_jax.errors import UserError
from sensorium_jax.models.ops.convolutions import spatial_conv
from sensorium_jax.models.parts.norm import BatchNorm
from sensorium_jax.models.parts.penalties import Offered
from sensorium_jax.models.readouts.readout import FEATURES_L1, normal, real
from sensorium_jax.models.rows import Mouse, Side, per_neuron

Array = Any


class AttentionReadout(nn.Module):
    """Drive of one mouse; attention maps come from convolutions of the features.

    layers - 1 blocks of convolution, batch norm and ELU keep the width, the last
    convolution gives one map per neuron (neuralpredictors' attention readout).
    """

    layers: int = 1
    kernel: int = 1
    init_std: float = 1e-3
    momentum: float = 0.1
    use_bias: bool = True
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
                "The attention readout cannot follow the eye: its maps are not points. "
                "Build the model without a shifter, or with a Gaussian readout."
            )
        width = feat_bthwf.shape[-1]
        x = feat_bthwf[None]
        for i in range(self.layers - 1):
            x = _Conv(self.kernel, width, name=f"conv{i}")(x, mouse)
            x = BatchNorm(self.momentum, name=f"norm{i}")(x, train=train)
            x = jax.nn.elu(x)
        x = _Conv(self.kernel, None, name=f"conv{self.layers - 1}")(x, mouse)[0]
        b, t, h, w, neurons = x.shape
        share_btpn = jax.nn.softmax(x.reshape(b, t, h * w, neurons), axis=2)
        feat_btpf = feat_bthwf.reshape(b, t, h * w, width)
        pooled_btnf = jnp.einsum("btpn,btpf->btnf", share_btpn, feat_btpf)
        weight_nf = self.param("features", normal(mouse, self.init_std), (width,))
        drive_btn = jnp.einsum("btnf,nf->btn", pooled_btnf, weight_nf)
        if self.use_bias:
            bias_n = self.param("bias", lambda _: mouse.rates_n)
            drive_btn = drive_btn + bias_n[None, None, :]
        return drive_btn


class _Conv(nn.Module):
    kernel: int
    features: int | None  # None: one for each neuron

    @nn.compact
    def __call__(self, x: Array, mouse: Mouse) -> Array:
        """Convolution with bias of [1, B, T, H, W, C]."""
        k, channels = self.kernel, x.shape[-1]
        neurons = self.features is None
        out = self.features or mouse.neurons_n.shape[0]
        count = jnp.maximum(mouse.neurons_n.sum(), 1) if neurons else out

        def start(key, shape):  # Xavier normal, counting only real neurons
            key = jax.random.fold_in(key, mouse.id)
            draw = per_neuron(key, out, shape[:-1], jax.random.normal)
            draw = draw * jnp.sqrt(2 / (k * k * (channels + count)))
            return jnp.moveaxis(real(draw, mouse) if neurons else draw, 0, -1)

        kernel_hwio = self.param("kernel", start, (k, k, channels, out))
        bias_f = self.param("bias", nn.initializers.zeros, (out,))
        # The original pads by one pixel whenever the kernel is larger than one.
        return spatial_conv(x, kernel_hwio, bias_f, padding=int(k > 1))
