"""Poisson loss equals the original per bin and numpy over long recordings."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax.metrics import likelihood

update = jax.jit(likelihood.update, static_argnames="full")
GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("full", [False, True])
def test_equals_the_original(full):
    f = np.load(GOLDEN / "losses_corr.npz")
    x, y = (f[f"input/{k}"][None] for k in ("pred", "target"))
    valid = np.ones(x.shape[:3], bool)
    state = update(likelihood.zero(1, 5), x, y, valid, full=full)
    got = likelihood.value(state)
    want = f[f"output/poisson_avg1_pn1_full{int(full)}"]
    np.testing.assert_allclose(got.per_neuron_mn[0], want, rtol=1e-6)
    total = f[f"output/poisson_avg0_pn0_full{int(full)}"]
    loss = likelihood.poisson(jnp.asarray(x), jnp.asarray(y), full=full)
    np.testing.assert_allclose(loss.sum(), total, rtol=1e-6)


def test_long_sums_keep_their_digits():
    r = np.random.default_rng(0)
    rates, counts = r.gamma(2, 5e3, (2, 1, 1, 20_000, 3)).astype(np.float32)
    valid = np.ones((1, 1, 20_000), bool)

    @jax.jit
    def many(state):
        body = lambda _, s: likelihood.update(s, rates, counts, valid)  # noqa: E731
        return jax.lax.fori_loop(0, 500, body, state)

    got = likelihood.value(many(likelihood.zero(1, 3)))
    x, y = rates.astype(np.float64), counts.astype(np.float64)
    want = (x - y * np.log(x + 1e-8)).mean((0, 1, 2))
    np.testing.assert_allclose(got.per_neuron_mn[0], want, rtol=1e-6)


def test_invalid_frames_and_padding_never_count():
    r = np.random.default_rng(1)
    x, y = r.gamma(2, 1, (2, 2, 1, 20, 3)).astype(np.float32)
    valid = np.arange(20)[None, None] < np.array([20, 11])[:, None, None]
    x[1, 0, 11:] = np.nan
    y[..., 2] = np.nan
    mask = np.array([[1, 1, 0]] * 2, bool)
    state = update(likelihood.zero(2, 3), x, y, valid)
    got = likelihood.value(state, mask)
    want = (x - y * np.log(x + 1e-8))[1, 0, :11, :2].mean()
    np.testing.assert_allclose(got.per_mouse_m[1], want, rtol=1e-6)
    assert got.undefined_m.tolist() == [0, 0]
    assert likelihood.value(state).undefined_m.tolist() == [1, 1]


def test_gradient_is_finite_at_zero_responses():
    grad = jax.grad(lambda y: likelihood.poisson(y * 0 + 1.0, y, full=True).sum())
    assert np.isfinite(grad(jnp.array([0.0, 1.0, 2.0]))).all()


def test_unequal_shapes_are_an_error():
    with pytest.raises(
        ValueError, match=r"responses have shape \(3,\), expected \(2,\)"
    ):
        likelihood.poisson(jnp.ones(2), jnp.ones(3))
