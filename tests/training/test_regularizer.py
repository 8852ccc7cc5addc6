"""Which penalty reaches which mouse, and what padding has to do with it: nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax.errors import UserError
from sensorium_jax.models.parts import smoothness
from sensorium_jax.models.parts.modulator import modulator_l1
from sensorium_jax.models.parts.penalties import average, each, l1
from sensorium_jax.models.readouts.readout import readout_l1
from sensorium_jax.training.losses import regularizer
from sensorium_jax.training.losses.regularizer import Penalty, pieces, total


def params():
    rng = np.random.default_rng(1)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)  # noqa: E731
    return {
        "core": {"layer0": {"kernel": draw(5, 5, 2, 3)}, "layer1": {"w": draw(3, 3)}},
        "readout": {"features": draw(3, 6, 4)},
        "modulator": {"layer1": {"kernel": draw(3, 10, 6)}},
    }


NEURONS = np.arange(6)[None] < np.array([6, 2, 4])[:, None]
RULES = [
    Penalty("core/layer0/kernel", each(smoothness.laplace_l2norm), 2.0),
    Penalty("core/.*", average(l1), 0.5),
    Penalty("readout/features", readout_l1, 0.1),
    Penalty("modulator/layer1/kernel", modulator_l1, 3.0),
]


def test_pieces_belong_to_their_mice_and_padding_counts_nothing():
    p = params()
    mice = np.array([True, True, False])
    found = pieces(RULES, p, NEURONS, mice)
    w, f, g = (
        np.asarray(x)
        for x in (
            p["core"]["layer0"]["kernel"],
            p["readout"]["features"],
            p["modulator"]["layer1"]["kernel"],
        )
    )
    core = 2 * smoothness.laplace_l2norm(jnp.asarray(w)) + 0.25 * (
        np.abs(w).sum() + np.abs(p["core"]["layer1"]["w"]).sum()
    )
    for m, n in ((0, 6), (1, 2)):
        own = 0.1 * np.abs(f[m, :n]).sum() + 3 * np.abs(g[m, :, :n]).mean()
        np.testing.assert_allclose(found[m], core + own, rtol=1e-5)
    assert found[2] == 0
    both = total(RULES, p, NEURONS, mice)
    np.testing.assert_allclose(both, found.sum(), rtol=1e-6)
    once = total(RULES, p, NEURONS, mice, core_per_mouse=False)
    np.testing.assert_allclose(both - once, core, rtol=1e-4)


def test_padding_gets_no_gradient():
    mice = np.array([True, True, False])
    grad = jax.jit(jax.grad(lambda p: total(RULES, p, NEURONS, mice)))(params())
    features = np.asarray(grad["readout"]["features"])
    assert np.all((features != 0).all(2) == (NEURONS & mice[:, None]))
    gain = np.asarray(grad["modulator"]["layer1"]["kernel"])
    assert np.all((gain != 0).all(1) == (NEURONS & mice[:, None]))


def test_a_pattern_that_matches_nothing_is_an_error():
    rule = Penalty("core/layer7/kernel", each(l1), 0.0)
    with pytest.raises(UserError, match="core/layer0/kernel"):
        total([rule], params(), NEURONS, np.ones(3, bool))


def test_clip_projects_only_what_its_rules_name():
    p = params()
    out = regularizer.clip(p, [("readout/features", -0.1, 0.1)])
    assert np.abs(out["readout"]["features"]).max() == np.float32(0.1)
    np.testing.assert_array_equal(
        out["core"]["layer0"]["kernel"], p["core"]["layer0"]["kernel"]
    )
