import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax import trees
from sensorium_jax.models.parts.shifter import MLPShifter, StaticAffineShifter
from support.models.mice import one_mouse
from support.models.whole import ask, start
from support.originals.golden import below, load, mlp_tree, relative
from support.quick import quick  # noqa: F401

PUPIL = np.random.default_rng(0).normal(size=(2, 3, 2)).astype(np.float32)


@pytest.mark.parametrize("mouse", "ab")
def test_mlp_equals_the_original(mouse):
    case = load("mlp_shifter")
    shifter = MLPShifter(
        case.config["hidden_channels_shifter"], case.config["shift_layers"]
    )
    params = mlp_tree(below(case.param, f"{mouse}.mlp."))
    shift = ask(shifter, {"params": params}, case.input["x"][:, None], one_mouse(1))
    assert relative(shift[:, 0], case.output[mouse]) < 1e-5


def test_static_affine_equals_the_original():
    case = load("static_affine_shifter")
    params = {"kernel": case.param["a.weight"].T, "bias": case.param["a.bias"]}
    x = case.input["x"][:, None]
    shift = ask(StaticAffineShifter(), {"params": params}, x, one_mouse(1))
    assert relative(shift[:, 0], case.output["a"]) < 1e-5


def test_static_affine_starts_almost_still():
    v = start(StaticAffineShifter(), jax.random.key(0), PUPIL, one_mouse(1))
    shift = ask(StaticAffineShifter(), v, PUPIL, one_mouse(1))
    assert 0 < np.abs(shift).max() < 1e-4


def test_mlp_starts_by_name_within_torchs_bounds_and_has_57_parameters():
    shifter = MLPShifter()
    a, b = (
        start(shifter, jax.random.key(0), PUPIL, one_mouse(1, name=n))["params"]
        for n in (1, 2)
    )
    assert trees.sizes(a)["total"] == 57
    for name, value in trees.named_leaves(a).items():
        bound = 1 / np.sqrt(2 if name.startswith("layer0") else 5)
        assert 0.3 * bound < np.abs(value).max() <= bound
        assert not np.array_equal(value, trees.named_leaves(b)[name])


def test_input_gradient_agrees_with_finite_differences():
    shifter, way = MLPShifter(), PUPIL[::-1]
    v = start(shifter, jax.random.key(0), PUPIL, one_mouse(1))
    loss = jax.jit(lambda x: jnp.sum(shifter.apply(v, x, one_mouse(1)) * PUPIL))
    h = 1e-2
    difference = (loss(PUPIL + h * way) - loss(PUPIL - h * way)) / (2 * h)
    np.testing.assert_allclose(
        jnp.sum(jax.jit(jax.grad(loss))(PUPIL) * way), difference, rtol=1e-2
    )
