"""Some neurons of a twin are asked alone and answer as they do among all."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from sensorium_jax import asking, insilico, trees
from sensorium_jax.asking import Asking
from sensorium_jax.errors import UserError
from sensorium_jax.models.encoder import neuron_axes
from sensorium_jax.models.rows import mouse_rows
from sensorium_jax.zoo import describe
from sensorium_jax.zoo.assemble import Inputs, build
from sensorium_jax.zoo.twins.ensemble import ensemble
from sensorium_jax.zoo.twins.twin import Twin
from support.models.mice import mice
from support.quick import quick  # noqa: F401
from support.recordings.tiny import NARROW

FRAME, INFO = (8, 9, 1), mice([5, 9])
NEURONS = np.array([3, 8, 0, 3])


def twin(name="ln2023", asked=asking.PLAIN, seed=0, **changes):
    changes = {**NARROW[name], **changes}
    encoder = build(name, Inputs(FRAME, 2), **changes)
    shapes = jax.eval_shape(lambda: describe.init(encoder, INFO, 0))
    rng = np.random.default_rng(seed)

    def draw(leaf, x):
        value = rng.normal(0, 0.3, x.shape).astype(np.float32)
        return value**2 + 0.5 if leaf.endswith("/var") else value

    variables = {**trees.map_named(draw, shapes), "info": mouse_rows(INFO)}
    return Twin(encoder, variables, INFO.names, INFO.neurons, FRAME, 2, asked)


def clips(frames=10):
    rng = np.random.default_rng(1)
    shapes = ((4, frames, *FRAME), (4, frames, 2), (4, frames, 2))
    return [rng.normal(size=s).astype(np.float32) for s in shapes]


def own(rates_btn):
    return np.stack([rates_btn[i, :, n] for i, n in enumerate(NEURONS)])


@pytest.mark.parametrize(
    "changes",
    [{}, {"readout.kind": "attention", "shifter": None}],
    ids=["gaussian", "attention"],
)
def test_each_clip_is_for_one_neuron(changes):
    one = twin(**changes)
    x, behavior, pupil = clips()
    every = np.asarray(one.respond(x, behavior, pupil, 1))
    got = one.each(x, NEURONS, behavior, pupil, 1)
    np.testing.assert_allclose(got, own(every), rtol=1e-4, atol=1e-5)
    some = one.only(1, [8, 0])
    assert some.mice == ("b",) and some.neurons == (2,)
    assert some.card["mice"][0]["chosen"] == [8, 0]
    got = some.respond(x, behavior, pupil)
    np.testing.assert_allclose(got, every[..., [8, 0]], rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="Neuron 9 was asked for; b has 9"):
        one.only(1, [9])


def test_no_other_neuron_is_kept():
    one = twin()
    axes = neuron_axes(one.encoder, FRAME, 2)
    leaves = trees.named_leaves(one.variables)
    small = one.only(1, [0]).variables
    for name, x in trees.named_leaves(small).items():
        if name in axes:
            assert x.shape[axes[name] + 1] == 1, name
            assert leaves[name].shape[axes[name] + 1] == 9, name


def test_an_ensemble_of_twins_asked_differently():
    wants = Asking(mode="window", frames=6, hop=2)
    both = ensemble([twin(), twin(asked=wants, seed=1)])
    x, behavior, pupil = clips()
    every = np.asarray(both.respond(x, behavior, pupil, 1))
    got = both.each(x, NEURONS, behavior, pupil, 1)
    np.testing.assert_allclose(got, own(every), rtol=1e-4, atol=1e-5)
    some = both.only(1, [8, 0])
    assert some.mice == ("b",) and [t.neurons for t in some.twins] == [(2,), (2,)]


def test_the_core_of_a_twin_can_be_looked_at():
    """Maps are those of the core alone; experiments take means of their parts."""
    one = twin()
    x, behavior, pupil = clips()
    maps = np.asarray(one.features(x, behavior, pupil, 1))
    core = one.encoder.core.clone(parent=None)
    kept = {k: v["core"] for k, v in one.variables.items() if "core" in v}
    frames = one.encoder.frames(x[None], behavior[None], pupil[None])
    want = jax.jit(lambda x: core.apply(kept, x, train=False))(frames)[0]
    np.testing.assert_allclose(maps, want, rtol=1e-4, atol=1e-5)
    subject = insilico.subject(one, 1)
    still = replace(subject, behavior_k=behavior, pupil_2=pupil)
    parts = np.asarray(still.core(x, (2, 1)))
    half = maps.shape[2] - maps.shape[2] // 2  # the first part has the odd row
    mean = maps[:, :, :half].mean((2, 3))
    size = maps.shape[-1]
    assert parts.shape == (*maps.shape[:2], 2 * size)
    np.testing.assert_allclose(parts[..., :size], mean, rtol=1e-4, atol=1e-5)
