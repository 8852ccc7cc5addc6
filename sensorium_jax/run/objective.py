"""What a recipe minimizes and how: loss, penalties and optimizer from its fields."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from sensorium_jax.axes import Batch, MouseInfo
from sensorium_jax.errors import unknown
from sensorium_jax.models.parts import smoothness
from sensorium_jax.run import Config
from sensorium_jax.training.losses import loss, regularizer
from sensorium_jax.training.optimizer import chain

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
    "laplace_l1": regularizer.each(smoothness.laplace_l1),
    "laplace_l2_3d": regularizer.each(smoothness.laplace_l2_3d),
    "frames_laplace_l2norm": regularizer.each(smoothness.frames_laplace_l2norm),
    "pixels_laplace_l2norm": regularizer.each(smoothness.pixels_laplace_l2norm),
    "group_sparsity": regularizer.average(smoothness.group_sparsity),
}


def make_optimizer(config: Config, steps: int) -> Any:
    """The optimizer of a recipe."""
    t = config.train
    rate = chain.schedule(t.schedule, t.rate, steps, warmup=t.warmup, floor=t.floor)
    return chain.make_optimizer(
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


def rotated_penalties(core: Any) -> dict[str, Callable]:
    """Penalties on the kernels of a rotation-equivariant core at its orientations."""
    turned = partial(
        regularizer.rotated, rotations=core.rotations, upsampling=core.upsampling
    )
    laplace, sparsity = smoothness.laplace_l2norm, smoothness.group_sparsity
    return {
        "rotated_laplace_l2norm": regularizer.each(turned(laplace, first=True)),
        "rotated_group_sparsity": regularizer.average(turned(sparsity, first=False)),
    }


def make_penalty(config: Config, core: Any) -> Callable:
    """The penalties of a recipe on a model with that core, summed over mice."""
    found = []
    known = PENALTIES | (rotated_penalties(core) if hasattr(core, "rotations") else {})
    for pattern, name, weight in config.train.penalties:
        if name not in known:
            words = f"Set config.train.penalties (core: {type(core).__name__})."
            raise unknown("penalty", name, known, words)
        found.append(regularizer.Penalty(pattern, known[name], weight))
    return partial(regularizer.total, found, core_per_mouse=config.train.core_per_mouse)
