"""Stimuli of many clusters at once: how they are optimized, and what they drive.

Every cluster's stimulus is a row of one program, so all of them climb together. A row
has clusters of its own to tell apart: all of a partition, or the two halves of a
cluster that may be split.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from sensorium_jax.insilico import ascend, batches, optimal
from sensorium_jax.insilico.ascend import Climb
from sensorium_jax.insilico.clusters.objective import Groups, Scale, discriminates
from sensorium_jax.insilico.constraints import Budget
from sensorium_jax.insilico.optimal import Aim
from sensorium_jax.insilico.subjects import Subject

Array = Any
WIDTH = 8  # clusters are filled up to this or a power of 2 above: few programs
SHARE = 0.01  # of its mean rate that the spread of a neuron has at least
NOISES = 64  # that spreads of neurons are measured on


class Problem(NamedTuple):
    """Whose neurons are told apart, and by what stimuli."""

    subject: Subject  # of the neurons that take part
    aim: Aim
    climb: Climb
    budget: Budget
    shape: tuple[int, ...]  # [T, H, W, C] of a stimulus
    burn: int
    temperature: float
    scale: Scale
    seed: int
    memory: float | None = None

    @property
    def neurons(self) -> int:
        """How many take part."""
        return self.subject.neurons


def measured(problem: Problem) -> Scale:
    """Rates to grey, and SDs of rates over pieces of noise of the budget's contrast.

    The smallest spread is a share of the neuron's mean rate.
    """
    rows = np.arange(NOISES, dtype=np.int32)
    keys = ascend.keys(problem.seed, jnp.asarray(rows) + (1 << 20), rows)
    size = ascend.unit_of(problem.budget, problem.shape)
    z = ascend.noise(keys, problem.shape, 1, size)
    z = np.clip(np.asarray(z), problem.budget.low, problem.budget.high)
    rates_bn = responses(problem, z)
    grey_n = responses(problem, np.zeros((1, *problem.shape), np.float32))[0]
    return Scale(grey_n, rates_bn.std(0), SHARE * np.abs(rates_bn.mean(0)))


def responses(problem: Problem, z: np.ndarray) -> np.ndarray:
    """Rates [B, N] in the twin's units to stimuli [B, T, H, W, C] of contrast."""
    one = optimal.all_answers_of(problem.subject, problem.aim, problem.burn)
    filled = _filled(np.asarray(z, np.float32), _width(len(z)))
    return batches.every(one, filled, memory=problem.memory)[: len(z)]


def noises(problem: Problem, seed: int, numbers: np.ndarray) -> np.ndarray:
    """What stimuli start from: noise [B, T, H, W, C], one for each number."""
    each = jnp.asarray(np.asarray(numbers, np.int32))
    keys = ascend.keys(seed, each, 0 * each)
    size = problem.climb.start * ascend.unit_of(problem.budget, problem.shape)
    return np.asarray(ascend.noise(keys, problem.shape, 1, size), np.float32)


class Improved(NamedTuple):
    """Stimuli after a climb."""

    z: np.ndarray  # [B, T, H, W, C]
    value_b: np.ndarray  # the objective
    slope_b: np.ndarray  # largest gradient that was met


def improve(
    problem: Problem,
    z: np.ndarray,
    own_b: np.ndarray,
    groups: Sequence[Groups],
    set_b: np.ndarray,
    width: int,
) -> Improved:
    """Climb the objective of every row from z.

    Row b's stimulus is that of cluster own_b[b] of groups[set_b[b]]. All are filled up
    to `width` clusters, so that partitions and halves take one program.
    """
    count, width = len(z), _width(width)
    weight, shift, live = (
        np.stack([_wide(x, width) for x in part])[set_b]
        for part in zip(*groups, strict=True)
    )
    given = {
        "z": np.asarray(z, np.float32)[:, None],
        "seed": np.arange(count, dtype=np.int32),
        "own": np.asarray(own_b, np.int32),
        "weight": weight,
        "shift": shift,
        "live": live,
    }
    program = _program(*problem[:7], problem.seed)
    filled = {k: _filled(v, -(-count // width) * width) for k, v in given.items()}
    out = batches.every(program, filled, memory=problem.memory)
    out = {k: v[:count] for k, v in out.items()}
    return Improved(out["z"][:, 0], out["value"][:, 0], out["slope"])


@lru_cache(maxsize=8)
def _program(
    subject: Subject,
    aim: Aim,
    climb: Climb,
    budget: Budget,
    shape: tuple[int, ...],
    burn: int,
    temperature: float,
    seed: int,
) -> Callable[..., dict[str, Array]]:
    answers = optimal.all_answers_of(subject, aim, burn)

    def objective(z_bthwc, extra):
        rates_bn = answers(z_bthwc)
        mean_bj = jnp.einsum("bn,bjn->bj", rates_bn, extra["weight"]) - extra["shift"]
        return discriminates(mean_bj, extra["own"], extra["live"], temperature)

    def one(rows):
        extra = {k: rows[k] for k in ("own", "weight", "shift", "live")}
        keys = ascend.keys(seed, rows["seed"], 0 * rows["seed"])
        climbed = ascend.ascend(
            objective, extra, keys, shape, climb, budget, begin=rows["z"]
        )
        return {"z": climbed.z, "value": climbed.value, "slope": climbed.slope}

    return one


def _width(count: int) -> int:
    return WIDTH << max(0, -(-count // WIDTH) - 1).bit_length()


def _wide(x: np.ndarray, width: int) -> np.ndarray:
    """Filled up with clusters that do not live."""
    return np.pad(x, [(0, width - len(x)), *[(0, 0)] * (x.ndim - 1)])


def _filled(x: np.ndarray, rows: int) -> np.ndarray:
    """Filled up with copies of the first row."""
    return np.concatenate([x, np.repeat(x[:1], rows - len(x), 0)]) if len(x) else x
