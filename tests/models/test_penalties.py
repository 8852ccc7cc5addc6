"""Every formula of a penalty, against the original or written out."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax.models.cores.rotation2d import rotated
from sensorium_jax.models.parts import smoothness
from sensorium_jax.models.parts.gru import gru_l1
from sensorium_jax.models.parts.hermite import rotated_kernels
from sensorium_jax.models.parts.shifter import shifter_l2
from sensorium_jax.models.readouts.factorized import factorized_l1
from sensorium_jax.models.readouts.gaussian import shared_readout_l1
from sensorium_jax.models.readouts.readout import readout_l1

GOLDEN = Path(__file__).parent.parent / "golden"


def case(name):
    with np.load(GOLDEN / f"{name}.npz") as file:
        return {k: file[k] for k in file.files if k != "config"}


CASE = case("regularizers")
ONE = np.ones((1, 1), bool)


def ours(kernel):
    """Torch (out, in, *space) as (*space, in, out)."""
    return jnp.asarray(np.moveaxis(kernel, (0, 1), (-1, -2)))


W, W1D, W3D = (ours(CASE[f"input/{k}"]) for k in ("w", "w1d", "w3d"))

FORMULAS = {
    "LaplaceL1": lambda: smoothness.laplace_l1(W),
    "GaussianLaplaceL2": lambda: smoothness.gaussian_laplace_l2(W, sigma=9 / 4),
    "GaussianLaplaceL2_avg": lambda: smoothness.gaussian_laplace_l2(W, mean=True),
    "GaussianLaplaceL2Adaptive": lambda: smoothness.gaussian_laplace_l2(W),
    "LaplaceL23d": lambda: smoothness.laplace_l2_3d(W3D),
    "FlatLaplaceL23d": lambda: smoothness.flat_laplace_l2_3d(W3D[:1]),
    "gaussian2d_9_s2.25": lambda: smoothness.gaussian((9, 9), 2.25),
}
for _name, _pad in (("padNone", None), ("pad0", 0)):
    for _how, _mean in (("avg", True), ("sum", False)):
        _options = {"padding": _pad, "mean": _mean}
        FORMULAS |= {
            f"LaplaceL2_{_how}_{_name}": partial(smoothness.laplace_l2, W, **_options),
            f"LaplaceL2norm_{_how}_{_name}": partial(
                smoothness.laplace_l2norm, W, **_options
            ),
            f"DepthLaplaceL21d_{_how}_{_name}": partial(
                smoothness.depth_laplace_l2norm, W1D, **_options
            ),
        }


@pytest.mark.parametrize("name", FORMULAS)
def test_formula_equals_the_original(name):
    np.testing.assert_allclose(FORMULAS[name](), CASE[f"output/{name}"], rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "taps", "padding"),
    [
        ("Laplace_padNone", smoothness.LAPLACE[3], None),
        ("Laplace_pad0", smoothness.LAPLACE[3], 0),
        ("Laplace_filter5", smoothness.LAPLACE[5], None),
        ("Laplace_filter7", smoothness.LAPLACE[7], None),
    ],
)
def test_filtered_kernels_equal_the_original(name, taps, padding):
    out = CASE[f"output/{name}"][:, 0]
    theirs = np.moveaxis(out.reshape(6, 3, *out.shape[1:]), (0, 1), (-1, -2))
    np.testing.assert_allclose(smoothness.filtered(W, taps, padding), theirs, atol=1e-4)


def test_every_formula_has_been_compared():
    compared = set(FORMULAS) | {f"Laplace_{k}" for k in ("padNone", "pad0")}
    compared |= {"Laplace_filter5", "Laplace_filter7"}
    assert {k.removeprefix("output/") for k in CASE if k.startswith("output/")} == (
        compared
    )


@pytest.mark.parametrize("name", ["full_factorized2d", "full_factorized2d_posspatial"])
def test_factorized_l1_repeats_the_broadcast_of_the_original(name):
    c = case(name)
    leaves = {
        "readout/spatial": c["param/spatial"][None],
        "readout/features": c["param/_features"][None],
    }
    penalty = partial(factorized_l1, positive_spatial="pos" in name)
    real = np.ones((1, 20), bool)
    np.testing.assert_allclose(
        0.0022 * penalty(leaves, real)[0], c["output/reg_sum"], rtol=1e-5
    )
    if "output/reg_mean" in c:
        np.testing.assert_allclose(
            0.0022 * penalty(leaves, real, mean=True)[0], c["output/reg_mean"], 1e-5
        )
    own = penalty(leaves, real, per_neuron=True)[0]
    mask = c["param/spatial"] / (
        np.sqrt((c["param/spatial"] ** 2).sum((1, 2), keepdims=True)) + 1e-6
    )
    each = np.abs(mask).sum((1, 2)) * np.abs(c["param/_features"]).sum(1)
    np.testing.assert_allclose(own, each.sum(), rtol=1e-5)


@pytest.mark.parametrize("name", ["gauss_cortex_full", "gauss_iso_shared"])
def test_readout_l1_equals_the_original(name):
    c = case(name)
    leaves = {"readout/features": c["param/_features"][0, :, 0].T[None]}
    penalty = readout_l1
    if "shared" in name:
        leaves["readout/scales"] = c["param/scales"].reshape(1, -1)
        match = c["param/feature_sharing_index"][None]
        penalty = shared_readout_l1(match)
        mean = shared_readout_l1(match, mean=True)
    else:
        mean = partial(readout_l1, mean=True)
    real = np.ones((1, 25), bool)
    for function, key in ((penalty, "reg_sum"), (mean, "reg_mean")):
        np.testing.assert_allclose(
            0.0076 * function(leaves, real)[0], c[f"output/{key}"], rtol=1e-5
        )


def test_shifter_and_gru_penalties_equal_the_original():
    c = case("static_affine_shifter")
    leaves = {"shifter/kernel": c["param/a.weight"].T[None]}
    np.testing.assert_allclose(
        0.5 * shifter_l2(leaves, ONE)[0], c["output/reg"], rtol=1e-6
    )
    c = case("gru_module")
    names = {"weight": "kernel", "bias": "bias"}
    leaves = {}
    for key, value in c.items():
        if key.startswith("param/gru."):
            gate, leaf = key.removeprefix("param/gru.").split(".")
            leaves[f"gru/{gate.replace('_gate', '')}/{names[leaf]}"] = value
    theirs = c["output/gru_regularizer"]
    np.testing.assert_allclose(0.3 * gru_l1(leaves, ONE), theirs, rtol=1e-5)
    assert not np.allclose(0.3 * gru_l1(leaves, ONE, official=False), theirs)


def test_group_sparsity_is_the_mean_norm_and_can_start_at_zero():
    expected = np.sqrt((np.asarray(W) ** 2).sum((0, 1))).mean()
    np.testing.assert_allclose(smoothness.group_sparsity(W), expected, rtol=1e-5)
    assert not jax.grad(smoothness.group_sparsity)(jnp.zeros((3, 3, 2, 2))).any()


def test_steerable_coefficients_are_penalized_through_their_kernels():
    coefficients = jnp.asarray(np.random.default_rng(0).normal(size=(6, 4, 2)))
    kernel = rotated_kernels(coefficients, 3, rotations=4, upsampling=2, first=False)
    penalty = rotated(smoothness.group_sparsity, rotations=4, upsampling=2, first=False)
    np.testing.assert_allclose(
        penalty(coefficients), smoothness.group_sparsity(kernel), rtol=1e-6
    )


def test_basic3d_penalties_sum_frames_and_pixels():
    frames = sum(smoothness.laplace_l2norm(W3D[t]) for t in range(5))
    pixels = sum(
        smoothness.depth_laplace_l2norm(W3D[:, i, j])
        for i in range(7)
        for j in range(7)
    )
    np.testing.assert_allclose(smoothness.frames_laplace_l2norm(W3D), frames, rtol=1e-5)
    np.testing.assert_allclose(smoothness.pixels_laplace_l2norm(W3D), pixels, rtol=1e-5)
