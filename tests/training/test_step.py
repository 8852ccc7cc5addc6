from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax.training.losses.loss import objective
from sensorium_jax.training.optimizer.chain import make_optimizer
from sensorium_jax.training.state import create, key_for
from sensorium_jax.training.step import Tally, jit_step, make_step, train_correlation
from support.models.toy import (
    toy_batch,
    toy_forward,
    toy_objective,
    toy_penalty,
    toy_variables,
)


def run(
    steps=3,
    batches=None,
    *,
    forward=toy_forward,
    cost=toy_objective,
    ema=0.0,
    mice=3,
    **options,
):
    optimizer = make_optimizer(lambda step: 0.01)
    state = create(toy_variables(mice), optimizer, 7, ema=ema > 0)
    step = jit_step(
        make_step(forward, cost, toy_penalty, optimizer, ema_decay=ema, **options)
    )
    tally = Tally.zero()
    for i in range(steps):
        batch = batches[i] if batches else toy_batch(mice, seed=i)
        state, tally = step(state, batch, tally)
    return state, tally


def test_loss_is_objective_and_penalty_summed_over_mice():
    batch = toy_batch()
    variables = toy_variables()
    rates, _ = toy_forward(variables, batch, {}, train=True)
    want = toy_objective(rates, batch, 8).sum() + 3 * 6 * 0.01
    _, tally = run(1, [batch])
    np.testing.assert_allclose(tally.loss, want, rtol=1e-5)
    np.testing.assert_allclose(tally.penalty, 0.18, rtol=1e-5)


def test_accumulation_takes_the_same_step():
    whole, _ = run(2)
    parts, _ = run(2, accumulate=4)
    close = partial(np.testing.assert_allclose, rtol=2e-5)
    jax.tree.map(close, whole.params, parts.params)


@pytest.mark.parametrize("weight", [0.0, 3.0])
def test_accumulated_means_are_means(weight):
    # Twice the same windows: each part has the mean and the correlation of the whole.
    half = toy_batch(3)
    twice = jax.tree.map(lambda x: np.concatenate([x, x], 1), half)
    twice = twice._replace(neurons_mn=half.neurons_mn)
    cost = objective(mean=True, correlation_weight=weight)
    whole, tally = run(1, [twice], cost=cost)
    parts, tally2 = run(1, [twice], cost=cost, accumulate=2)
    np.testing.assert_allclose(tally2.loss, tally.loss, rtol=1e-5)
    np.testing.assert_allclose(tally2.grad_norm, tally.grad_norm, rtol=1e-4)
    close = partial(np.testing.assert_allclose, rtol=2e-5)
    jax.tree.map(close, whole.params, parts.params)


def test_accumulation_refuses_parts_that_do_not_divide():
    with pytest.raises(ValueError, match="multiple of 3"):
        run(1, accumulate=3)


def test_empty_mice_change_nothing():
    small, tally = run(3, [toy_batch(3, seed=i) for i in range(3)])
    padded = []
    for i in range(3):
        real, empty = toy_batch(3, seed=i), toy_batch(1, seed=9, padded=0)
        padded.append(jax.tree.map(lambda a, b: np.concatenate([a, b]), real, empty))
    big, tally4 = run(3, padded, mice=4)
    np.testing.assert_allclose(small.params["core"]["w"], big.params["core"]["w"])
    np.testing.assert_allclose(tally.loss, tally4.loss, rtol=1e-6)
    np.testing.assert_allclose(tally.correlation, tally4.correlation, rtol=1e-5)


def test_a_loss_that_is_not_finite_freezes_the_last_good_state():
    batches = [toy_batch(seed=i) for i in range(4)]
    good, _ = run(2, batches)
    batches[2].video_mbthwc[0, 0, 0] = np.nan
    bad, tally = run(4, batches)
    assert int(tally.bad_step) == 2 and int(bad.step) == 2
    jax.tree.map(np.testing.assert_array_equal, good, bad)


def test_ema_follows_weights_and_statistics():
    one, _ = run(1, ema=0.9)
    start = toy_variables()["params"]["core"]["w"]
    want = start + 0.1 * (one.params["core"]["w"] - start)
    np.testing.assert_allclose(one.ema["params"]["core"]["w"], want, rtol=1e-6)
    assert "batch_stats" in one.ema


def test_the_step_traces_once_and_needs_no_implicit_transfer():
    traces = []

    def counted(*args, **kwargs):
        traces.append(1)
        return toy_forward(*args, **kwargs)

    batches = [jax.device_put(toy_batch(seed=i)) for i in range(4)]
    optimizer = make_optimizer(lambda step: 0.01)
    state = jax.device_put(create(toy_variables(), optimizer, 7, ema=False))
    step = jit_step(make_step(counted, toy_objective, toy_penalty, optimizer))
    tally = jax.device_put(Tally.zero())
    state, tally = step(state, batches[0], tally)
    with jax.transfer_guard("disallow"):
        for batch in batches[1:]:
            state, tally = step(state, batch, tally)
    assert len(traces) == 1 and int(tally.steps) == 4


def test_keys_differ_by_use_and_step():
    keys = {
        np.asarray(jax.random.key_data(key_for(jnp.uint32(3), step, use))).tobytes()
        for step in range(3)
        for use in ("sample", "dropout")
    }
    assert len(keys) == 6


def test_train_correlation_is_numpys():
    batch = toy_batch()
    rates = np.random.default_rng(1).gamma(1.0, size=(3, 8, 4, 5)).astype(np.float32)
    y = batch.responses_mbtn[:, :, -4:]
    want = [
        np.corrcoef(rates[m, ..., n].ravel(), y[m, ..., n].ravel())[0, 1]
        for m in range(3)
        for n in range(5)
    ]
    np.testing.assert_allclose(
        train_correlation(rates, batch), np.mean(want), rtol=1e-5
    )
