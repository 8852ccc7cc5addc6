"""What a recipe minimizes and how: loss, penalties and optimizer from its fields."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from sensorium_jax.axes import Batch, MouseInfo
from sensorium_jax.errors import UserError, unknown
from sensorium_jax.models.encoder import Encoder
from sensorium_jax.models.parts import penalties
from sensorium_jax.run import Config
from sensorium_jax.training.losses import loss, regularizer
from sensorium_jax.training.optimizer import chain

TERMS = {
    "poisson": loss.poisson_terms,
    "mse": loss.mse_terms,
    "exponential": loss.exponential_terms,
    "anscombe": loss.anscombe_terms,
}


def make_optimizer(config: Config, steps: int) -> Any:
    """The optimizer of a recipe."""
    t = config.train
    rate = chain.schedule(t.schedule, t.rate, steps, warmup=t.warmup, floor=t.floor)
    return chain.make_optimizer(
        rate,
        kind=t.optimizer,
        betas=tuple(t.betas),
        decay=t.decay,
        decay_rules=t.decay_rules,
        rate_rules=t.rate_rules,
        frozen=t.frozen,
        clip=t.clip,
        adaptive_clip=t.adaptive_clip,
    )


def make_objective(config: Config, info: MouseInfo, mice: int) -> Callable:
    """The loss of a recipe, [M]; rows beyond those of info only fill a mesh."""
    t = config.train
    if t.loss not in TERMS:
        raise unknown("loss", t.loss, TERMS, "Set config.train.loss.")
    if config.data.mixed:
        return loss.mixed_objective(TERMS[t.loss])
    counts = {"all": info.trials_m, "train": info.train_trials_m}
    if t.scale_trials not in counts:
        raise unknown(
            "trials", t.scale_trials, counts, "Set config.train.scale_trials."
        )
    trials = np.pad(counts[t.scale_trials], (0, mice - info.mice))
    objective = loss.objective(
        TERMS[t.loss],
        trials_m=trials.astype(np.float32) if t.scale_loss else None,
        mean=t.mean_loss,
        correlation_weight=t.correlation_weight,
    )

    def after_burn_in(rates: jax.Array, batch: Batch, windows: int) -> jax.Array:
        late_t = np.arange(batch.valid_mbt.shape[2]) >= t.burn_in
        batch = batch._replace(valid_mbt=batch.valid_mbt & late_t[None, None])
        return objective(rates, batch, windows)

    return after_burn_in if t.burn_in else objective


def make_penalty(config: Config, encoder: Encoder) -> Callable:
    """The penalties of a recipe, summed over mice.

    Their functions are those that the parts of the model offer, and the general ones.
    """
    offered = encoder.penalties
    chosen = []
    for pattern, name, weight in config.train.penalties:
        if name in offered:
            function = only_for(name, *offered[name])
        elif name in penalties.GENERAL:
            function = penalties.GENERAL[name]
        else:
            known = [*offered, *penalties.GENERAL]
            words = f"Set config.train.penalties (core: {type(encoder.core).__name__})."
            raise unknown("penalty", name, known, words)
        chosen.append(regularizer.Penalty(pattern, function, weight))
    return partial(
        regularizer.total, chosen, core_per_mouse=config.train.core_per_mouse
    )


def only_for(
    name: str, pattern: str, function: penalties.Function
) -> penalties.Function:
    """The function, refusing leaves that the part does not offer it for."""

    def checked(leaves: penalties.Leaves, neurons_mn: jax.Array) -> jax.Array:
        odd = [leaf for leaf in leaves if not re.fullmatch(pattern, leaf)]
        if odd:
            raise UserError(
                f"config.train.penalties asks for '{name}' of {odd[0]}; the model "
                f"offers it for the parameters that match '{pattern}'."
            )
        return function(leaves, neurons_mn)

    return checked
