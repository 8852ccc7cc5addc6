"""The vision transformer repeats its original, and what it promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax import trees
from sensorium_jax.models.cores.v1t import V1TCore
from sensorium_jax.models.parts.penalties import GENERAL
from support.originals.golden import images, load, relative
from support.originals.transformers import farthest, v1t_core
from support.quick import quick  # noqa: F401


def original(name):
    """Core, parameters and input of a golden case."""
    case = load(name)
    c = case.config
    channels = case.input["image"].shape[1]
    core = V1TCore(
        channels + 5,
        video_channels=channels,
        patch=c["patch_size"],
        patch_stride=c["patch_stride"],
        features=c["emb_dim"],
        blocks=c["num_blocks"],
        heads=c["num_heads"],
        hidden=c["mlp_dim"],
        not_self=c["use_lsa"],
    )
    x = images(case.input["image"])
    signals = np.concatenate([case.input["behavior"], case.input["pupil_center"]], -1)
    maps = np.broadcast_to(signals[None, :, None, None, None], (*x.shape[:-1], 5))
    return core, v1t_core(case.param), np.concatenate([x, maps], -1), case


def test_core_and_its_penalty_equal_the_original():
    core, params, x, case = original("v1t_core_lsa")
    y = jax.jit(lambda p: core.apply({"params": p}, x, train=False))(params)
    assert y.shape[2:] == core.out_shape(*x.shape[2:5])
    assert relative(y, images(case.output["core"])) < 1e-5
    l1 = GENERAL["l1"](trees.named_leaves(params), np.ones((1, 1), bool))
    assert relative(0.5379 * l1, case.output["l1"]) < 1e-5


@pytest.mark.parity
@pytest.mark.parametrize("name", ["v1t_core", "v1t_core_lsa"])
def test_gradients_equal_the_original(name):
    core, params, x, case = original(name)

    def loss(params):
        y = core.apply({"params": params}, x, train=False)
        return jnp.sum(y * images(case.input["g"])), y

    grad, y = jax.jit(jax.grad(loss, has_aux=True))(params)
    assert relative(y, images(case.output["core"])) < 1e-5
    assert farthest(grad, v1t_core(case.grad)) < 1e-4


def test_full_size_has_the_weights_of_the_original():
    core = V1TCore(6)
    picture = jnp.zeros((1, 1, 1, 36, 64, 6))
    shapes = jax.eval_shape(lambda: core.init(jax.random.key(0), picture, train=False))
    assert trees.sizes(shapes["params"])["total"] == 2_465_200
    assert core.out_shape(1, 36, 64) == (1, 29, 57, 155)
