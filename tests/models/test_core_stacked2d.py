from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax import trees
from sensorium_jax.errors import UserError
from sensorium_jax.models.cores.stacked2d import Stacked2dCore
from support.models.cores import assert_golden, check_input_gradient, run, start
from support.originals.golden import images, load

PUBLISHED = Stacked2dCore(
    1,
    64,
    9,
    7,
    4,
    pad_input=False,
    stack=-1,
    depth_separable=True,
    conv_bias=False,
    momentum=0.9,
)


@pytest.mark.parametrize("name", ["stacked2d_depthsep", "stacked2d_stackall_bias"])
def test_equals_the_original(name):
    case = load(name)
    config = case.config
    core = Stacked2dCore(
        config["input_channels"],
        config["hidden_channels"],
        config["input_kern"],
        config["hidden_kern"],
        config["layers"],
        skip=config["skip"],
        pad_input=config["pad_input"],
        stack=config["stack"],
        depth_separable=config["depth_separable"],
        final_nonlinearity=config["final_nonlinearity"],
        bias=config["bias"],
        momentum=config["momentum"],
    )
    assert_golden(core, case, images)


def test_parameters_are_those_of_the_published_checkpoint():
    x = jax.ShapeDtypeStruct((2, 1, 1, 36, 64, 1), jnp.float32)
    variables = jax.eval_shape(
        lambda x: PUBLISHED.init(jax.random.key(0), x, train=False), x
    )
    sizes = {n: v.shape for n, v in trees.named_leaves(variables["params"]).items()}
    assert sizes["layer0/conv/kernel"] == (9, 9, 1, 64)
    assert sizes["layer3/conv/depthwise/kernel"] == (7, 7, 64)
    assert sizes["layer3/conv/pointwise_out/kernel"] == (64, 64)
    assert sizes["layer3/norm/scale"] == (64,)
    total = 81 * 64 + 3 * (2 * 64 * 64 + 49 * 64) + 4 * 2 * 64
    assert trees.sizes(variables["params"])["total"] == total
    assert PUBLISHED.out_shape(1, 36, 64) == (1, 28, 56, 64)
    assert PUBLISHED.lost_frames == 0


@pytest.mark.parametrize(
    "core",
    [
        Stacked2dCore(2, 4, 3, (3, 5), skip=2, hidden_dilation=2, stack=1),
        Stacked2dCore(
            2, 4, 5, 3, depth_separable=True, squeeze_blocks=2, squeeze_reduction=2
        ),
        Stacked2dCore(2, (3, 4, 5), 3, 3, stride=2, stack=-1, final_nonlinearity=False),
    ],
    ids=["skip", "squeeze", "stride"],
)
def test_input_gradient_agrees_with_finite_differences(core):
    x = np.random.default_rng(0).normal(size=(2, 2, 1, 9, 12, 2)).astype(np.float32)
    check_input_gradient(core, x)


def test_linear_core_is_linear_in_evaluation():
    core = Stacked2dCore(2, 4, 3, 3, linear=True, stack=-1)
    x = np.random.default_rng(0).normal(size=(2, 1, 1, 1, 9, 12, 2)).astype(np.float32)
    variables = start(core, x[0])

    def apply(x):
        return run(core, variables, x, train=False)[0]

    offset = apply(np.zeros_like(x[0]))
    np.testing.assert_allclose(
        apply(x[0] + x[1]) + offset, apply(x[0]) + apply(x[1]), atol=1e-5
    )
    bent = core.clone(linear=False)
    assert abs(run(bent, variables, x[0], train=False)[0] - apply(x[0])).max() > 0.1


def test_starts_like_the_original():
    core = Stacked2dCore(8, 64, 9, 7, 2, depth_separable=True)
    x = jnp.zeros((1, 1, 1, 9, 9, 8))
    params = jax.jit(lambda: core.init(jax.random.key(0), x, train=False)["params"])()
    for kernel, fans in (
        (params["layer0"]["conv"]["kernel"], 81 * (8 + 64)),
        (params["layer1"]["conv"]["depthwise"]["kernel"], 49 * (1 + 64)),
        (params["layer1"]["conv"]["pointwise_in"]["kernel"], 64 + 64),
    ):
        deviation = (2 / fans) ** 0.5
        assert abs(float(kernel.std()) / deviation - 1) < 0.05
        assert float(abs(kernel).max()) > 2.6 * deviation  # not truncated
    assert not params["layer1"]["conv"]["depthwise"]["bias"].any()


def test_bad_options_are_found_with_words():
    with pytest.raises(UserError, match="cannot be stacked"):
        Stacked2dCore(1, 4, 3, 3, stride=2).out_shape(1, 9, 9)
    with pytest.raises(UserError, match="skip=2"):
        Stacked2dCore(1, (4, 5, 6), 3, 3, skip=2).out_shape(1, 9, 9)
    with pytest.raises(UserError, match="hidden_channels has 2 entries"):
        Stacked2dCore(1, (4, 5), 3, 3).out_shape(1, 9, 9)
    squeezed = Stacked2dCore(1, 4, 3, 3, squeeze_blocks=1)
    for core, channels, words in (
        (PUBLISHED, 5, "expected .* with 1 channels"),
        (squeezed, 1, "smaller reduction"),
    ):
        x = jnp.zeros((1, 1, 1, 36, 64, channels))
        with pytest.raises(UserError, match=words):
            init = partial(core.init, train=False)
            jax.eval_shape(init, jax.random.key(0), x)
