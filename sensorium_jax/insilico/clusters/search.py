"""The search for clusters: stimuli and neurons in turns, then merging and splitting.

A stage is one of these; after each stage the state is whole, so a killed search goes on
from the last one and ends with the same arrays. A merge or a split is accepted where
the mean objective of all clusters rises; what could not raise it is not tried.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sensorium_jax.insilico.clusters import objective, partition, problem as problems
from sensorium_jax.insilico.clusters.objective import Groups
from sensorium_jax.insilico.clusters.problem import Problem

ALTERNATE, MERGE, SPLIT, DONE = "alternate", "merge", "split", "done"
LATER = 10_000  # numbers of noises that the cuts of each cycle begin from
RISE = 1e-6  # smallest rise of the mean objective that counts


class Rules(NamedTuple):
    """When the search tries what, and when it stops."""

    clusters: int  # at the start
    rounds: int = 10  # of stimuli and neurons in turns
    halvings: int = 8  # the same within a cluster that may be split
    cycles: int = 6  # of merging and splitting
    smallest: int = 2  # neurons in a half of a cluster
    split: bool = True
    merge: bool = True


class State(NamedTuple):
    """Where the search is."""

    labels_n: np.ndarray
    z: np.ndarray  # [K, T, H, W, C] stimuli, in units of contrast
    value_k: np.ndarray  # the objective of each
    rates_kn: np.ndarray  # normalized
    stage: str
    cycle: int  # of merging and splitting
    changed: bool  # whether this cycle has merged or split
    path: tuple[tuple[str, int, float], ...]  # stage, clusters, mean objective

    @property
    def clusters(self) -> int:
        """How many."""
        return len(self.z)

    @property
    def value(self) -> float:
        """The mean objective."""
        return float(self.value_k.mean())


def begin(problem: Problem, rules: Rules, seed: int) -> State:
    """Random clusters of equal size, and noise for stimuli."""
    rng = np.random.default_rng([seed, 0])
    labels_n = partition.random_groups(rng, problem.neurons, rules.clusters)
    labels_n = partition.compact(labels_n)
    k = int(labels_n.max()) + 1
    z = problems.noises(problem, seed, np.arange(k))
    rates_kn = problem.scale.normalized(problems.responses(problem, z))
    value_k = np.full(k, -np.inf)
    return State(labels_n, z, value_k, rates_kn, ALTERNATE, 0, False, ())


def advance(problem: Problem, rules: Rules, state: State, seed: int) -> State:
    """The next stage."""
    stages: dict[str, Callable[[], State]] = {
        ALTERNATE: lambda: alternated(problem, rules, state),
        MERGE: lambda: merged(problem, rules, state),
        SPLIT: lambda: split(problem, rules, state, seed),
    }
    after = stages[state.stage]()
    after = after._replace(
        path=(*state.path, (state.stage, after.clusters, after.value))
    )
    return after._replace(**_next(rules, state, after))


def _next(rules: Rules, before: State, after: State) -> dict[str, object]:
    """What comes after a stage."""
    if before.stage == ALTERNATE:
        return {"stage": MERGE, "changed": False}
    moved = not np.array_equal(before.labels_n, after.labels_n)
    changed = before.changed or moved
    if before.stage == MERGE:
        return {"stage": SPLIT, "changed": changed}
    cycle = before.cycle + 1
    ends = not changed or cycle >= rules.cycles
    return {"stage": DONE if ends else ALTERNATE, "cycle": cycle, "changed": False}


def alternated(problem: Problem, rules: Rules, state: State) -> State:
    """Stimuli for the clusters, then neurons to the best stimuli, until none moves."""
    state = improved(problem, state)
    for _ in range(rules.rounds):
        moved = reassigned(state)
        if np.array_equal(moved.labels_n, state.labels_n):
            break
        state = improved(problem, moved)
    return state


def improved(problem: Problem, state: State) -> State:
    """The state with stimuli that were optimized further for its clusters."""
    k = state.clusters
    groups = objective.groups(state.labels_n, problem.scale, k)
    sets = np.zeros(k, int)
    better = problems.improve(problem, state.z, np.arange(k), [groups], sets, k)
    rates_kn = problem.scale.normalized(problems.responses(problem, better.z))
    return state._replace(z=better.z, value_k=better.value_b, rates_kn=rates_kn)


def reassigned(state: State) -> State:
    """Neurons at the stimuli that drive them most; clusters without any are gone."""
    labels_n = partition.reassigned(state.rates_kn)
    kept = partition.used(labels_n)
    return state._replace(
        labels_n=partition.compact(labels_n),
        z=state.z[kept],
        value_k=state.value_k[kept],
        rates_kn=state.rates_kn[kept],
    )


def merged(problem: Problem, rules: Rules, state: State) -> State:
    """Clusters that no stimulus tells apart become one, as long as that is better."""
    refused: set[tuple[int, int]] = set()
    while rules.merge and state.clusters > 1:
        # One cluster fewer has at most this mean objective.
        if state.value >= np.log(state.clusters - 1):
            break
        pair = next((p for p in _alike(problem, state) if p not in refused), None)
        if pair is None:
            break
        tried = _joined(problem, state, *pair)
        if tried.value > state.value + RISE:
            state, refused = tried, set()
        else:
            refused.add(pair)
    return state


def _alike(problem: Problem, state: State) -> list[tuple[int, int]]:
    """Each cluster with that which it is hardest to tell from, the hardest first."""
    k, tau = state.clusters, problem.temperature
    mean_kk = np.stack(
        [state.rates_kn[:, state.labels_n == j].mean(1) for j in range(k)], axis=1
    )
    # How much less a stimulus drives another cluster than its own, both ways.
    apart = (np.diagonal(mean_kk)[:, None] - mean_kk) / tau
    apart = apart + apart.T + np.diag(np.full(k, np.inf))
    nearest = apart.argmin(1)
    pairs = {(min(i, int(j)), max(i, int(j))) for i, j in enumerate(nearest)}
    return sorted(pairs, key=lambda pair: (float(apart[pair]), pair))


def _joined(problem: Problem, state: State, one: int, other: int) -> State:
    """The state with one cluster instead of two, with the stimulus of the larger."""
    size = [int((state.labels_n == k).sum()) for k in (one, other)]
    kept, gone = (one, other) if size[0] >= size[1] else (other, one)
    labels_n = np.where(state.labels_n == gone, kept, state.labels_n)
    left = np.delete(np.arange(state.clusters), gone)
    joined = state._replace(
        labels_n=partition.compact(labels_n),
        z=state.z[left],
        value_k=state.value_k[left],
        rates_kn=state.rates_kn[left],
    )
    return improved(problem, joined)


class Half(NamedTuple):
    """A cluster cut in two."""

    cluster: int
    second_n: np.ndarray  # bool: neurons that would leave
    z: np.ndarray  # [2, T, H, W, C]
    value: float  # mean objective of the two stimuli among the two halves


def split(problem: Problem, rules: Rules, state: State, seed: int) -> State:
    """Clusters in which two stimuli tell halves apart become two, where that is better.

    All clusters are cut at once; the cuts are then tried one after the other, the
    clearest first.
    """
    if not rules.split:
        return state
    cuts = halves(problem, rules, state, seed)
    # What is compared with has climbed again too.
    state = improved(problem, state) if cuts else state
    for cut in sorted(cuts, key=lambda c: -c.value):
        k = state.clusters
        # Even if all else stayed as it is, two clusters would be told apart this badly.
        most = np.log(k + 1) - 2 / (k + 1) * (np.log(2) - cut.value)
        if most <= state.value + RISE:
            break
        tried = _cut(problem, rules, state, cut)
        if tried is not None and tried.value > state.value + RISE:
            state = tried
    return state


def _cut(problem: Problem, rules: Rules, state: State, cut: Half) -> State | None:
    """The state after a cut, neurons moved once, stimuli optimized before and after.

    None where nothing is left to cut, or where a cluster has lost all its neurons: the
    others keep their numbers, which the later cuts name.
    """
    k = state.clusters
    # Neurons may have moved since the cut was found.
    second_n = cut.second_n & (state.labels_n == cut.cluster)
    first = int((state.labels_n == cut.cluster).sum() - second_n.sum())
    if min(first, int(second_n.sum())) < rules.smallest:
        return None
    z = np.concatenate([state.z, cut.z[1:]])
    z[cut.cluster] = cut.z[0]
    wide = state._replace(
        labels_n=np.where(second_n, k, state.labels_n),
        z=z,
        value_k=np.append(state.value_k, -np.inf),
        rates_kn=np.concatenate([state.rates_kn, state.rates_kn[:1]]),
    )
    moved = reassigned(improved(problem, wide))
    return None if moved.clusters <= k else improved(problem, moved)


def halves(problem: Problem, rules: Rules, state: State, seed: int) -> list[Half]:
    """The best cut of every cluster that is large enough, all found together."""
    size_k = np.bincount(state.labels_n, minlength=state.clusters)
    large = np.flatnonzero(size_k >= 2 * rules.smallest)
    if not large.size:
        return []
    rng = np.random.default_rng([seed, 1, state.cycle])
    second_gn = np.zeros((len(large), problem.neurons), bool)
    for row, k in zip(second_gn, large, strict=True):
        members = rng.permutation(np.flatnonzero(state.labels_n == k))
        row[members[: len(members) // 2]] = True
    inside_gn = state.labels_n[None] == large[:, None]
    own_b, set_b = np.tile([0, 1], len(large)), np.repeat(np.arange(len(large)), 2)
    starts = LATER * (state.cycle + 1) + np.arange(len(own_b))
    z, value_b = problems.noises(problem, seed, starts), np.full(len(own_b), -np.inf)
    for _ in range(rules.halvings):
        parts = [
            _pair(problem, a, b) for a, b in zip(inside_gn, second_gn, strict=True)
        ]
        width = state.clusters
        better = problems.improve(problem, z, own_b, parts, set_b, width)
        z, value_b = better.z, better.value_b
        rates_bn = problem.scale.normalized(problems.responses(problem, z))
        rates_g2n = rates_bn.reshape(len(large), 2, -1)
        moved_gn = inside_gn & (rates_g2n[:, 1] > rates_g2n[:, 0])
        count_g, all_g = moved_gn.sum(1), inside_gn.sum(1)
        fits = (count_g >= rules.smallest) & (all_g - count_g >= rules.smallest)
        moved_gn = np.where(fits[:, None], moved_gn, second_gn)
        if np.array_equal(moved_gn, second_gn):
            break
        second_gn = moved_gn
    z_g2 = z.reshape(len(large), 2, *problem.shape)
    value_g = value_b.reshape(-1, 2).mean(1)
    return [
        Half(int(k), second, pair, float(value))
        for k, second, pair, value in zip(large, second_gn, z_g2, value_g, strict=True)
    ]


def _pair(problem: Problem, inside_n: np.ndarray, second_n: np.ndarray) -> Groups:
    """Both halves of a cluster; all other neurons belong to none."""
    labels_n = np.where(inside_n, second_n.astype(int), -1)
    return objective.groups(labels_n, problem.scale, 2)
