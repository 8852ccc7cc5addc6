import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax import trees
from sensorium_jax.models.cores.rotation2d import RotationEquivariant2dCore
from sensorium_jax.models.parts import hermite
from support.models.cores import assert_golden, check_input_gradient, run, start
from support.originals.golden import images, kernel, load, relative

BASELINE = RotationEquivariant2dCore(
    3, 8, 9, 7, 4, pad_input=False, stack=-1, final_nonlinearity=False, momentum=0.9
)


@pytest.mark.parametrize("size", [7, 9])
def test_hermite_functions_equal_the_original(size):
    case = load(f"hermite_basis_{size}")
    np.testing.assert_array_equal(hermite.angular_orders(size), case.output["mu"])
    assert relative(hermite.basis(size, 2 * size), case.output["H"]) < 1e-6
    for index, matrix in enumerate(case.output["R"]):
        ours = hermite.rotation(size, 2 * np.pi * index / 8)
        np.testing.assert_allclose(ours, matrix, atol=1e-6)


def test_kernels_and_core_equal_the_original():
    case = load("rotation_equivariant2d")
    config = case.config
    core = RotationEquivariant2dCore(
        config["input_channels"],
        config["hidden_channels"],
        config["input_kern"],
        config["hidden_kern"],
        config["layers"],
        rotations=config["num_rotations"],
        pad_input=config["pad_input"],
        stack=config["stack"],
        final_nonlinearity=config["final_nonlinearity"],
        momentum=config["momentum"],
    )
    for index, size in ((0, 5), (1, 3)):
        ours = hermite.rotated_kernels(
            case.param[f"features.layer{index}.hermite_conv.coeffs"],
            size,
            rotations=8,
            upsampling=2,
            first=index == 0,
        )
        assert relative(ours, kernel(case.output[f"weights_layer{index}"])) < 1e-5
    assert_golden(core, case, images)


def test_baseline_has_the_published_number_of_parameters():
    x = jax.ShapeDtypeStruct((1, 1, 2, 36, 64, 3), jnp.float32)
    variables = jax.eval_shape(
        lambda x: BASELINE.init(jax.random.key(0), x, train=False), x
    )
    assert trees.sizes(variables["params"])["total"] == 44_152
    assert BASELINE.out_shape(2, 36, 64) == (2, 28, 56, 64)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("rotations", [4, 8])
def test_a_quarter_turn_of_the_input_turns_the_maps_and_cycles_orientations(
    rotations, train
):
    core = RotationEquivariant2dCore(2, 3, 5, 3, 3, rotations=rotations, stack=-1)
    x = np.random.default_rng(0).normal(size=(1, 2, 1, 13, 13, 2)).astype(np.float32)
    variables = start(core, x)
    y, _ = run(core, variables, x, train=train)
    turned, _ = run(core, variables, np.rot90(x, axes=(3, 4)), train=train)

    def orientations(y):
        return y.reshape(*y.shape[:-1], rotations, -1)

    quarter = rotations // 4
    rotated = np.rot90(orientations(y), axes=(3, 4))
    errors = [
        relative(orientations(turned), np.roll(rotated, sign * quarter, axis=-2))
        for sign in (-1, 1)
    ]
    assert min(errors) < 1e-4
    assert max(errors) > 0.1


@pytest.mark.parametrize("shared", [True, False])
def test_input_gradient_agrees_with_finite_differences(shared):
    core = RotationEquivariant2dCore(
        2, (2, 3), 5, 3, 2, rotations=4, stride=2, shared_norm=shared, stack=-1
    )
    x = np.random.default_rng(0).normal(size=(2, 1, 2, 13, 15, 2)).astype(np.float32)
    check_input_gradient(core, x)
    stats = start(core, x)["batch_stats"]
    assert stats["layer1"]["norm"]["mean"].shape == ((3,) if shared else (12,))


def test_coefficients_start_normal():
    x = jnp.zeros((1, 1, 1, 28, 28, 3))
    params = jax.jit(lambda: BASELINE.init(jax.random.key(0), x, train=False))()
    coefficients = params["params"]["layer1"]["conv"]["coefficients"]
    assert coefficients.shape == (28, 64, 8)
    assert abs(float(coefficients.std()) / 0.1 - 1) < 0.05
