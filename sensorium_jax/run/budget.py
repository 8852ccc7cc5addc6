"""How many steps a run may have so that it ends in time: from measured ones."""

import math
import re
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sensorium_jax import progress
from sensorium_jax.errors import UsageError, UserError
from sensorium_jax.io import plain_json
from sensorium_jax.run import Config
from sensorium_jax.training.step import Tally

UNITS = {"s": 1, "sec": 1, "min": 60, "h": 3600}
MEASURED = 8  # steps, after the first, which compiles
VALIDATIONS = 8  # of a run that has a budget
MANY = 1_000_000  # steps of a run that is only measured
FEWEST = 20  # steps; a run of fewer learns nothing


class Cost(NamedTuple):
    """Seconds that parts of a run take once they are compiled."""

    step: float
    validation: float


def seconds(words: str) -> float:
    """The seconds of a budget as 150s, 10min or 2h."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|sec|min|h)\s*", words)
    if not match or float(match[1]) <= 0:
        raise UsageError(
            f"config.train.budget is {words!r}. Expected a time as 150s, 10min or 2h."
        )
    return float(match[1]) * UNITS[match[2]]


def kept(path: Path) -> int:
    """The steps that the run of a workdir was given before; 0 where there is none."""
    try:
        steps = plain_json.load(path, "")["config"]["train"]["steps"]
    except (OSError, UserError, KeyError, TypeError):
        return 0
    return steps if type(steps) is int else 0


def measure(parts: Any, state: Any) -> Cost:
    """What a step and a validation take on this machine; the state stays as it is."""
    with progress.bar("Measuring steps", MEASURED + 2) as bar:
        tally = jax.device_put(Tally.zero(), state.step.sharding)
        batches = parts.batches(0)
        state, ends = jax.tree.map(jnp.copy, state), []
        for _ in range(MEASURED + 1):
            state, tally = parts.step(state, next(batches), tally)
            jax.block_until_ready(tally)
            ends.append(time.monotonic())
            bar.add()
        batches.close()
        parts.validate(state)
        compiled = time.monotonic()
        parts.validate(state)
        judged = time.monotonic() - compiled
        bar.add()
    return Cost((ends[-1] - ends[0]) / MEASURED, judged)


def steps(left: float, cost: Cost) -> int:
    """How many steps fit into so many seconds; all processes agree on the first's."""
    left -= (VALIDATIONS + 1) * cost.validation
    count = max(FEWEST, math.floor(left / max(cost.step, 1e-6)))
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        count = int(multihost_utils.broadcast_one_to_all(jnp.asarray(count)))
    return count


def of_steps(config: Config, count: int) -> Config:
    """The config of a run of so many steps, judged and saved evenly."""
    config = config.copy_and_resolve_references()
    config.train.steps = count
    config.validate.every = config.validate.every or max(1, count // VALIDATIONS)
    return config
