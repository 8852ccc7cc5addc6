import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax import trees
from sensorium_jax.errors import UserError
from sensorium_jax.models.readouts.gaussian import (
    CortexPredictor,
    GaussianReadout,
    position,
)
from sensorium_jax.models.rows import Side, center
from support.models.mice import one_mouse
from support.models.whole import ask, start
from support.originals.golden import FOLDER, load, readout_tree, relative
from support.quick import quick  # noqa: F401

CASES = (
    "gauss_cortex_full",
    "gauss_free_full",
    "gauss_free_uncorr_alignF",
    "gauss_iso_shared",
)
FREE = GaussianReadout(predictor=None)


def original(name):
    """The readout, its parameters, the mouse and the inputs of a golden case."""
    case = load(name)
    config = case.config
    predictor = None
    if "grid_mean_predictor" in config:
        given = config["grid_mean_predictor"]
        predictor = CortexPredictor(
            given["hidden_features"], given["hidden_layers"], given["final_tanh"]
        )
    match = case.param.get("feature_sharing_index")
    mouse = one_mouse(
        config["outdims"], coordinates=case.param.get("source_grid"), match=match
    )
    readout = GaussianReadout(
        config["gauss_type"],
        predictor,
        config["init_mu_range"],
        config["init_sigma"],
        shared=0 if match is None else int(match.max()) + 1,
        align_corners=config.get("align_corners", True),
    )
    feat = np.moveaxis(case.input["x"], 1, -1)[:, None]
    shift, noise = case.input["shift"][:, None], case.input["noise"][:, None, :, 0]
    return readout, readout_tree(case.param), mouse, feat, shift, noise, case


@pytest.mark.parametrize("name", CASES)
def test_equals_the_original(name):
    readout, params, mouse, feat, shift, noise, case = original(name)

    def drive(params, shift, *, train=False):
        side = Side(shift_bt2=shift, noise_btn2=noise if train else None)
        return readout.apply({"params": params}, feat, mouse, side, train=train)[:, 0]

    def loss(params):
        drives = {
            "eval_noshift": drive(params, None),
            "eval_shift": drive(params, shift),
            "train_shift_noise": drive(params, shift, train=True),
        }
        return jnp.sum(drives["train_shift_noise"] * case.input["g"]), drives

    (_, drives), grad = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    for key, ours in drives.items():
        assert relative(ours, case.output[key]) < 1e-5
    expected = readout_tree(case.grad)
    assert jax.tree.structure(grad) == jax.tree.structure(expected)
    for ours, theirs in zip(*map(jax.tree.leaves, (grad, expected)), strict=True):
        assert relative(ours, theirs) < 1e-4


def test_coordinates_are_centered_over_real_neurons_by_one_magnitude():
    case = load("gauss_cortex_full")
    with np.load(FOLDER / "gauss_cortex_full.npz") as file:
        raw = file["raw_source_grid"]
    padded = np.concatenate([raw, np.full((4, 2), 1e6)])
    ours = center(padded, np.arange(29) < 25)
    assert relative(ours[:25], case.param["source_grid"]) < 1e-6
    assert not ours[25:].any()


def test_gradient_with_respect_to_maps_shift_and_position_by_finite_differences():
    rng = np.random.default_rng(0)
    feat = rng.normal(size=(2, 3, 6, 7, 4)).astype(np.float32)
    shift = rng.uniform(-0.2, 0.2, (2, 3, 2)).astype(np.float32)
    mouse = one_mouse(5)
    params = start(FREE, jax.random.key(3), feat, mouse, Side(), train=False)["params"]
    g = rng.normal(size=(2, 3, 5)).astype(np.float32)
    way = jax.tree.map(
        lambda x: rng.normal(size=x.shape).astype(np.float32), (feat, shift, params)
    )

    @jax.jit
    def loss(feat, shift, params):
        side = Side(shift_bt2=shift)
        return jnp.sum(
            FREE.apply({"params": params}, feat, mouse, side, train=False) * g
        )

    grads = jax.jit(jax.grad(loss, (0, 1, 2)))(feat, shift, params)
    slope = sum(
        jnp.sum(a * b) for a, b in zip(*map(jax.tree.leaves, (grads, way)), strict=True)
    )
    h = 1e-3
    up, down = (
        loss(*jax.tree.map(lambda x, d, s=s: x + s * h * d, (feat, shift, params), way))
        for s in (1, -1)
    )
    np.testing.assert_allclose(slope, (up - down) / (2 * h), rtol=2e-2)


