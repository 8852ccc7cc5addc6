"""Optimal stimuli: neurons per second against how many are computed together.

    python experiments/benchmarks/insilico.py MODEL [--neurons 64] [--steps 100]

MODEL is a run, a checkpoint or a published model's name. Every size climbs the same
objectives from the same starts for the same number of steps, once to compile and once
on the clock; "alone" computes all neurons of the mouse and takes one of them, which is
what a tool does that knows only the whole model's answer.
"""

import argparse
import json
import time
from typing import Any, NamedTuple

import jax
import numpy as np

import sensorium_jax as sj
from sensorium_jax.insilico import ascend, optimal
from sensorium_jax.insilico.ascend import Climb
from sensorium_jax.insilico.constraints import Budget
from sensorium_jax.insilico.optimal import Aim

SIZES = (1, 4, 16, 32, 64)


class Whole:
    """A twin that can only be asked for all of its neurons."""

    def __init__(self, twin: Any):
        """Hide what narrows it."""
        self.twin = twin

    def __getattr__(self, name: str) -> Any:
        """Everything else is the twin's."""
        if name in ("each", "only"):
            raise AttributeError(name)
        return getattr(self.twin, name)


class Timed(NamedTuple):
    """One way of computing."""

    together: int
    neurons_per_second: float
    objective: float  # mean over neurons


def timed(subject: Any, neurons: int, steps: int, together: int) -> Timed:
    """Neurons per second once everything is compiled."""
    screen, climb = subject.screen, Climb(steps=steps, patience=steps + 1)
    budget, aim = Budget(low=screen.low, high=screen.high), Aim(starts=1)
    shape, burn = optimal.film(subject, aim)
    answers = optimal.answers_of(subject, aim, burn)

    @jax.jit
    def climbed(neuron_b):
        keys = ascend.keys(0, neuron_b, 0 * neuron_b)

        def objective(z, neuron):
            return answers((screen.shown(z), neuron))

        found = ascend.ascend(objective, neuron_b, keys, shape, climb, budget)
        return found.value[:, 0]

    rows = np.arange(together, dtype=np.int32) % subject.neurons
    jax.block_until_ready(climbed(rows))
    values, begun = [], time.perf_counter()
    for start in range(0, neurons, together):
        asked = (start + rows) % subject.neurons
        values.append(np.asarray(climbed(asked)))
    took = time.perf_counter() - begun
    count = sum(map(len, values))
    return Timed(together, count / took, float(np.concatenate(values).mean()))


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--neurons", type=int, default=64)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    twin = sj.twin(args.model)
    subject, whole = sj.insilico.subject(twin), sj.insilico.subject(Whole(twin))
    sizes = [s for s in SIZES if s <= args.neurons]
    rows = {
        "each": [timed(subject, args.neurons, args.steps, s) for s in sizes],
        "alone": [timed(whole, min(args.neurons, 8), args.steps, 1)],
    }
    if args.json:
        plain = {name: [t._asdict() for t in found] for name, found in rows.items()}
        print(json.dumps(plain))
        return
    for name, found in rows.items():
        for t in found:
            words = f"{name:6} {t.together:4} together {t.neurons_per_second:8.2f} /s"
            print(f"{words}  objective {t.objective:.4f}")


if __name__ == "__main__":
    main()
