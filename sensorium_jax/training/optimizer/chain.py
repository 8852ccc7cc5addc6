"""Optimizers and schedules as optax chains."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from sensorium_jax.errors import unknown
from sensorium_jax.trees import first_match, map_named

Schedule = Callable[[Any], Any]


def schedule(
    kind: str,
    peak: float,
    steps: int,
    *,
    warmup: int = 0,
    floor: float = 0.0,
) -> Schedule:
    """Learning rate by step; `steps` is the whole length of the run.

    constant: the official baselines, whose rate only plateaus lower.
    cosine: linear warm-up from 0, then half a cosine down to `floor`.
    staircase: the same in steps, one at each validation: the loop lowers the rate, so
    that the compiled program does not depend on the length of the run.
    """
    if kind in ("constant", "staircase"):
        return lambda step: jnp.minimum(1.0, (step + 1) / max(warmup, 1)) * peak
    if kind == "cosine":
        return optax.warmup_cosine_decay_schedule(
            0.0 if warmup else peak, peak, warmup, max(steps, warmup + 1), floor
        )
    raise unknown("schedule", kind, ["constant", "cosine", "staircase"])


def rate_of(rules: Sequence[tuple[str, float]], params: Any, default: float) -> Any:
    """A number for each leaf: that of the first rule whose regex matches its name."""
    return map_named(lambda name, _: first_match(rules, name, default), params)


def make_optimizer(
    rate: Schedule,
    *,
    kind: str = "adamw",
    decay: float = 0.01,
    decay_rules: Sequence[tuple[str, float]] = (),
    rate_rules: Sequence[tuple[str, float]] = (),
    frozen: str = "",
    clip: float = 0.0,
    adaptive_clip: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.999),
) -> optax.GradientTransformation:
    """Adam as torch has it: decay is decoupled, scaled by the rate, on every leaf.

    decay_rules and rate_rules are (regex, number) by leaf name; a rate rule multiplies
    the rate. `frozen` is a regex of leaves that never move. The factor of plateaus,
    TrainState.rate, is applied by the step.
    """
    if kind not in ("adam", "adamw"):
        raise unknown("optimizer", kind, ["adam", "adamw"])

    def add_decay(updates: Any, params: Any) -> Any:
        weights = rate_of(decay_rules, params, decay)
        return jax.tree.map(lambda u, w, p: u + w * p, updates, weights, params)

    def scale(updates: Any, params: Any) -> Any:
        factors = rate_of(
            [(frozen, 0.0), *rate_rules] if frozen else rate_rules, params, 1
        )
        return jax.tree.map(lambda u, f: u * f, updates, factors)

    clips = [optax.clip_by_global_norm(clip)] if clip else []
    clips += [adaptive_grad_clip(adaptive_clip)] if adaptive_clip else []
    decays = [optax.stateless(add_decay)] if kind == "adamw" else []
    return optax.chain(
        _drop(frozen),
        *clips,
        optax.scale_by_adam(*betas),
        *decays,
        optax.stateless(scale),
        optax.scale_by_learning_rate(rate),
    )


def _drop(frozen: str) -> optax.GradientTransformation:
    """Zero the gradients of frozen leaves before anything sees them."""

    def zero(updates: Any, params: Any) -> Any:
        keep = rate_of([(frozen, 0.0)] if frozen else [], updates, 1.0)
        return jax.tree.map(lambda u, k: u * k, updates, keep)

    return optax.stateless(zero)


def adaptive_grad_clip(
    factor: float, floor: float = 1e-3
) -> optax.GradientTransformation:
    """Clip each output's gradient to `factor` times the norm of its weights.

    A unit is the last axis of a kernel, a whole leaf of rank below 2; optax's own
    version refuses kernels of rank 5. Brock et al. 2021, equation 3.
    """

    def norm(x: jax.Array) -> jax.Array:
        axes = tuple(range(x.ndim - 1)) if x.ndim > 1 else None
        return jnp.sqrt(jnp.sum(jnp.square(x), axes, keepdims=True))

    def clip(update: jax.Array, param: jax.Array) -> jax.Array:
        limit = factor * jnp.maximum(norm(param), floor)
        return update * jnp.minimum(1.0, limit / jnp.maximum(norm(update), 1e-12))

    return optax.stateless(lambda u, p: jax.tree.map(clip, u, p))
