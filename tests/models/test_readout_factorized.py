import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax.errors import UserError
from sensorium_jax.models.readouts.factorized import FactorizedReadout
from sensorium_jax.models.rows import Side
from support.models.mice import one_mouse
from support.models.whole import ask, start
from support.originals.golden import load, readout_tree, relative
from support.quick import quick  # noqa: F401


def drive(readout, params, feat, mouse):
    return ask(readout, {"params": params}, feat, mouse, Side(), train=False)


@pytest.mark.parametrize("name", ["full_factorized2d", "full_factorized2d_posspatial"])
def test_equals_the_original(name):
    case = load(name)
    readout = FactorizedReadout(
        normalize=case.config["normalize"],
        positive_spatial=case.config["positive_spatial"],
        constrain_positive=case.config["constrain_pos"],
        use_bias="bias" in case.param,
    )
    feat = np.moveaxis(case.input["x"], 1, -1)[:, None]
    ours = drive(readout, readout_tree(case.param), feat, one_mouse(20))
    assert relative(ours[:, 0], case.output["eval"]) < 1e-5


def test_masks_and_weights_factor_the_drive():
    rng = np.random.default_rng(0)
    feat = rng.normal(size=(2, 3, 4, 5, 6)).astype(np.float32)
    mouse, readout = one_mouse(3, rates=np.array([1, 2, 3])), FactorizedReadout()
    p = start(readout, jax.random.key(0), feat, mouse, Side(), train=False)["params"]
    norm = np.sqrt((p["spatial"] ** 2).sum((1, 2), keepdims=True)) + 1e-6
    w = np.einsum("nhw,nf->nhwf", p["spatial"] / norm, p["features"])
    expected = np.einsum("bthwf,nhwf->btn", feat, w) + np.array([1, 2, 3])[None, None]
    assert relative(drive(readout, p, feat, mouse), expected) < 1e-5
    assert 5e-4 < np.std(p["spatial"]) < 2e-3


def test_padding_changes_nothing_and_gives_no_nan_gradient():
    rng = np.random.default_rng(1)
    feat = rng.normal(size=(1, 2, 4, 5, 3)).astype(np.float32)
    readout, drives = FactorizedReadout(), []
    for mouse in (one_mouse(3), one_mouse(3, padded=2)):
        key = jax.random.key(0)
        p = start(readout, key, feat, mouse, Side(), train=False)["params"]
        drives.append(drive(readout, p, feat, mouse))
        grad = jax.jit(
            jax.grad(lambda p, m=mouse: jnp.sum(drive(readout, p, feat, m) ** 2))
        )(p)
        assert all(np.isfinite(g).all() for g in jax.tree.leaves(grad))
    np.testing.assert_allclose(drives[0], drives[1][..., :3], rtol=1e-5)


def test_constrained_masks_are_cut_but_still_learn():
    feat = jnp.ones((1, 1, 2, 2, 1))
    readout = FactorizedReadout(normalize=False, constrain_positive=True)
    p = {
        "spatial": jnp.array([[[-1.0, 2.0], [3.0, -4.0]]]),
        "features": jnp.ones((1, 1)),
        "bias": jnp.zeros(1),
    }
    assert float(drive(readout, p, feat, one_mouse(1))[0, 0, 0]) == 5
    grad = jax.grad(lambda p: drive(readout, p, feat, one_mouse(1))[0, 0, 0])(p)
    assert np.all(grad["spatial"] == 1)


def test_refuses_a_shift():
    side = Side(shift_bt2=jnp.zeros((1, 1, 2)))
    with pytest.raises(UserError, match="without a shifter"):
        FactorizedReadout().init(
            jax.random.key(0),
            jnp.ones((1, 1, 2, 2, 1)),
            one_mouse(1),
            side,
            train=False,
        )
