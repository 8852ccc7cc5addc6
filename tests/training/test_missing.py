"""A neuron that misses trials trains as if only its other trials had been shown."""

import jax
import numpy as np

from sensorium_jax.training.losses import loss
from sensorium_jax.training.mesh import shard
from sensorium_jax.training.optimizer.chain import make_optimizer
from sensorium_jax.training.state import create
from sensorium_jax.training.step import Tally, jit_step, make_step, train_correlation
from support.models.toy import toy_batch, toy_forward, toy_penalty, toy_variables
from support.quick import quick  # noqa: F401

RATE = 0.01


def batch_of(seed=0):
    """Half of the trials are missing, neuron 4 of mouse 1 in all of them."""
    whole = toy_batch(2, windows=4, neurons=5, seed=seed)
    observed = np.random.default_rng(seed).random((2, 4, 5)) < 0.5
    observed[1, :, 4], observed[0, 0, 0] = False, True
    y = np.where(observed[:, :, None], whole.responses_mbtn, np.nan)
    return whole._replace(responses_mbtn=y, observed_mbn=observed)


def step_of(batch, *, accumulate=1, mesh=None, **options):
    optimizer = make_optimizer(lambda step: RATE, decay=0.0)
    objective = loss.objective(**options)
    state = create(toy_variables(2), optimizer, 7, ema=False)
    step = make_step(
        toy_forward, objective, toy_penalty, optimizer, accumulate=accumulate
    )
    if mesh is not None:
        state = jax.device_put(state, shard.state_shardings(state, mesh))
        batch = shard.put_batch(batch, mesh, 2, 4)
    tally = jax.device_put(Tally.zero(), state.step.sharding)
    return jit_step(step, mesh)(state, batch, tally)


def twin(batch):
    """Loss, and its gradient by the bias, of the trials that were observed; numpy."""
    x = batch.video_mbthwc.reshape(*batch.video_mbthwc.shape[:3], 6).astype(np.float64)
    drive = x.sum(-1)[..., None] * 0.1 + 0.5 + np.zeros(5)
    rates = np.log1p(np.exp(drive))
    total, slope = 0.0, np.zeros((2, 5))
    for m, b, n in np.argwhere(batch.observed_mbn):
        r, y = rates[m, b, :, n], batch.responses_mbtn[m, b, :, n].astype(np.float64)
        total += (r - y * np.log(r + loss.EPS)).sum()
        slope[m, n] += (
            (1 - y / (r + loss.EPS)) / (1 + np.exp(-drive[m, b, :, n]))
        ).sum()
    return total, slope


def test_loss_and_gradients_are_those_of_observed_trials():
    batch = batch_of()
    variables = toy_variables(2)

    def of(params):
        rates, _ = toy_forward({**variables, "params": params}, batch, {}, train=True)
        return loss.objective()(rates, batch, 4).sum()

    value, grads = jax.jit(jax.value_and_grad(of))(variables["params"])
    want, slope = twin(batch)
    np.testing.assert_allclose(value, want, rtol=1e-6)
    np.testing.assert_allclose(grads["readout"]["bias"], slope, rtol=2e-5, atol=1e-5)
    assert not grads["readout"]["bias"][1, 4]


def test_means_are_over_what_was_observed():
    batch = batch_of()
    rates, _ = toy_forward(toy_variables(2), batch, {}, train=True)
    known = batch.observed_mbn[:, :, None] & np.ones((1, 1, 6, 1), bool)
    terms = (np.asarray(rates) - batch.responses_mbtn) ** 2
    want = [np.mean(t[k]) for t, k in zip(terms, known, strict=True)]
    data = batch.responses_mbtn, batch.valid_mbt, batch.neurons_mn, batch.observed_mbn
    got = loss.summed(loss.mse_terms, rates, *data, mean=True)
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_correlations_are_over_what_was_observed():
    batch = batch_of()
    r = np.random.default_rng(1)
    rates = r.gamma(1.0, size=batch.responses_mbtn.shape).astype(np.float32)
    data = batch.responses_mbtn, batch.valid_mbt, batch.neurons_mn, batch.observed_mbn
    got = np.asarray(loss.correlation(rates, *data))
    want = np.zeros((2, 5))
    for m, n in np.argwhere(batch.observed_mbn.any(1)):
        rows = batch.observed_mbn[m, :, n]
        x, y = (a[m, rows, :, n].ravel() for a in (rates, batch.responses_mbtn))
        want[m, n] = np.corrcoef(x, y)[0, 1]
    np.testing.assert_allclose(got, want, atol=1e-5)
    seen = batch.observed_mbn.any(1)
    told = train_correlation(rates, batch)
    np.testing.assert_allclose(told, want[seen].mean(), atol=1e-5)
    # A neuron that no window tells of costs nothing.
    cost = loss.objective(loss.mse_terms, correlation_weight=2.0)(rates, batch, 4)
    plain = loss.objective(loss.mse_terms)(rates, batch, 4)
    lack = [2.0 * (1 - w[s]).sum() for w, s in zip(want, seen, strict=True)]
    np.testing.assert_allclose(cost - plain, lack, rtol=1e-4)


def test_parts_and_a_mesh_take_the_same_step():
    batch, options = batch_of(), {"trials_m": np.array([9.0, 7.0])}
    one, tally = step_of(batch, **options)
    parts, _ = step_of(batch, accumulate=2, **options)
    mesh = shard.make_mesh(1, 2, windows=4)
    with jax.set_mesh(mesh):
        wide, _ = step_of(batch, mesh=mesh, **options)
    assert np.isfinite(tally.loss)
    for other in (parts, wide):
        same = (one.params, other.params)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5), *same)
