from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax.errors import UserError
from sensorium_jax.training.losses import loss
from support.models.toy import random_batch

GOLDEN = Path(__file__).parent.parent / "golden"


def case(name):
    with np.load(GOLDEN / f"{name}.npz") as file:
        return {k: file[k] for k in file.files if k != "config"}


CORR = case("losses_corr")
RATES, TARGET = CORR["input/pred"], CORR["input/target"]
ALL = np.ones((1, 3, 7), bool), np.ones((1, 5), bool)


@pytest.mark.parametrize("full", [0, 1])
@pytest.mark.parametrize("mean", [0, 1])
def test_poisson_equals_the_original(full, mean):
    def terms(rates, targets):
        return loss.poisson_terms(rates, targets, full=bool(full))

    found = loss.summed(terms, RATES[None], TARGET[None], *ALL, mean=bool(mean))
    key = f"output/poisson_avg{mean}_pn0_full{full}"
    np.testing.assert_allclose(found[0], CORR[key], rtol=1e-5)
    each = terms(RATES, TARGET)
    each = each.mean((0, 1)) if mean else each.sum((0, 1))
    np.testing.assert_allclose(each, CORR[key.replace("pn0", "pn1")], rtol=1e-5)


def test_targets_are_cut_to_the_last_frames():
    late = loss.summed(loss.poisson_terms, RATES[None, :, 2:], TARGET[None], *ALL)
    np.testing.assert_allclose(late[0], CORR["output/poisson3d"], rtol=1e-5)


def test_other_losses_equal_the_original():
    positive = CORR["input/pred_pos"]
    for name, terms, targets in (
        ("anscombe", loss.anscombe_terms, TARGET),
        # This case was recorded with shifted targets.
        ("exponential", loss.exponential_terms, TARGET + np.float32(0.1)),
    ):
        found = loss.summed(terms, positive[None], targets[None], *ALL, mean=True)
        np.testing.assert_allclose(found[0], CORR[f"output/{name}"], rtol=1e-5)
    found = loss.summed(loss.mse_terms, RATES[None], TARGET[None], *ALL, mean=True)
    np.testing.assert_allclose(found[0], ((RATES - TARGET) ** 2).mean(), rtol=1e-5)


def test_correlation_equals_the_original():
    found = loss.correlation(RATES[None], TARGET[None], *ALL)
    np.testing.assert_allclose(found, CORR["output/Corr"], rtol=1e-4)
    np.testing.assert_allclose(-found.mean(), CORR["output/AvgCorr"], rtol=1e-4)


def test_mixed_batch_equals_the_original():
    c = case("mice_poisson")
    sizes = (c["input/pred0"].shape[1], c["input/pred1"].shape[1])

    def both(key):  # [B, N, T] of each mouse to [B, M, T, N], padded with NaN
        x = np.full((4, 2, 6, max(sizes)), np.nan, np.float32)
        for m, n in enumerate(sizes):
            x[:, m, :, :n] = np.moveaxis(c[f"input/{key}{m}"], 1, 2)
        return x

    real = np.arange(max(sizes))[None] < np.array(sizes)[:, None]
    args = c["input/w"], real

    def cost(rates, targets):
        return loss.mixed(loss.poisson_terms, rates, targets, *args)

    found = cost(both("pred"), both("t"))
    assert found.shape == (2,)
    np.testing.assert_allclose(found.sum(), c["output/loss"], rtol=1e-5)
    targets = both("t")
    targets[c["input/w"] == 0] = np.nan
    grad = jax.grad(lambda r: cost(r, targets).sum())(both("pred"))
    assert np.isfinite(grad).all()


def test_objective_scales_by_the_size_of_the_data_set():
    rates, batch = random_batch()
    trials = np.array([100, 50, 0])
    found = loss.objective(trials_m=trials)(rates, batch, 4)
    expected = np.zeros(3)
    for m, b, t, n in np.ndindex(rates.shape):
        if batch.valid_mbt[m, b, t + 2] and batch.neurons_mn[m, n]:
            r, y = rates[m, b, t, n], batch.responses_mbtn[m, b, t + 2, n]
            expected[m] += np.sqrt(trials[m] / 4) * (r - y * np.log(r + 1e-8))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    plain = loss.objective()(rates, batch, 4)
    np.testing.assert_allclose(
        found[:2], np.sqrt(trials[:2] / 4) * plain[:2], rtol=1e-6
    )


def test_correlation_objective_adds_what_every_neuron_lacks():
    rates, batch = random_batch(1)
    corr = np.zeros((3, 6))
    for m, n in zip(*np.nonzero(batch.neurons_mn), strict=True):
        keep = batch.valid_mbt[m, :, 2:]
        a, b = rates[m, :, :, n][keep], batch.responses_mbtn[m, :, 2:, n][keep]
        corr[m, n] = np.corrcoef(a, b)[0, 1]
    found = loss.objective(correlation_weight=1000.0)(rates, batch, 4)
    extra = found - loss.objective()(rates, batch, 4)
    lack = np.where(batch.neurons_mn, 1 - corr, 0).sum(1)
    np.testing.assert_allclose(extra, 1000 * lack, rtol=1e-3)


def test_no_gradient_or_nan_comes_from_padding():
    rates, batch = random_batch(2)
    used = batch.valid_mbt[:, :, 2:, None] & batch.neurons_mn[:, None, None]
    rates[~used] = np.nan
    for options in ({}, {"correlation_weight": 10.0}):
        cost = loss.objective(**options)
        grad = np.asarray(jax.grad(lambda r, c=cost: c(r, batch, 4).sum())(rates))
        assert np.isfinite(grad).all()
        assert np.all((grad != 0) == used)


def test_gradient_agrees_with_finite_differences():
    rates, batch = random_batch(3)
    cost = loss.objective(trials_m=np.array([9, 4, 1]), correlation_weight=2.0)
    way = np.random.default_rng(4).normal(size=rates.shape).astype(np.float32)
    value = jax.jit(lambda r: jnp.sum(cost(r, batch, 4)))
    h = 1e-3
    difference = (value(rates + h * way) - value(rates - h * way)) / (2 * h)
    np.testing.assert_allclose(
        jnp.sum(jax.grad(value)(rates) * way), difference, rtol=1e-2
    )


def test_responses_of_other_neurons_are_refused():
    rates, batch = random_batch()
    with pytest.raises(UserError, match="neurons must agree"):
        loss.objective()(rates[..., :5], batch, 4)
    with pytest.raises(UserError, match="at least as many frames"):
        loss.objective()(np.concatenate([rates, rates], 2), batch, 4)
