"""The film whose rates are nearest to recorded responses, by gradient.

It starts from faint noise: at plain grey cells that rectify have no gradient.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

from sensorium_jax.errors import unknown
from sensorium_jax.insilico import ascend, constraints
from sensorium_jax.insilico.ascend import Climb
from sensorium_jax.insilico.constraints import Budget
from sensorium_jax.insilico.subjects import Subject

Array = Any
LOSSES = ("poisson", "squared")
LEAST = 0.01  # added to rates by their neurons' SDs, so that none is impossible


def loss_of(rates_btn: Array, responses_btn: Array, weight_bn: Array, kind: str):
    """Mean over frames and neurons (those of weight), [B]; 0 where both agree.

    poisson: r - y log r less the same at r = y. squared: (r - y)^2.
    """
    if kind == "poisson":
        r, y = jnp.maximum(rates_btn, 0) + LEAST, jnp.maximum(responses_btn, 0) + LEAST
        each = r - y - y * (jnp.log(r) - jnp.log(y))
    elif kind == "squared":
        each = (rates_btn - responses_btn) ** 2
    else:
        raise unknown("loss", kind, LOSSES)
    count_b = jnp.maximum(weight_bn.sum(1), 1e-9) * each.shape[1]
    return jnp.einsum("btn,bn->b", each, weight_bn) / count_b


@lru_cache(maxsize=8)
def program(
    subject: Subject,
    factors: "Fixed",
    loss: str,
    climb: Climb,
    smooth_time: float,
    budget: Budget,
    shape: tuple[int, ...],
    seed: int,
) -> Callable[[dict[str, Array]], dict[str, Array]]:
    """For batches.every: rows of trials to films z [B, T, H, W, C] and their loss.

    A row has the trial's number, behavior, pupil, responses, the weight of every
    neuron, and the number of its start: every second is the negative of the one before.
    z is in units of contrast.
    """
    factor_1tn = jnp.asarray(factors.value, jnp.float32)[None]
    slow = _slow(smooth_time) if shape[0] > 1 else optax.identity()
    climb = climb._replace(optimizer=optax.chain(slow, ascend.optimizer_of(climb)))

    def rates(z_bthwc, rows):
        state = {"behavior_k": rows["behavior"], "pupil_2": rows["pupil"]}
        there = replace(subject, **state)
        rates_btn = there.rates(subject.screen.shown(z_bthwc))
        answered = rates_btn.shape[1]
        return rates_btn * factor_1tn[:, -min(answered, factor_1tn.shape[1]) :]

    def objective(z_bthwc, rows):
        rates_btn = rates(z_bthwc, rows)
        late_btn = rows["responses"][:, -rates_btn.shape[1] :]
        return -loss_of(rates_btn, late_btn, rows["weight"], loss)

    def one(rows):
        keys_b = ascend.keys(seed, rows["number"], rows["start"] // 2)
        turned_b = rows["start"] % 2 > 0
        climbed = ascend.ascend(
            objective, rows, keys_b, shape, climb, budget, turned_b=turned_b
        )
        z_bthwc = climbed.z[:, 0]
        rates_btn = rates(z_bthwc, rows)
        late_btn = rows["responses"][:, -rates_btn.shape[1] :]
        return {
            "z": z_bthwc,
            "loss": -climbed.value[:, 0],
            "loss_at_start": -climbed.history[:, 0],
            "steps": climbed.steps,
            "rate_correlation": _alike(rates_btn, late_btn),
        }

    return one


def _slow(sigma: float) -> Any:
    """Gradients of films [T, H, W, C], smooth over frames; spectra as they are."""

    def over_time(name, x):
        return constraints.blur(x[None], sigma, over=(1,))[0] if name == "z" else x

    def update(slopes: Any, _: Any) -> Any:
        return {k: over_time(k, v) for k, v in slopes.items()}

    return optax.stateless(update)


class Fixed:
    """An array that a program is made for, known by its identity."""

    def __init__(self, value: np.ndarray):
        """Keep it."""
        self.value = value


def _alike(a_btn: Array, b_btn: Array) -> Array:
    """Correlation over frames, [B, N]; 0 where one does not change."""
    a, b = (x - x.mean(1, keepdims=True) for x in (a_btn, b_btn))
    size = jnp.sqrt((a**2).sum(1) * (b**2).sum(1))
    return jnp.where(size > 0, (a * b).sum(1) / jnp.where(size > 0, size, 1), 0)
