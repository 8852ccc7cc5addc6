"""The winner of 2023 repeats its original: rates, gradients, running statistics."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax import trees
from sensorium_jax.errors import UserError
from sensorium_jax.models.cores.dwiseneuro import DwiseNeuroCore, nearest
from sensorium_jax.models.parts.drop import drop_features, drop_path
from sensorium_jax.models.parts.output import softplus
from sensorium_jax.models.parts.sinusoids import add_position
from sensorium_jax.training import forward
from sensorium_jax.zoo.published import dwise2023, names, translate
from support.models.cores import assert_gradients, start
from support.originals import golden
from support.originals.golden import relative

CASE = golden.load("dwiseneuro")
NEURONS = CASE.config["readout_outputs"]
WIDTH = 14  # outputs of the larger readout
VIDEO = golden.video(CASE.input["x"])[0]


def in_our_names(arrays):
    """Arrays of the original as our collections; rows of mice stacked and padded."""
    found = names.read(dwise2023.TABLE, dwise2023.CONSTANTS, arrays)
    assert not found.left
    leaves = dict(found.shared)
    for name in found.mice.get("0", {}):
        leaves[name] = golden.stack([found.mice[str(m)][name] for m in range(2)])
    return trees.unflatten(leaves)


@pytest.fixture(scope="module")
def original():
    """Encoder and variables from the original's state dict, as an import makes them."""
    c = CASE.config
    core = {
        "features": c["core_features"],
        "strides": c["spatial_strides"],
        "squeeze": c["se_reduce_ratio"],
        "cortex_features": c["cortex_features"],
        "drop_path": c["drop_path_rate"],
    }
    found = translate.convert(
        CASE.param, "dwise2023", core=core, readout={"drop": c["drop_rate"]}
    )
    # An odd number of neurons is filled up in the file, which does not say so.
    assert found.neurons == (14, 8) and found.mice == ("mouse0", "mouse1")
    assert found.inputs.frame_shape[2] == 1 and found.inputs.behaviors == 2
    assert found.changes["core.expansion"] == c["expansion_ratio"]
    encoder: Any = forward.without_signals(found.encoder)
    return encoder, found.variables


def rates_of(encoder, variables, x, **options):
    """Rates of every mouse for every sample, [B, M, T, N]."""
    signals = jnp.zeros((*x.shape[:2], 0)), jnp.zeros((*x.shape[:2], 2))
    return encoder.apply(
        variables, x, *signals, all_readouts=True, mutable=["batch_stats"], **options
    )


def of_both(arrays, kind):
    """The original's arrays of both mice as ours, [B, M, T, N]."""
    each = [np.moveaxis(arrays[f"{kind}{m}"], 1, 2) for m in range(2)]
    both = np.moveaxis(golden.stack(each), 0, 1)
    return np.pad(both, [(0, 0)] * 3 + [(0, WIDTH - both.shape[-1])])


def real(rates_bmtn):
    """Rates without those of neurons that do not exist."""
    there = np.arange(WIDTH) < np.array(NEURONS)[:, None]
    return np.where(there[None, :, None], rates_bmtn, 0)


def test_rates_are_the_originals(original):
    encoder, variables = original
    rates = jax.jit(lambda x: rates_of(encoder, variables, x, train=False)[0])
    got = real(rates(VIDEO))
    assert relative(got, of_both(CASE.output, "eval")) < 1e-5
    # What comes later changes rates before it, and the encoder says so.
    later = VIDEO.copy()
    later[:, -1] += 1
    assert not encoder.causal
    assert np.abs(real(rates(later)) - got)[:, :, 0].max() > 1e-6


