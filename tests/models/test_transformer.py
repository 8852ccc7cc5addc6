"""What blocks leave out in training: how much, by which key, for which mouse."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax.errors import UserError
from sensorium_jax.models.parts.transformer import dropped
from support.models.whole import ask


class Twice(nn.Module):
    """The same values with single ones left out, and with whole samples."""

    @nn.compact
    def __call__(self, x, *, train=True):
        one = dropped(self, x, 0.25, train=train)
        return one, dropped(self, x, 0.25, train=train, alike=2)


def draws(mice, key=0):
    x = jnp.ones((mice, 8, 16, 5, 4))
    return ask(Twice(), {}, x, rngs={"dropout": jax.random.key(key)})


def test_a_share_is_left_out_and_the_mean_stays():
    one, whole = draws(3)
    for y in (one, whole):
        np.testing.assert_allclose(np.unique(y), [0, 4 / 3], rtol=1e-6)
        assert float((y == 0).mean()) == pytest.approx(0.25, abs=0.05)
    assert bool((whole == whole[..., :1, :1]).all())
    assert not bool((one == one[..., :1, :1]).all())


def test_draws_follow_from_the_key_and_no_mouse_changes_another():
    for a, b, c in zip(draws(3), draws(4), draws(3, key=1), strict=True):
        np.testing.assert_array_equal(a, b[:3])
        assert bool((a != c).any())


def test_nothing_is_left_out_in_evaluation_and_a_missing_key_is_named():
    x = jnp.ones((1, 1, 2, 2, 2))
    for y in Twice().apply({}, x, train=False):
        np.testing.assert_array_equal(x, y)
    with pytest.raises(UserError, match="rngs=.'dropout': key"):
        Twice().apply({}, x)
