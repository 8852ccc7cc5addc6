"""Batch normalization whose statistics belong to each mouse or to the whole batch."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.errors import unknown

Array = Any
GROUPS = ("mouse", "batch")
SPACE = (1, 2, 3, 4)  # windows, frames, rows, columns


class BatchNorm(nn.Module):
    """Normalize features over windows, frames and pixels; [M, B, T, H, W, F] to same.

    Groups "mouse": each mouse by its own statistics, as if the mice came one batch
    after the other; they share one running mean and variance, updated in mouse order.
    Groups "batch": one set of statistics over all real mice, one update.
    Mice that are False in mice_m are padding: they touch no statistic.

    Momentum is PyTorch's: the weight of the new batch. The running variance is the
    unbiased one. With rotations R the features are R blocks (orientation-major) that
    share statistics and affine parameters. Statistics are float32 in any precision.
    Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167.
    """

    momentum: float = 0.1
    use_scale: bool = True
    use_bias: bool = True
    rotations: int = 1
    groups: str = "mouse"
    epsilon: float = 1e-5
    holds_statistics = True  # what freezes weights freezes these too

    @nn.compact
    def __call__(
        self, x_mbthwf: Array, *, train: bool, mice_m: Array | None = None
    ) -> Array:
        """Normalized features; in training the running statistics move if mutable."""
        if self.groups not in GROUPS:
            raise unknown("group of batch norm statistics", self.groups, GROUPS)
        mice, features = x_mbthwf.shape[0], x_mbthwf.shape[-1] // self.rotations
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (features,))
        running_var = self.variable("batch_stats", "var", jnp.ones, (features,))
        x = x_mbthwf.astype(jnp.float32)
        if train:
            real_m = jnp.ones(mice, bool) if mice_m is None else jnp.asarray(mice_m)
            mean_mf, var_mf, count = self._statistics(x, real_m)
            if self.is_mutable_collection("batch_stats") and not self.is_initializing():
                self._update(running_mean, running_var, mean_mf, var_mf, count, real_m)
        else:
            mean_mf, var_mf = running_mean.value[None], running_var.value[None]
        gain_mf = jax.lax.rsqrt(var_mf + self.epsilon)
        if self.use_scale:
            scale_f = self.param("scale", nn.initializers.ones, (features,))
            gain_mf = gain_mf * scale_f[None]
        y = (x - self._spread(mean_mf)) * self._spread(gain_mf)
        if self.use_bias:
            bias_f = self.param("bias", nn.initializers.zeros, (features,))
            y = y + self._spread(bias_f[None])
        return y.astype(x_mbthwf.dtype)

    def _statistics(self, x: Array, real_m: Array) -> tuple[Array, Array, Array]:
        """Mean and biased variance [M or 1, F], and how many values each is of.

        Two passes, per mouse first, so that a mesh needs nothing but all-reduces and
        large means cost no precision.
        """
        count = x[0, ..., 0].size * self.rotations
        mean_mf = self._merge(x.mean(SPACE))
        if self.groups == "mouse":
            var_mf = self._merge(jnp.square(x - self._spread(mean_mf)).mean(SPACE))
            return mean_mf, var_mf, jnp.float32(count)
        weight_m1 = (real_m / jnp.maximum(real_m.sum(), 1)).astype(jnp.float32)[:, None]
        mean_1f = (mean_mf * weight_m1).sum(0, keepdims=True)
        var_mf = self._merge(jnp.square(x - self._spread(mean_1f)).mean(SPACE))
        var_1f = (var_mf * weight_m1).sum(0, keepdims=True)
        return mean_1f, var_1f, jnp.float32(count) * real_m.sum()

    def _update(self, running_mean, running_var, mean_mf, var_mf, count, real_m):
        """Move the running statistics once per real mouse (or once), in closed form."""
        unbiased_mf = var_mf * (count / jnp.maximum(count - 1.0, 1.0))
        if self.groups == "batch":
            real_m = real_m.any(keepdims=True)
        # Real mice after each one, a number at a time: where mice lie on several
        # devices, anything with an axis of mice would be gathered.
        at = np.arange(len(real_m))
        later_m = jnp.stack([jnp.sum(real_m, where=at > m) for m in at])
        keep = 1.0 - self.momentum
        weight_m = jnp.where(real_m, self.momentum * keep**later_m, 0.0)
        for running, new_mf in ((running_mean, mean_mf), (running_var, unbiased_mf)):
            moved_f = (weight_m[:, None] * jax.lax.stop_gradient(new_mf)).sum(0)
            running.value = keep ** real_m.sum() * running.value + moved_f

    def _merge(self, statistic: Array) -> Array:
        """[M, R*F] to [M, F]: orientations share statistics."""
        return statistic.reshape(len(statistic), self.rotations, -1).mean(1)

    def _spread(self, statistic: Array) -> Array:
        """[M, F] to [M, 1, 1, 1, 1, R*F]."""
        tiled = jnp.tile(statistic, (1, self.rotations))
        return tiled[:, None, None, None, None, :]