@pytest.mark.parity  # compiles for long; the numbers are in the golden case
def test_gradients_and_statistics_are_the_originals(original):
    encoder, variables = original
    g, keys = of_both(CASE.input, "g"), {"sample": jax.random.key(0)}

    @jax.jit
    def learn(params):
        def loss(params):
            now = {**variables, "params": params}
            rates, new = rates_of(encoder, now, VIDEO, train=True, rngs=keys)
            return jnp.sum(rates * g), (rates, new["batch_stats"])

        return jax.grad(loss, has_aux=True)(params)

    grads, (rates, stats) = learn(variables["params"])
    assert relative(real(rates), of_both(CASE.output, "train")) < 1e-5
    expected = in_our_names(CASE.state_after_train)["batch_stats"]
    for name, theirs in trees.named_leaves(expected).items():
        assert relative(trees.named_leaves(stats)[name], theirs) < 1e-5, name
    assert_gradients(grads, in_our_names(CASE.grad)["params"])


def test_the_places_that_are_added_are_the_originals():
    case = golden.load("dwise_posenc64")
    expected = golden.video(case.output["pe"])
    assert relative(add_position(np.zeros_like(expected)), expected) < 1e-6


def test_uneven_frames_are_thinned_as_the_original_does():
    case = golden.load("dwise_shortcut_nearest")
    y = nearest(golden.video(case.input["x"]), 2) / np.sqrt(1 + 1e-5)
    assert relative(y, golden.video(case.output["short"])) < 1e-6


def test_softplus_is_a_line_far_up():
    probe = np.array(CASE.config["softplus_probe_in"], np.float32)
    beta = CASE.config["softplus_beta"]
    assert relative(softplus(probe, beta), CASE.output["softplus_probe"]) < 1e-6
    slope = jax.vmap(jax.grad(lambda x: softplus(x, beta)))(probe)
    assert slope[-2] == 1.0 and slope[3] < 1.0


NARROW = DwiseNeuroCore(
    input_channels=2,
    features=(4, 6),
    strides=(2, 1),
    expansion=2,
    squeeze=4,
    cortex_features=(8,),
    drop_path=0.5,
)


def test_branches_are_dropped_by_window_and_key():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 7, 2)).astype(np.float32)
    variables = start(NARROW, x)

    @jax.jit
    def learn(x, seed, mice_m):
        return NARROW.apply(
            variables,
            x,
            train=True,
            mice_m=mice_m,
            rngs={"dropout": jax.random.key(seed)},
            mutable=["batch_stats"],
        )

    both = np.ones(2, bool)
    (one, stats), (other, _) = learn(x, 0, both), learn(x, 1, both)
    assert one.shape == (2, 3, *NARROW.out_shape(4, 5, 7))
    np.testing.assert_array_equal(one, learn(x, 0, both)[0])
    assert not np.array_equal(one, other)
    # A mouse that only fills a mesh touches no statistic.
    alone = np.array([True, False])
    first = learn(x, 0, alone)[1]
    again = learn(np.stack([x[0], x[1] + 9]), 0, alone)[1]
    jax.tree.map(np.testing.assert_array_equal, first, again)
    leaves = (
        trees.named_leaves(s)["batch_stats/stem_norm/mean"] for s in (first, stats)
    )
    assert not np.array_equal(*leaves)


def test_what_is_kept_grows_so_that_the_mean_stays():
    key, ones = jax.random.key(3), jnp.ones((5, 400, 2))
    paths = np.asarray(drop_path(ones, 0.25, key))
    assert set(np.unique(paths)) == {0, np.float32(1 / 0.75)}
    assert np.ptp(paths, 2).max() == 0 and abs(paths.mean() - 1) < 0.05
    features = np.asarray(drop_features(jnp.ones((40, 3, 50)), 0.4, key))
    assert np.ptp(features, 1).max() == 0 and abs(features.mean() - 1) < 0.1
    assert len(np.unique(features.mean((1, 2)))) > 5  # each window its own features


def test_widths_that_do_not_divide_are_refused():
    for options, words in (
        ({"cortex_features": (7,)}, "groups"),
        ({"squeeze": 99}, "smaller squeeze"),
        ({"strides": (1,)}, "each block"),
    ):
        core = NARROW.clone(**options)
        with pytest.raises(UserError, match=words):
            jax.eval_shape(
                lambda core=core: core.init(
                    jax.random.key(0), jnp.zeros((1, 1, 3, 4, 4, 2)), train=False
                )
            )
