"""The objective equals the original's, and the matrices are what they say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax.errors import UserError
from sensorium_jax.insilico.clusters import confusion, objective
from sensorium_jax.insilico.clusters.objective import Scale
from support.originals import discriminative, golden, peers


def ours(case: discriminative.Case):
    """Objective and gradient."""
    n = len(case.labels_n)
    bare = Scale(np.zeros(n, np.float32), np.full(n, 1 - objective.EPSILON, np.float32))
    scale = bare if case.offset_n is None else Scale(case.offset_n, case.spread_n)
    # Two clusters more than there are: they do not live.
    groups = objective.groups(case.labels_n, scale, int(case.labels_n.max()) + 3)
    assert groups.live_j.sum() == case.labels_n.max() + 1

    def value(x_p):
        rates_bn = jax.nn.softplus(case.filters_np @ x_p)[None]
        mean_bj = rates_bn @ groups.weight_jn.T - groups.shift_j[None]
        live_bj = jnp.asarray(groups.live_j)[None]
        own_b = np.array([case.own])
        return objective.discriminates(mean_bj, own_b, live_bj, case.temperature)[0]

    return jax.value_and_grad(value)(jnp.asarray(case.stimulus_p))


def compare(case, value, gradient):
    got, slope = ours(case)
    assert float(got) == pytest.approx(float(value), rel=1e-5, abs=1e-5)
    np.testing.assert_allclose(slope, gradient, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("number", range(3))
def test_objective_and_gradient_are_the_originals(number):
    with np.load(golden.FOLDER / "discriminative.npz") as file:
        value, gradient = file[f"value{number}"], file[f"gradient{number}"]
    compare(discriminative.cases()[number], value, gradient)


@pytest.mark.parity
@pytest.mark.parametrize("number", range(3))
def test_the_golden_cases_are_the_originals(number):
    peers.use(discriminative.REPOSITORY)
    case = discriminative.cases()[number]
    compare(case, *discriminative.original(case))


def test_normalized_matrices():
    m = np.array([[4.0, -1.0], [2.0, 2.0]])
    want = {
        "none": m,
        "row": [[1, -0.25], [1, 1]],
        "column": [[1, -0.5], [0.5, 1]],
        "row_diagonal": [[1, -0.25], [1, 1]],
        "column_diagonal": [[1, -0.5], [0.5, 1]],
        "row_l1": [[0.8, -0.2], [0.5, 0.5]],
        "column_l1": [[2 / 3, -1 / 3], [1 / 3, 2 / 3]],
    }
    assert set(want) == set(confusion.DIVISORS)
    for by, expected in want.items():
        np.testing.assert_allclose(confusion.normalized(m, by), expected)
    with pytest.raises(UserError, match="Unknown normalization 'rows'"):
        confusion.normalized(m, "rows")


def test_like_clusters_become_neighbours():
    rng = np.random.default_rng(0)
    kind = np.array([0, 1, 2, 0, 1, 2, 0])
    matrix = np.stack([rng.normal(size=7) for _ in range(3)])[kind].T
    matrix = matrix + 0.05 * rng.normal(size=(7, 7))
    order = confusion.order(matrix)
    assert sorted(order) == list(range(7))
    assert (np.diff(kind[order]) != 0).sum() == 2
