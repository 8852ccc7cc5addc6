"""Clusters of neurons, a most discriminative stimulus for each, and their stability."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax.errors import UserError
from sensorium_jax.insilico import constraints, optimal, subjects
from sensorium_jax.insilico.ascend import Climb
from sensorium_jax.insilico.clusters import (
    confusion,
    partition,
    problem as problems,
    search as searches,
)
from sensorium_jax.insilico.clusters.objective import Scale
from sensorium_jax.insilico.clusters.problem import Problem
from sensorium_jax.insilico.clusters.search import DONE, Rules, State
from sensorium_jax.insilico.constraints import Budget
from sensorium_jax.insilico.optimal import Aim
from sensorium_jax.insilico.record import Result
from sensorium_jax.insilico.subjects import Subject

TEMPERATURE = 1.6
FLAT = "its rate is flat: no piece of noise changes it"


class Prepared(NamedTuple):
    """A problem, and whose it is."""

    problem: Problem
    neurons: np.ndarray  # numbers of those that take part
    failed: dict[int, str]
    about: dict[str, Any]
    notes: tuple[str, ...]


def prepare(
    subject: Subject,
    neurons: Sequence[int] | None = None,
    *,
    aim: Aim | None = None,
    climb: Climb | None = None,
    budget: Budget | None = None,
    temperature: float = TEMPERATURE,
    center: bool = True,
    scale: Scale | None = None,
    seed: int = 0,
    memory: float | None = None,
) -> Prepared:
    """Measure what rates are normalized by; leave out neurons whose rate is flat.

    center: every neuron looks at the frame's middle, where the twin can be moved so.
    """
    aim, climb = aim or Aim(), climb or Climb(steps=50)
    low, high = subject.screen.low, subject.screen.high
    budget = budget or Budget(low=low, high=high)
    optimal.check(subject, aim, climb)
    if temperature <= 0:
        raise UserError(f"The temperature is {temperature:g}; it must be above 0.")
    shape, burn = optimal.film(subject, aim)
    constraints.check(budget, None, shape)
    moved = subjects.centered(subject) if center else None
    notes = ()
    if center and moved is None:
        notes = (
            "neurons look where they look: this model's readouts cannot be moved to "
            "the middle, so clusters may be places",
        )
    asked, failed = subjects.split(subject, neurons)
    some = moved or subject
    # Not every model can be narrowed, and there is no need to where all take part.
    some = some if asked == list(range(some.neurons)) else some.only(asked)
    known = Scale(np.zeros(len(asked)), np.ones(len(asked)))
    options = (aim, climb, budget, shape, burn, float(temperature))
    problem = Problem(some, *options, scale or known, seed, memory)
    if scale is None:
        problem = problem._replace(scale=problems.measured(problem))
    answers = np.asarray(problem.scale.spread_n) > 0
    failed |= {n: FLAT for n, good in zip(asked, answers, strict=True) if not good}
    if answers.sum() < 2:
        raise UserError(
            f"{int(answers.sum())} of {len(asked)} neurons answer to noise; at least 2 "
            "are needed. Ask for others, or give more contrast."
        )
    if not answers.all():
        kept = np.flatnonzero(answers)
        least_n = np.broadcast_to(problem.scale.least, answers.shape)
        parts = (*problem.scale[:2], least_n)
        left = Scale(*(np.asarray(x)[kept] for x in parts))
        problem = problem._replace(subject=some.only(kept.tolist()), scale=left)
    about = {**subject.about(), "burn": burn, "temperature": float(temperature)}
    about |= {"aim": aim._asdict(), "budget": budget._asdict(), "seed": seed}
    about |= {"climb": {k: _word(v) for k, v in climb._asdict().items()}}
    about |= {"centered": moved is not None, "levels": "contrast"}
    asked_n = np.asarray(asked)[answers]
    return Prepared(problem, asked_n, failed, about, notes)


def stages(
    problem: Problem, rules: Rules, seed: int, state: State | None = None
) -> Iterator[State]:
    """The states of a search after each stage, from the start or from one of them."""
    if not 2 <= rules.clusters <= problem.neurons:
        raise UserError(
            f"{rules.clusters} clusters were asked for, of {problem.neurons} neurons "
            "that answer. Give a number from 2 to that of the neurons."
        )
    now = searches.begin(problem, rules, seed) if state is None else state
    while now.stage != DONE:
        now = searches.advance(problem, rules, now, seed)
        yield now


def cluster(
    subject: Subject,
    neurons: Sequence[int] | None = None,
    *,
    clusters: int,
    seeds: int = 1,
    rules: Rules | None = None,
    labels: Sequence[Any] | np.ndarray | None = None,
    tell: Callable[[State], None] | None = None,
    **options: Any,
) -> Result:
    """Clusters, their stimuli, and how alike the searches of several seeds end.

    options are those of `prepare`. labels, one for each neuron of the mouse, are what
    the clusters are compared with. The best of the searches is the result.
    """
    prepared = prepare(subject, neurons, **options)
    rules = (rules or Rules(clusters))._replace(clusters=clusters)
    ends: list[State] = []
    for seed in range(seeds):
        states = []
        for state in stages(prepared.problem, rules, prepared.problem.seed + seed):
            states = [state]
            if tell is not None:
                tell(state)
        ends += states
    return summary(prepared, rules, ends, labels)


def summary(
    prepared: Prepared,
    rules: Rules,
    ends: Sequence[State],
    labels: Sequence[Any] | np.ndarray | None = None,
) -> Result:
    """The result of finished searches; clusters are numbered so that like ones meet."""
    best = max(ends, key=lambda s: s.value)
    matrix = confusion.confusion(best.rates_kn, best.labels_n)
    order = confusion.order(confusion.normalized(matrix))
    labels_n = np.argsort(order)[best.labels_n]
    rates_kn, matrix = best.rates_kn[order], matrix[np.ix_(order, order)]
    by_seed_sn = np.stack([s.labels_n for s in ends])
    agreement_ss = partition.agreement(by_seed_sn)
    ranked = np.sort(rates_kn, 0)
    problem = prepared.problem
    arrays = {
        "cluster": labels_n,
        "margin": ranked[-1] - ranked[-2] if len(ranked) > 1 else ranked[-1],
        "response_by_stimulus": rates_kn.T,
        "cluster_by_seed": by_seed_sn.T,
        "offset": np.asarray(problem.scale.offset_n),
        "spread": np.asarray(problem.scale.divisor_n),
    }
    shared = {
        "stimulus": problem.subject.screen.shown(best.z[order]),
        "objective": best.value_k[order],
        "size": np.bincount(labels_n, minlength=len(order)),
        "agreement": agreement_ss,
        "objective_by_seed": np.array([s.value for s in ends]),
        "clusters_by_seed": np.array([s.clusters for s in ends]),
    }
    shared |= {
        f"confusion_{k}": confusion.normalized(matrix, k) for k in confusion.DIVISORS
    }
    off = ~np.eye(len(ends), dtype=bool)
    about = {**prepared.about, "rules": rules._asdict(), "clusters": best.clusters}
    about |= {"objective": best.value, "sizes": shared["size"].tolist()}
    about |= {"most_possible": float(np.log(best.clusters))}
    about |= {"agreement": float(agreement_ss[off].mean()) if off.any() else None}
    about |= {"path": [list(step) for step in best.path]}
    if labels is not None:
        known = np.asarray(labels)[prepared.neurons]
        names, codes = np.unique(known, return_inverse=True)
        arrays["label"] = codes
        about |= {"labels": [str(name) for name in names]}
        each = [partition.rand_index(s.labels_n, codes) for s in ends]
        about |= {"ari": partition.rand_index(labels_n, codes), "ari_by_seed": each}
    rest = (prepared.failed, prepared.notes)
    return Result("cluster", about, prepared.neurons, arrays, shared, *rest)


def _word(value: Any) -> Any:
    return value if isinstance(value, (int, float, str)) else type(value).__name__
