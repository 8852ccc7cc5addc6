"""Every core keeps the protocol, and what breaks it is named."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax.errors import UserError
from sensorium_jax.models.cores.core import check_core
from sensorium_jax.models.cores.temporal_bases import TemporalBasesCore
from sensorium_jax.models.parts.gru import ConvGRU
from sensorium_jax.zoo.assemble import CORES
from support.models.cores import start
from support.models.mice import mice
from support.models.small import SMALL, Core, answer, inputs, start as begin
from support.quick import quick  # noqa: F401

SPACE = {"hidden_channels": 2, "input_kernel": 3, "hidden_kernel": 3, "layers": 2}
EVERY = {
    "stacked2d": SPACE,
    "rotation2d": {**SPACE, "rotations": 4},
    "factorized3d": {
        "hidden_channels": 2,
        "input_spatial_kernel": 3,
        "input_temporal_kernel": 3,
        "hidden_spatial_kernel": 3,
        "hidden_temporal_kernel": 2,
        "layers": 2,
        "padding": True,
    },
    "basic3d": {**SPACE, "padding": True},
    "temporal_bases": {"channels": (2, 2), "lags": 4, "bases": 2},
    "dwiseneuro": {
        "features": (2, 4),
        "strides": (2, 1),
        "squeeze": 2,
        "cortex_features": (8,),
    },
    "viv1t": {
        "patch": 3,
        "patch_frames": 2,
        "max_frames": 9,
        "features": 2,
        "space_blocks": 1,
        "time_blocks": 1,
        "heads": 1,
        "head_width": 2,
        "hidden": 2,
    },
    "v1t": {"patch": 3, "features": 4, "blocks": 1, "heads": 1, "hidden": 2},
    "energy": {"pairs": 1, "mixtures": 2, "lags": 4, "bases": 2, "kernels": (5, 3)},
}


@pytest.mark.parametrize("kind", CORES)
def test_every_core_keeps_the_protocol(kind):
    core = CORES[kind](input_channels=2, **EVERY[kind])
    check_core(core)
    assert core.out_shape(9, 12, 14)[0] == 9 - core.lost_frames


@pytest.mark.parametrize("kind", [*CORES, "gru"])
def test_a_core_sees_what_comes_later_unless_it_is_causal(kind):
    if kind == "gru":
        core, options = ConvGRU(2, 3, 3, 3), {}
    else:
        core, options = CORES[kind](input_channels=2, **EVERY[kind]), {"train": False}
    x = np.random.default_rng(0).normal(size=(1, 1, 9, 12, 14, 2)).astype(np.float32)
    later = x.copy()
    later[:, :, 6:] += 1  # the frames from number 6 on
    variables = begin_core(core, x, options)
    run = jax.jit(lambda x: core.apply(variables, x, **options))
    changed = jnp.abs(run(x) - run(later)).max((0, 1, 3, 4, 5)) > 0
    expected = np.arange(core.lost_frames, 9) >= 6
    if not core.causal:
        expected = np.ones_like(expected)
    np.testing.assert_array_equal(changed, expected)


def begin_core(core, x, options):
    if options:
        return start(core, x)
    return jax.jit(lambda: core.init(jax.random.key(0), x))()


def broken(**members):
    """A class like the small core with other members; None leaves one out."""
    fine = {n: vars(Core)[n] for n in ("lost_frames", "norm_groups", "train_stride")}
    fine |= {n: vars(Core)[n] for n in ("causal", "penalties", "out_shape")}
    body = {"__call__": lambda self, x, *, train, mice_m=None: x, "__module__": "mine"}
    body |= {k: v for k, v in (fine | members).items() if v is not None}
    return type("Mine", (nn.Module,), body)()


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"lost_frames": None}, "lost_frames is missing, expected a number of frames"),
        ({"lost_frames": -1}, "lost_frames is -1, expected"),
        ({"lost_frames": 1.0}, "lost_frames is 1.0, expected"),
        ({"lost_frames": lambda self: 1}, r"lost_frames is a method \(\), expected"),
        ({"norm_groups": "all"}, "norm_groups is 'all', expected 'mouse' or 'batch'"),
        ({"train_stride": 0}, "train_stride is 0, expected a number, 1 or more"),
        ({"causal": None, "penalties": None}, "causal is missing.*; penalties is miss"),
        ({"causal": "yes"}, "causal is 'yes', expected True or False"),
        ({"penalties": {"rough": "kernel"}}, "penalties is .*leaf regex, function"),
        ({"out_shape": None}, r"out_shape is missing, expected a method \(frames, h"),
        (
            {"out_shape": lambda self, frames: 1},
            r"out_shape is a method \(frames\), expected",
        ),
        ({"__call__": lambda self, x: x}, r"__call__ is a method \(x\).*mice_m=None"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_what_breaks_the_protocol_is_named(members, words):
    with pytest.raises(UserError, match=f"Mine breaks.*{words}.*docs/new-core.md"):
        check_core(broken(**members))
    check_core(broken())
    with pytest.raises(UserError, match="expected a flax.linen Module"):
        check_core(object())


def test_maps_of_another_shape_than_promised_are_refused():
    class Wrong(Core):
        def out_shape(self, frames, height, width):
            return frames - 1, height, width, self.features

    encoder = SMALL.clone(core=Wrong())
    words = r"Wrong gave maps of shape .1, 1, 1, .*promises .1, 1, 2, "
    with pytest.raises(UserError, match=words):
        begin(mice([5]), encoder)


def test_a_stride_of_training_counts_in_the_promise():
    core = TemporalBasesCore(3, channels=(2, 2), lags=3, bases=2, kernels=(3, 3))
    encoder = SMALL.clone(core=core)
    variables = begin(mice([5]), encoder)
    rates = answer(variables, inputs("a", frames=7), train=True, encoder=encoder)
    assert rates.shape[2] == 2  # five answers, every third of them