def test_a_position_on_the_border_keeps_its_whole_gradient():
    @jax.jit
    def corner(mu):
        return position(jnp.array([[mu, 0.0]]), jnp.zeros((1, 1)), None)[0, 0, 0, 0]

    for mu, slope in ((1.0, 1.0), (0.3, 1.0), (1.5, 0.0)):
        assert jax.grad(corner)(mu) == slope
    assert corner(-7.0) == -1

    mouse, feat = one_mouse(1), jnp.ones((1, 1, 3, 3, 1))
    ramp = feat * jnp.arange(3.0)[None, None, None, :, None]
    params = start(FREE, jax.random.key(0), ramp, mouse, Side(), train=False)["params"]
    params = params | {"mu": jnp.array([[-1.4, 0.0]])}

    @jax.jit
    def read(params):
        return FREE.apply({"params": params}, ramp, mouse, Side(), train=False)[0, 0, 0]

    # The original writes -1 into the parameter and goes on from there.
    assert float(read(params)) == 0
    assert float(jax.grad(read)(params)["mu"][0, 0]) == pytest.approx(1)


def test_padding_changes_neither_start_nor_noise_of_real_neurons():
    feat = np.random.default_rng(1).normal(size=(2, 3, 6, 7, 4)).astype(np.float32)
    few, many = one_mouse(5), one_mouse(5, padded=4)
    for readout in (FREE, GaussianReadout()):
        drives, params = [], []
        for mouse in (few, many):
            side = Side(key=jax.random.key(9))

            @jax.jit
            def answer(mouse, readout=readout, side=side):
                v = readout.init(jax.random.key(2), feat, mouse, side, train=True)
                return v, readout.apply(v, feat, mouse, side, train=True)

            v, y = answer(mouse)
            params.append(trees.named_leaves(v))
            drives.append(y)
        np.testing.assert_allclose(drives[0], drives[1][..., :5], rtol=2e-6)
        for name, value in params[0].items():
            longer = params[1][name]
            if longer.shape != value.shape:
                np.testing.assert_array_equal(value, longer[: len(value)])
                assert not np.any(longer[len(value) :]), name
            else:
                np.testing.assert_array_equal(value, longer)


def test_every_frame_and_neuron_draws_its_own_position_with_the_right_spread():
    # On a map that is its own x coordinate the drive is the position itself.
    ramp = jnp.linspace(-1, 1, 41)[None, None, None, :, None]
    feat = jnp.broadcast_to(ramp, (40, 25, 5, 41, 1))
    readout = GaussianReadout("full", None, init_sigma=0.3)
    mouse = one_mouse(3)
    side = Side(key=jax.random.key(0))
    v = start(readout, jax.random.key(1), feat, mouse, side, train=True)
    drive = np.asarray(ask(readout, v, feat, mouse, side, train=True))
    sigma, mu = v["params"]["sigma"], v["params"]["mu"]
    expected = np.sqrt(np.sum(sigma[:, 0] ** 2, -1))
    np.testing.assert_allclose(drive.std((0, 1)), expected, rtol=0.1)
    np.testing.assert_allclose(drive.mean((0, 1)), mu[:, 0], atol=0.04)
    assert np.unique(drive[:, :, 0]).size > 900
    assert abs(np.corrcoef(drive.reshape(-1, 3).T)[0, 1]) < 0.1
    still = ask(readout, v, feat, mouse, side, train=False)
    np.testing.assert_allclose(still[0, 0], mu[:, 0], atol=1e-5)
    one = GaussianReadout("full", None, per_frame=False)
    same = np.asarray(ask(one, v, feat, mouse, side, train=True))
    assert np.ptp(same, (0, 1)).max() < 1e-6


def test_start_follows_the_options():
    feat = jnp.zeros((1, 1, 4, 4, 8))
    rates = np.array([0.1, 0.7, 0.4], np.float32)
    mouse = one_mouse(3, rates=rates, padded=2)

    def begun(readout):
        key = jax.random.key(0)
        return start(readout, key, feat, mouse, Side(), train=False)["params"]

    p = begun(GaussianReadout("uncorrelated", None, init_sigma=0.25))
    assert p["sigma"].shape == (5, 2) and np.all(p["sigma"][:3] == 0.25)
    np.testing.assert_array_equal(p["bias"][:3], rates)
    assert np.all(p["features"][:3] == 1 / 8) and not p["features"][3:].any()
    assert 0.05 < np.abs(p["mu"][:3]).max() <= 0.3
    assert "bias" not in begun(GaussianReadout(use_bias=False))
    with pytest.raises(UserError, match="isotropic.*uncorrelated"):
        begun(GaussianReadout("round"))
