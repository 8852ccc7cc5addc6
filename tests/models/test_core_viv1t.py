"""The factorized video transformer repeats its original, and what it promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax import trees
from sensorium_jax.errors import UserError
from sensorium_jax.models import rows
from sensorium_jax.models.cores.viv1t import Patches, ViV1TCore
from sensorium_jax.models.encoder import Encoder
from sensorium_jax.models.ops.geometry import Geometry
from sensorium_jax.models.parts.shifter import MLPShifter
from sensorium_jax.models.readouts.gaussian import GaussianReadout
from support.models.cores import start
from support.models.mice import mice
from support.originals.golden import load, relative, video
from support.originals.transformers import farthest, viv1t_trees
from support.quick import quick  # noqa: F401

CASES = ("viv1t_core", "viv1t_core_flash0_normqk_swiglu", "viv1t_core_parallel_bmlp")
SIGMA = "readouts.A.sigma"
TINY = {
    "patch": 3,
    "patch_frames": 2,
    "max_frames": 8,
    "features": 4,
    "space_blocks": 1,
    "time_blocks": 1,
    "heads": 2,
    "head_width": 3,
    "hidden": 5,
}


def original(name):
    """The encoder and the variables of a golden case, and its inputs."""
    case = load(name)
    c = case.config
    assert c["core_behavior_mode"] in (2, 4)  # signals with the patches, or in blocks
    core = ViV1TCore(
        5,
        patch=c["core_spatial_patch_size"],
        patch_stride=c["core_spatial_patch_stride"],
        patch_frames=c["core_temporal_patch_size"],
        max_frames=c["input_shapes"]["video"][1],
        features=c["core_emb_dim"],
        space_blocks=c["core_spatial_depth"],
        time_blocks=c["core_temporal_depth"],
        heads=c["core_num_heads"],
        head_width=c["core_head_dim"],
        hidden=c["core_mlp_dim"],
        parallel=c["core_parallel_attention"],
        swiglu=c["core_ff_activation"] == "swiglu",
        norm_qk=c["core_norm_qk"],
        scale_by_head=c["core_flash_attention"] == 1,
        states=c["core_behavior_mode"] == 4,
    )
    encoder = Encoder(
        core,
        GaussianReadout(state=True),
        shifter=MLPShifter(),
        behavior_as_channels=True,
        pupil_as_channels=True,
    )
    neurons = c["output_shapes"]["A"][0]
    info = rows.mouse_rows(mice([neurons]))
    info["coordinates_n2"] = case.param["readouts.A.source_grid"][None]
    x = [
        video(case.input["video"]),
        *(
            np.moveaxis(case.input[k], 1, -1)[None]
            for k in ("behavior", "pupil_center")
        ),
    ]
    return encoder, viv1t_trees(case.param, ["A"]), info, x, case


def answers(encoder, params, info, x):
    """Rates, and the maps of the core."""
    rates, seen = encoder.apply(
        {"params": params, "info": info},
        *x,
        train=False,
        capture_intermediates=lambda module, _: isinstance(module, ViV1TCore),
        mutable=["intermediates"],
    )
    return rates[0], seen["intermediates"]["core"]["__call__"][0]


def check(rates, maps, case):
    assert relative(maps, video(case.output["core"])) < 1e-5
    assert relative(rates, np.swapaxes(case.output["out"], 1, 2)) < 1e-5


def test_core_and_rates_equal_the_original():
    encoder, params, info, x, case = original("viv1t_core_parallel_bmlp")
    check(*jax.jit(lambda p: answers(encoder, p, info, x))(params), case)


@pytest.mark.parity
@pytest.mark.parametrize("name", CASES)
def test_gradients_equal_the_original(name):
    encoder, params, info, x, case = original(name)

    def loss(params):
        rates, maps = answers(encoder, params, info, x)
        return jnp.sum(rates * np.swapaxes(case.input["g"], 1, 2)), (rates, maps)

    grad, (rates, maps) = jax.jit(jax.grad(loss, has_aux=True))(params)
    check(rates, maps, case)
    theirs = viv1t_trees(case.grad | {SIGMA: case.param[SIGMA]}, ["A"])
    for tree in (grad, theirs):
        tree["readout"].pop("sigma")  # draws nothing in evaluation
    assert farthest(grad, theirs) < 1e-4


def tiny(**options):
    """A small core, its weights and a film with two signals."""
    core = ViV1TCore(3, **TINY | options)
    x = np.random.default_rng(0).normal(size=(2, 2, 6, 7, 9, 3)).astype(np.float32)
    x[..., 1:] = x[:, :, :, :1, :1, 1:]  # signals are the same everywhere
    return core, start(core, x), x


@pytest.mark.parametrize("parallel", [True, False])
def test_full_size_has_the_weights_of_the_original(parallel):
    core = ViV1TCore(5, parallel=parallel)
    film = jnp.zeros((1, 1, 25, 36, 64, 5))
    shapes = jax.eval_shape(lambda: core.init(jax.random.key(0), film, train=False))
    count = trees.sizes(shapes["params"])["total"]
    assert count == (2_916_074 if parallel else 2_920_746)
    assert core.out_shape(300, 36, 64) == (276, 15, 29, 112)


@pytest.mark.parity
def test_parts_of_the_sequences_recomputed_give_the_same():
    core, variables, x = tiny()

    def loss(core):
        return lambda v: jnp.sum(jnp.sin(core.apply(v, x, train=False)))

    lean = core.clone(together=2, remat=True)  # five frames, nine places
    (one, grad), (other, lean_grad) = (
        jax.jit(jax.value_and_grad(loss(c)))(variables) for c in (core, lean)
    )
    np.testing.assert_allclose(one, other, rtol=1e-5)
    for a, b in zip(*map(jax.tree.leaves, (grad, lean_grad)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_signals_reach_the_tokens_and_clips_have_a_longest():
    core, variables, x = tiny(states=True)
    run = jax.jit(lambda x: core.apply(variables, x, train=False))
    other = x.copy()
    other[:, :, 4, ..., 1] += 1
    assert np.abs(run(x) - run(other)).max() > 1e-3
    with pytest.raises(UserError, match="9 frames; .* at most 8.*max_frames"):
        core.out_shape(9, 7, 9)


def test_a_patch_is_normalized_as_if_it_had_been_cut_out():
    r = np.random.default_rng(1)
    x = r.normal(3, 1, (1, 1, 4, 6, 5, 2)).astype(np.float32)
    module = Patches(3, Geometry.of((2, 3, 3), stride=(1, 2, 2)))
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), x))["params"]
    params = trees.map_named(lambda n, s: r.normal(size=s.shape), shapes)
    ours = np.asarray(jax.jit(module.apply)({"params": params}, x))[0, 0]
    assert ours.shape == (3, 2, 2, 3)
    for t, i, j in np.ndindex(3, 2, 2):
        patch = x[0, 0, t : t + 2, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
        v = normed(np.moveaxis(patch, -1, 0).ravel())
        y = (v * params["scale"] + params["shift"]) @ params["kernel"] + params["bias"]
        y = normed(y) * params["norm"]["scale"] + params["norm"]["bias"]
        np.testing.assert_allclose(ours[t, i, j], y, rtol=1e-3, atol=1e-4)


def normed(v):
    return (v - v.mean()) / np.sqrt(v.var() + 1e-5)
