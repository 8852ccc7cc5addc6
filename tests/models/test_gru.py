import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from sensorium_jax import trees
from sensorium_jax.errors import UserError
from sensorium_jax.models.parts.gru import ConvGRU
from support.originals.golden import gru_tree, load, relative, video


def golden_case():
    case = load("gru_module")
    config = case.config
    gru = ConvGRU(
        config["input_channels"],
        config["rec_channels"],
        config["input_kern"],
        config["rec_kern"],
    )
    return gru, gru_tree(case.param), case


def test_equals_the_original():
    gru, params, case = golden_case()
    x = video(case.input["x"])

    def loss(params):
        y = gru.apply({"params": params}, x)
        return jnp.sum(y * video(case.input["g"])), y

    (_, y), grad = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    assert relative(y, video(case.output["out"])) < 1e-5
    assert y.shape[2:] == gru.out_shape(6, 9, 11)
    expected = gru_tree(case.grad)
    assert jax.tree.structure(grad) == jax.tree.structure(expected)
    for ours, theirs in zip(*map(jax.tree.leaves, (grad, expected)), strict=True):
        assert relative(ours, theirs) < 1e-4


def test_input_gradient_agrees_with_finite_differences():
    gru, params, case = golden_case()
    x, weight = video(case.input["x"]), video(case.input["g"])
    direction = np.random.default_rng(0).normal(size=x.shape).astype(np.float32)
    loss = jax.jit(lambda x: jnp.sum(gru.apply({"params": params}, x) * weight))
    slope = float((jax.jit(jax.grad(loss))(x) * direction).sum())
    h = 1e-2
    difference = float(loss(x + h * direction) - loss(x - h * direction)) / (2 * h)
    assert abs(slope - difference) < 1e-2 * abs(difference)


def test_baseline_has_the_published_number_of_parameters():
    gru = ConvGRU(64, 64, 9, 9)
    x = jax.ShapeDtypeStruct((1, 1, 2, 28, 56, 64), jnp.float32)
    params = jax.eval_shape(lambda x: gru.init(jax.random.key(0), x), x)["params"]
    assert trees.sizes(params)["total"] == 1_991_040


def test_groups_read_only_their_own_channels():
    gru = ConvGRU(4, 6, 3, 3, channel_groups=2, pad_input=False)
    x = np.random.default_rng(0).normal(size=(1, 2, 3, 7, 8, 4)).astype(np.float32)
    params = jax.jit(gru.init)(jax.random.key(0), x)
    assert params["params"]["reset_input"]["kernel"].shape == (3, 3, 2, 6)
    other = x.copy()
    other[..., :2] += 1
    y, z = (np.asarray(jax.jit(gru.apply)(params, a)) for a in (x, other))
    assert y.shape[2:] == gru.out_shape(3, 7, 8) == (3, 5, 6, 6)
    np.testing.assert_array_equal(y[..., 3:], z[..., 3:])
    assert np.abs(y - z)[..., :3].max() > 1e-2


def test_frames_see_only_the_past_and_mice_only_themselves():
    gru, params, case = golden_case()
    x = np.concatenate([video(case.input["x"])] * 2)
    later = x.copy()
    later[1, :, 3] += 1
    apply = jax.jit(gru.apply)
    y, z = (np.asarray(apply({"params": params}, a)) for a in (x, later))
    np.testing.assert_array_equal(y[0], z[0])
    np.testing.assert_array_equal(y[1, :, :3], z[1, :, :3])
    assert np.abs(y - z)[1, :, 3:].max() > 1e-2


def test_bfloat16_keeps_its_state_in_float32():
    gru, params, case = golden_case()
    x = video(case.input["x"])
    half = gru.apply({"params": params}, jnp.asarray(x, jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    assert relative(half, gru.apply({"params": params}, x)) < 2e-2


@pytest.mark.optimized
def test_a_mesh_needs_all_reduces_only():
    gru = ConvGRU(2, 3, 3, 3)
    x = np.random.default_rng(0).normal(size=(4, 2, 3, 5, 6, 2)).astype(np.float32)
    params = jax.jit(gru.init)(jax.random.key(0), x)
    step = jax.jit(
        jax.value_and_grad(lambda params, x: jnp.sum(gru.apply(params, x) ** 3))
    )
    expected = step(params, x)
    kinds = (AxisType.Auto, AxisType.Auto)
    for shape in ((2, 1), (1, 2)):
        mesh = jax.make_mesh(shape, ("mouse", "data"), axis_types=kinds)
        spread = jax.device_put(x, NamedSharding(mesh, PartitionSpec("mouse", "data")))
        with jax.set_mesh(mesh):
            weights = jax.device_put(params, NamedSharding(mesh, PartitionSpec()))
            program = step.lower(weights, spread).compile()
            got = program(weights, spread)
        for forbidden in ("all-gather", "all-to-all", "collective-permute"):
            assert forbidden not in program.as_text(), shape
        for a, b in zip(*map(jax.tree.leaves, (got, expected)), strict=True):
            assert relative(a, b) < 1e-5, shape


def test_bad_options_are_found_with_words():
    x = jnp.zeros((1, 1, 2, 9, 9, 4))
    for gru, words in (
        (ConvGRU(4, 4, 3, 4), "Choose an odd one"),
        (ConvGRU(5, 4, 3, 3), "expected .* with 5 channels"),
    ):
        with pytest.raises(UserError, match=words):
            jax.eval_shape(gru.init, jax.random.key(0), x)


def test_kernel_gradients_of_many_bfloat16_frames_sum_in_float32():
    """Added up frame by frame in bfloat16, small parts would be lost."""
    gru = ConvGRU(1, 1, 1, 3)
    x = jnp.ones((1, 1, 200, 4, 4, 1))
    params = jax.jit(gru.init)(jax.random.key(0), x)

    def gradient(dtype):
        def loss(params):
            y = gru.apply(params, x.astype(dtype))
            return y.astype(jnp.float32).sum()

        low = jax.tree.map(lambda p: p.astype(dtype), params)
        return jax.jit(jax.grad(loss))(low)["params"]

    exact, half = gradient(jnp.float32), gradient(jnp.bfloat16)
    for gate in ("reset_hidden", "update_hidden", "out_hidden"):
        for name, value in exact[gate].items():
            got = np.asarray(half[gate][name], np.float32)
            assert relative(got, value) < 3e-2, (gate, name)
