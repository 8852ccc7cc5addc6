"""Bits per spike against five lines of numpy."""

import jax
import numpy as np

from sensorium_jax.metrics import bits

update, value = jax.jit(bits.update), jax.jit(bits.value)


def twin(p, y):
    p, y = (a.reshape(-1, a.shape[-1]).astype(np.float64) for a in (p, y))
    model = (y * np.log(p + 1e-8) - p).sum(0)
    null = (y * np.log(y.mean(0)) - y.mean(0)).sum(0)
    return (model - null) / y.sum(0) / np.log(2)


def test_equals_numpy_and_counts_silent_neurons():
    r = np.random.default_rng(0)
    p, y = r.gamma(1.0, 1.0, (2, 1, 4, 30, 5)).astype(np.float32)
    want = twin(p, y)
    y[..., 3] = 0
    valid = np.ones((1, 4, 30), bool)
    state = update(bits.zero(1, 5), p[:, :2], y[:, :2], valid[:, :2])
    rest = update(bits.zero(1, 5), p[:, 2:], y[:, 2:], valid[:, 2:])
    found = value(bits.merge(state, rest))
    kept = [0, 1, 2, 4]
    np.testing.assert_allclose(found.per_neuron_mn[0, kept], want[kept], rtol=1e-5)
    assert found.undefined_m.tolist() == [1] and found.per_neuron_mn[0, 3] == 0


def test_the_mean_rate_has_no_bits_and_the_truth_has_many():
    r = np.random.default_rng(1)
    rate = r.gamma(0.5, 4.0, (1, 1, 4000, 3)).astype(np.float32)
    y = r.poisson(rate).astype(np.float32)
    valid = np.ones((1, 1, 4000), bool)
    flat = np.broadcast_to(y.mean((0, 1, 2)), y.shape)
    none = value(update(bits.zero(1, 3), flat, y, valid)).per_neuron_mn
    some = value(update(bits.zero(1, 3), rate, y, valid)).per_neuron_mn
    assert np.abs(none).max() < 1e-4 and np.asarray(some).min() > 0.5
