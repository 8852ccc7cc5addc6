import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax.errors import UserError
from sensorium_jax.models.readouts.attention import AttentionReadout
from sensorium_jax.models.rows import Side
from support.models.mice import one_mouse
from support.originals.golden import relative
from support.quick import quick  # noqa: F401

FEAT = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 6)).astype(np.float32)


def start(readout, mouse, feat=FEAT):
    @jax.jit
    def init(mouse):
        return readout.init(jax.random.key(0), feat, mouse, Side(), train=False)

    return init(mouse)


def drive(readout, variables, mouse, feat=FEAT):
    @jax.jit
    def apply(variables, mouse, feat):
        return readout.apply(variables, feat, mouse, Side(), train=False)

    return apply(variables, mouse, feat)


def test_pools_by_softmax_over_pixels():
    readout, mouse = AttentionReadout(), one_mouse(4)
    v = start(readout, mouse)
    p = jax.tree.map(np.asarray, v["params"])
    score = np.einsum("bthwf,fn->btnhw", FEAT, p["conv0"]["kernel"][0, 0])
    score = np.exp(score + p["conv0"]["bias"][None, None, :, None, None])
    share = score / score.sum((-2, -1), keepdims=True)
    expected = np.einsum("btnhw,bthwf,nf->btn", share, FEAT, p["features"])
    assert relative(drive(readout, v, mouse), expected) < 1e-5


def test_xavier_start_counts_real_neurons_only():
    feat = np.ones((1, 1, 4, 4, 40), np.float32)
    kernel = start(AttentionReadout(), one_mouse(300, padded=100), feat)
    kernel = kernel["params"]["conv0"]["kernel"]
    assert abs(np.std(kernel[..., :300]) / np.sqrt(2 / 340) - 1) < 0.03
    assert not np.any(kernel[..., 300:])


def test_padding_changes_no_real_neuron():
    readout = AttentionReadout(layers=2, kernel=3)
    few, many = one_mouse(3), one_mouse(3, padded=2)
    a = drive(readout, start(readout, few), few)
    b = drive(readout, start(readout, many), many)
    np.testing.assert_allclose(a, b[..., :3], atol=1e-7)


def test_input_gradient_agrees_with_finite_differences():
    readout, mouse = AttentionReadout(layers=2, kernel=3), one_mouse(3)
    v = start(readout, mouse)
    v["params"]["features"] = jnp.asarray(FEAT[0, 0, 0, :3])  # not almost zero
    way = np.random.default_rng(5).normal(size=FEAT.shape).astype(np.float32)
    loss = jax.jit(lambda x: jnp.sum(drive(readout, v, mouse, x) ** 2))
    h = 1e-3
    difference = (loss(FEAT + h * way) - loss(FEAT - h * way)) / (2 * h)
    np.testing.assert_allclose(
        jnp.sum(jax.grad(loss)(FEAT) * way), difference, rtol=0.02
    )


def test_refuses_a_shift():
    side = Side(shift_bt2=jnp.zeros((2, 3, 2)))
    with pytest.raises(UserError, match="without a shifter"):
        AttentionReadout().init(
            jax.random.key(0), FEAT, one_mouse(1), side, train=False
        )
