"""Each neuron reads the core's maps at one learned point (Lurz et al. 2021)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.lax import stop_gradient

from sensorium_jax.errors import unknown
from sensorium_jax.models.ops.sample import point_readout
from sensorium_jax.models.parts.dense import Dense
from sensorium_jax.models.parts.penalties import (
    Function,
    Leaves,
    Offered,
    by_last_word,
)
from sensorium_jax.models.parts.state import StateBranch
from sensorium_jax.models.readouts.readout import (
    FEATURES_L1,
    readout_l1,
    real,
    uniform,
)
from sensorium_jax.models.rows import Mouse, Side, per_neuron

Array = Any

SIGMA = {"full": (2, 2), "uncorrelated": (2,), "isotropic": (1,)}


class CortexPredictor(nn.Module):
    """Where a neuron looks, predicted from where it lies in cortex."""

    hidden: int = 30
    hidden_layers: int = 1
    tanh: bool = True
    from_middle: bool = False  # every position starts in the middle of the map

    @nn.compact
    def __call__(self, mouse: Mouse) -> Array:
        """Mean positions in grid units, [N, 2]."""
        x = mouse.coordinates_n2
        for i in range(self.hidden_layers):
            x = jax.nn.elu(Dense(self.hidden, name=f"layer{i}")(x, mouse))
        name = f"layer{self.hidden_layers}"
        x = Dense(2, zero=self.from_middle, name=name)(x, mouse)
        return jnp.tanh(x) if self.tanh else x


class GaussianReadout(nn.Module):
    """Drive of one mouse; positions vary around their means while training.

    kind says how: 'full' (a 2x2 matrix times standard normal noise), 'uncorrelated'
    (one width per axis) or 'isotropic'. Without a predictor the means are free. With
    `shared`, neurons of one match number share features and differ in scale and bias.
    """

    kind: str = "full"
    predictor: CortexPredictor | None = CortexPredictor()
    init_mu_range: float = 0.3
    init_sigma: float = 0.1
    use_bias: bool = True
    shared: int = 0  # how many distinct feature vectors; 0: one for each neuron
    per_frame: bool = True  # a position for every frame, or one for the whole batch
    align_corners: bool = True
    log_bias: bool = False  # start the bias at the log of the mean rates
    softplus_bias: bool = False  # start it where a softplus gives the mean rates
    free_offset: bool = False  # each neuron may leave its predicted position
    state: bool = False  # behavior and pupil add to the features that are read

    @property
    def needs_coordinates(self) -> bool:
        """Whether positions are predicted from where neurons lie in cortex."""
        return self.predictor is not None

    @property
    def penalties(self) -> Offered:
        """L1 of the feature weights; shared ones need shared_readout_l1."""
        return {} if self.shared else {"readout_l1": FEATURES_L1}

    @nn.compact
    def __call__(
        self, feat_bthwf: Array, mouse: Mouse, side: Side, *, train: bool
    ) -> Array:
        """Drive of each neuron, [B, T, N]."""
        b, t, height, width, features = feat_bthwf.shape
        weight_nf = self._features(mouse, features)
        mu_n2, sigma = self._mean(mouse), self._sigma(mouse)
        noise_btn2 = None
        if train:
            noise_btn2 = side.noise_btn2
            if noise_btn2 is None:
                noise_btn2 = position_noise(
                    side.key, (b, t) if self.per_frame else (1, 1), mu_n2.shape[0]
                )
        grid_btn2 = position(mu_n2, sigma, noise_btn2)
        if side.shift_bt2 is not None:
            grid_btn2 = grid_btn2 + side.shift_bt2[:, :, None, :]
        if not self.align_corners:
            size_2 = jnp.array([width, height], jnp.float32)[None, None, None]
            grid_btn2 = ((grid_btn2 + 1) * size_2 - 1) / jnp.maximum(size_2 - 1, 1) - 1
        drive_btn = point_readout(feat_bthwf, grid_btn2, weight_nf)
        if self.state:  # one vector for all neurons of a frame
            state_btf = StateBranch(name="state_branch")(side, mouse, features)
            drive_btn = drive_btn + jnp.einsum("btf,nf->btn", state_btf, weight_nf)
        if self.use_bias:
            start_n = mouse.rates_n
            if self.log_bias:
                start_n = jnp.log(jnp.maximum(start_n, 1e-2))
            if self.softplus_bias:
                start_n = jnp.log(jnp.expm1(jnp.maximum(start_n, 1e-2)))
            bias_n = self.param("bias", lambda _: start_n)
            drive_btn = drive_btn + bias_n[None, None, :]
        return drive_btn

    def _features(self, mouse: Mouse, features: int) -> Array:
        rows = self.shared or mouse.neurons_n.shape[0]

        def start(_, shape):
            value = jnp.full(shape, 1 / features)
            return value if self.shared else real(value, mouse)

        weight_nf = self.param("features", start, (rows, features))
        if not self.shared:
            return weight_nf
        scale_n = self.param("scales", lambda _: real(jnp.ones(()), mouse))
        return scale_n[:, None] * weight_nf[mouse.match_n]

    def _mean(self, mouse: Mouse) -> Array:
        if self.predictor is not None:
            mu_n2 = self.predictor(mouse)
            if self.free_offset:
                shape = (mouse.neurons_n.shape[0], 2)
                mu_n2 = mu_n2 + self.param("offset", nn.initializers.zeros, shape)
            return mu_n2
        mu_n2 = self.param("mu", uniform(mouse, self.init_mu_range), (2,))
        # The original writes the clamped value into the parameter: its gradient passes.
        return stop_gradient(jnp.clip(mu_n2, -1, 1)) + (mu_n2 - stop_gradient(mu_n2))

    def _sigma(self, mouse: Mouse) -> Array:
        if self.kind not in SIGMA:
            raise unknown("kind of Gaussian", self.kind, SIGMA)
        start = uniform(mouse, self.init_sigma)
        if self.kind != "full":

            def start(key, shape):
                del key
                neurons = mouse.neurons_n.shape[0]
                return real(jnp.full((neurons, *shape), self.init_sigma), mouse)

        return self.param("sigma", start, SIGMA[self.kind])


def shared_readout_l1(match_mn: Array, *, mean: bool = False) -> Function:
    """Penalty function of shared features: |scale * features of its match|, [M].

    match_mn is the encoder's info 'match_n'; the pattern matches scales and features.
    """

    def function(leaves: Leaves, neurons_mn: Array) -> Array:
        named = by_last_word(leaves)
        rows_mnf = jnp.take_along_axis(named["features"], match_mn[:, :, None], axis=1)
        scaled = {"features": named["scales"][:, :, None] * rows_mnf}
        return readout_l1(scaled, neurons_mn, mean=mean)

    return function


def position_noise(key: Array, frames: tuple[int, int], neurons: int) -> Array:
    """Standard normal draws [B, T, N, 2]; each neuron's are its own."""
    draws_nbt2 = per_neuron(key, neurons, (*frames, 2), jax.random.normal)
    return jnp.moveaxis(draws_nbt2, 0, 2)


def position(mu_n2: Array, sigma: Array, noise_btn2: Array | None) -> Array:
    """Where each neuron reads, inside the map, [B, T, N, 2]; B and T may be 1."""
    at_btn2 = mu_n2[None, None]
    if noise_btn2 is not None and sigma.ndim == 3:
        # Not as a product of matrices: accelerators would make one for each neuron.
        at_btn2 = at_btn2 + jnp.sum(sigma[None, None] * noise_btn2[..., None, :], -1)
    elif noise_btn2 is not None:
        at_btn2 = at_btn2 + noise_btn2 * sigma[None, None]
    # PyTorch's clamp passes the gradient on the border itself; jnp.clip halves it.
    return jnp.where(jnp.abs(at_btn2) <= 1, at_btn2, jnp.sign(at_btn2))
