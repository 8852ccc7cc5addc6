"""What a recipe minimizes and how: loss, penalties and optimizer from its fields."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from sensorium_jax.axes import Batch, MouseInfo
from sensorium_jax.errors import unknown
from sensorium_jax.run import Config
from sensorium_jax.train import loss, optimizer, regularizer, smoothness

TERMS = {
    "poisson": loss.poisson_terms,
    "mse": loss.mse_terms,
    "exponential": loss.exponential_terms,
    "anscombe": loss.anscombe_terms,
}

PENALTIES = {
    "l1": regularizer.each(regularizer.l1),
    "readout_l1": regularizer.readout_l1,
    "factorized_l1": regularizer.factorized_l1,
    "shifter_l2": regularizer.shifter_l2,
    "modulator_l1": regularizer.modulator_l1,
    "gru_l1": regularizer.gru_l1,
    "laplace_l2": regularizer.each(smoothness.laplace_l2),
    "laplace_l2norm": regularizer.each(smoothness.laplace_l2norm),
    "gaussian_laplace_l2": regularizer.each(smoothness.gaussian_laplace_l2),
    "depth_laplace_l2norm": regularizer.each(smoothness.depth_laplace_l2norm),
    "flat_laplace_l2_3d": regularizer.each(smoothness.flat_laplace_l2_3d),
    "group_sparsity": regularizer.average(smoothness.group_sparsity),
    "rotated_laplace_l2norm": regularizer.each(
        regularizer.rotated(smoothness.laplace_l2norm, first=True)
    ),
    "rotated_group_sparsity": regularizer.average(
        regularizer.rotated(smoothness.group_sparsity, first=False)
    ),
}


def make_optimizer(config: Config, steps: int) -> Any:
    """The optimizer of a recipe."""
    t = config.train
    rate = optimizer.schedule(t.schedule, t.rate, steps, warmup=t.warmup, floor=t.floor)
    return optimizer.make_optimizer(
        rate,
        kind=t.optimizer,
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
    trials = np.pad(info.trials_m, (0, mice - info.mice))
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


def make_penalty(config: Config) -> Callable:
    """The penalties of a recipe, summed over mice."""
    found = []
    for pattern, name, weight in config.train.penalties:
        if name not in PENALTIES:
            raise unknown("penalty", name, PENALTIES, "Set config.train.penalties.")
        found.append(regularizer.Penalty(pattern, PENALTIES[name], weight))
    return partial(regularizer.total, found, core_per_mouse=config.train.core_per_mouse)
