"""Where a population looks: how much its rates say of every pixel."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.insilico import batches, constraints, fields, stimuli
from sensorium_jax.insilico.subjects import Subject

Array = Any
LEAST = 0.1  # added to rates by their neurons' SDs, so that silence is not certainty
BLUR = 1.0  # pixels; fewer probes do with it


def seen(
    subject: Subject,
    factor_n: np.ndarray,
    *,
    probes: int = 32,
    seed: int = 0,
    memory: float | None = None,
) -> np.ndarray:
    """How well all neurons together see each pixel, 0..1 of the best one, [H, W].

    The root of the pixel's Fisher information of Poisson rates r (multiplied by
    factor_n), sum over neurons and frames of (dr / dx)^2 / r, at pieces of pink noise.
    Instead of a gradient for every neuron, each noise takes one of a sum with random
    signs, whose mean square is the same (Hutchinson 1989).
    """
    frame, channels = fields.frame_of(subject), subject.frame[2]
    factor_1n = jnp.asarray(factor_n, jnp.float32)[None]

    def signed(z_bthwc, sign_bn):
        rates_bn = subject.rates(subject.screen.shown(z_bthwc))[:, -1] * factor_1n
        level_bn = jax.lax.stop_gradient(jnp.maximum(rates_bn, 0) + LEAST)
        return (sign_bn * rates_bn / jnp.sqrt(level_bn)).sum()

    def one(seed_b):
        z_bthw = subject.screen.swing * jax.vmap(
            lambda s: stimuli.noise(frame, s, exponent=1.0)
        )(seed_b)
        z_bthwc = jnp.broadcast_to(z_bthw[..., None], (*z_bthw.shape, channels))
        keys_b = jax.vmap(lambda s: jax.random.key(s.astype(jnp.int32)))(seed_b)
        size = (subject.neurons,)
        sign_bn = jax.vmap(lambda k: jax.random.rademacher(k, size, jnp.float32))(
            keys_b
        )
        slope = jax.grad(signed)(z_bthwc, sign_bn)
        return (slope**2).sum((1, 4))

    seeds = (seed * 1000 + np.arange(probes)).astype(np.float32)
    square_hw = batches.every(one, seeds, memory=memory).mean(0, dtype=np.float64)
    smooth = constraints.blur(jnp.asarray(square_hw)[None, None, ..., None], BLUR)
    root_hw = np.sqrt(np.maximum(np.asarray(smooth)[0, 0, ..., 0], 0))
    return root_hw / max(float(root_hw.max()), 1e-30)
