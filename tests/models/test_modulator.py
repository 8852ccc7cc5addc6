import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.models.parts.modulator import MLPModulator
from support.models.mice import one_mouse
from support.models.whole import ask, start
from support.originals.golden import relative
from support.quick import quick  # noqa: F401

BEHAVIOR = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)


def begun(mouse):
    return start(MLPModulator(), jax.random.key(0), BEHAVIOR, mouse)


def test_gain_is_the_elu_of_a_rectified_network_plus_one():
    mouse = one_mouse(5)
    p = jax.tree.map(np.asarray, begun(mouse)["params"])
    hidden = np.maximum(BEHAVIOR @ p["layer0"]["kernel"] + p["layer0"]["bias"], 0)
    last = np.maximum(hidden @ p["layer1"]["kernel"] + p["layer1"]["bias"], 0)
    gain = ask(MLPModulator(), {"params": p}, BEHAVIOR, mouse)
    assert hidden.shape == (2, 3, 10)
    assert relative(gain, last + 1) < 1e-5 and np.ptp(gain) > 0.01


def test_padding_changes_no_real_neuron():
    few, many = one_mouse(3), one_mouse(3, padded=2)
    a = ask(MLPModulator(), begun(few), BEHAVIOR, few)
    b = ask(MLPModulator(), begun(many), BEHAVIOR, many)
    np.testing.assert_allclose(a, b[..., :3], rtol=1e-6)
    assert np.all(b[..., 3:] == 1)


def test_without_hidden_layer():
    mouse = one_mouse(3)
    modulator = MLPModulator(layers=1, use_bias=False)
    v = start(modulator, jax.random.key(0), jnp.asarray(BEHAVIOR), mouse)
    gain = ask(modulator, v, BEHAVIOR, mouse)
    expected = np.maximum(BEHAVIOR @ np.asarray(v["params"]["layer0"]["kernel"]), 0) + 1
    assert relative(gain, expected) < 1e-5
