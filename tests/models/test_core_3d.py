import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax import trees
from sensorium_jax.errors import UserError
from sensorium_jax.models.cores.basic3d import Basic3dCore
from sensorium_jax.models.cores.factorized3d import Factorized3dCore
from support.models.cores import assert_golden, check_input_gradient, run, start
from support.originals.golden import load, relative, video

BASELINE = Factorized3dCore(3, (32, 64, 128), 11, 11, 5, 5, momentum=0.7)


def factorized(config):
    return Factorized3dCore(
        config["input_channels"],
        tuple(config["hidden_channels"]),
        tuple(config["spatial_input_kernel"]),
        config["temporal_input_kernel"],
        tuple(config["spatial_hidden_kernel"]),
        config["temporal_hidden_kernel"],
        config["layers"],
        stride=tuple(np.broadcast_to(config["stride"], 3).tolist()),
        padding=config["padding"],
        nonlinearity=config["hidden_nonlinearities"],
        final_nonlinearity=config["final_nonlin"],
        bias=config["bias"],
        batch_norm_scale=config.get("batch_norm_scale", True),
        momentum=config["momentum"],
    )


@pytest.mark.parametrize("name", ["factorized3d_nopad", "factorized3d_pad_stride_rect"])
def test_factorized_core_equals_the_original(name):
    case = load(name)
    assert_golden(factorized(case.config), case, video)


def test_basic_core_equals_the_original():
    case = load("basic3d")
    config = case.config
    core = Basic3dCore(
        config["input_channels"],
        tuple(config["hidden_channels"]),
        tuple(config["input_kernel"]),
        tuple(config["hidden_kernel"]),
        config["layers"],
        momentum=config["momentum"],
    )
    assert_golden(core, case, video)


def test_baseline_has_the_published_number_of_parameters_and_frames():
    x = jax.ShapeDtypeStruct((1, 1, 80, 36, 64, 3), jnp.float32)
    core = BASELINE
    variables = jax.eval_shape(
        lambda x: core.init(jax.random.key(0), x, train=False), x
    )
    assert trees.sizes(variables["params"])["total"] == 382_176
    assert core.lost_frames == 18
    assert core.out_shape(80, 36, 64) == (62, 18, 46, 128)
    y = jax.eval_shape(lambda v, x: core.apply(v, x, train=False), variables, x)
    assert y.shape == (1, 1, 62, 18, 46, 128)


@pytest.mark.parametrize(
    "core",
    [
        Basic3dCore(
            2, 3, 3, (2, 3, 3), 2, hidden_spatial_dilation=2, input_temporal_dilation=2
        ),
        Factorized3dCore(
            2, 3, 3, 2, 3, 2, 2, stride=2, padding=True, hidden_temporal_dilation=2
        ),
    ],
    ids=["basic", "factorized"],
)
def test_input_gradient_agrees_with_finite_differences(core):
    x = np.random.default_rng(0).normal(size=(2, 1, 8, 11, 12, 2)).astype(np.float32)
    check_input_gradient(core, x)
    assert core.out_shape(8, 11, 12)[0] == 8 - core.lost_frames


def test_bad_input_is_found_with_words():
    def begin(*shape, core=BASELINE):
        x = jnp.zeros((1, 1, *shape))
        return jax.eval_shape(lambda: core.init(jax.random.key(0), x, train=False))

    with pytest.raises(UserError, match="shape .*, expected .* 3 channels"):
        begin(20, 36, 64, 1)
    with pytest.raises(UserError, match="Too few frames.*at least 1 more"):
        begin(18, 36, 64, 3)
    with pytest.raises(UserError, match="Too few pixel rows"):
        begin(20, 10, 64, 3)
    with pytest.raises(UserError, match="stride has 2 entries"):
        BASELINE.clone(stride=(1, 2)).out_shape(80, 36, 64)
    with pytest.raises(UserError, match="Did you mean 'softplus'"):
        begin(19, 36, 64, 3, core=BASELINE.clone(nonlinearity="softplsu"))


def test_padding_mice_change_nothing():
    core = Factorized3dCore(2, 3, 3, 2, 3, 2, 1, padding=True, momentum=0.7)
    x = np.random.default_rng(0).normal(size=(2, 2, 4, 7, 8, 2)).astype(np.float32)
    variables = start(core, x)
    mice = np.array([True, False, True])
    padded = np.insert(x, [1], 0 * x[:1], axis=0)
    y, new = run(core, variables, x, train=True)
    z, new_padded = run(core, variables, padded, train=True, mice_m=mice)
    assert relative(z[mice], y) < 1e-6
    for a, b in zip(*map(jax.tree.leaves, (new, new_padded)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
