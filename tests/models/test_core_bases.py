import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax.axes import last_frames
from sensorium_jax.errors import UserError
from sensorium_jax.models.cores.temporal_bases import (
    TemporalBasesCore,
    pooled,
    raised_cosines,
)
from support.models.whole import ask, start
from support.quick import quick  # noqa: F401


def clip(frames=24, channels=1):
    shape = (2, 2, frames, 12, 16, channels)
    return jax.random.normal(jax.random.key(0), shape)


def build(**options):
    core = TemporalBasesCore(channels=(3, 4), lags=8, bases=3, **options)
    x = clip(channels=core.input_channels)
    return core, start(core, jax.random.key(1), x, train=False), x


def test_shape_is_foretold_and_every_pixel_matters():
    core, variables, x = build()
    y = ask(core, variables, x, train=False)
    assert y.shape[2:] == core.out_shape(*x.shape[2:5]) == (17, 6, 8, 4)

    @jax.jit
    @jax.grad
    def slope(x):
        return (core.apply(variables, x, train=False) ** 2).sum()

    used = slope(x)
    assert bool((jnp.abs(used).sum((0, 1, 3, 4, 5)) > 0).all())


def test_training_answers_every_third_frame_up_to_the_last():
    core, variables, x = build()
    every = ask(core, variables, x, train=False)
    some = ask(core, variables, x, train=True)
    assert some.shape[2] == 6
    want = last_frames(every, 2, 6, core.train_stride)
    np.testing.assert_allclose(some, want, rtol=1e-4, atol=1e-5)


def test_without_bases_only_one_old_frame_is_seen():
    core = TemporalBasesCore(channels=(3, 4), lags=7, bases=0)
    x = clip()
    variables = start(core, jax.random.key(1), x, train=False)
    answer = ask(core, variables, x, train=False)
    other = x.at[:, :, 1:].set(0.0)
    first = ask(core, variables, other, train=False)[:, :, 0]
    np.testing.assert_array_equal(first, answer[:, :, 0])
    silent = ask(core, variables, x.at[:, :, 0].set(0.0), train=False)
    assert float(jnp.abs(silent[:, :, 0] - answer[:, :, 0]).max()) > 0


def test_channels_stay_apart_until_space_mixes_them():
    core, variables, x = build(input_channels=2)
    assert variables["params"]["layer0"]["kernel"].shape == (7, 7, 2 * 3, 3)


def test_bases_have_unit_norm_and_cover_every_lag():
    bases = raised_cosines(16, 6)
    np.testing.assert_allclose((bases**2).sum(0), 1, rtol=1e-6)
    assert (bases.sum(1) > 0).all()
    assert bases[-1].argmax() == 0 and bases[0].argmax() == 5


def test_pooling_is_a_mean_of_blocks():
    x = np.arange(5 * 4, dtype=np.float32).reshape(1, 1, 1, 5, 4, 1)
    want = [[2.5, 4.5], [10.5, 12.5]]
    np.testing.assert_allclose(pooled(x, 2)[0, 0, 0, :, :, 0], want)


def test_too_few_frames_are_refused():
    core, variables, x = build()
    with pytest.raises(UserError, match="frames"):
        core.apply(variables, x[:, :, :5], train=False)
