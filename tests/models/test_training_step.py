"""The original's accumulated step over three mice, all at once here."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax import trees
from sensorium_jax.axes import Batch, MouseInfo
from sensorium_jax.models import rows
from sensorium_jax.training.losses.loss import objective
from sensorium_jax.training.losses.regularizer import pieces
from support.originals.dynamic2023 import build, penalties
from support.originals.golden import encoder_trees, load, relative, stack, video
from support.quick import quick  # noqa: F401


def prepare(case, empty):
    """Encoder, variables, batch and noise; that many empty mice fill the rows."""
    names = list(case.config["neurons"])
    own = [{k: case.input[f"{m}/{k}"] for k in FIELDS} for m in names]
    late = {k: stack([time_first(x[k]) for x in own]) for k in FIELDS[1:4]}
    real = np.arange(11)[None] < np.array([*case.config["neurons"].values()])[:, None]
    info = MouseInfo(
        tuple(names),
        real,
        stack([x["coordinates"] for x in own]),
        np.zeros(real.shape, np.float32),
        np.array([*case.config["trials"].values()]),
        np.zeros(3),
        has_coordinates=True,
        has_pupil=True,
        behaviors=2,
        frame_shape=(14, 18, 1),
    )
    batch = Batch(
        np.concatenate([video(x["videos"]) for x in own]),
        late["behavior"],
        late["pupil_center"],
        late["responses"],
        np.ones(late["behavior"].shape[:3], bool),
        real,
        np.zeros(late["behavior"].shape[:3], np.int32),
    )
    noise = stack([x["noise"] for x in own])
    encoder = build(case.config, behavior_as_channels=True)
    params, stats = encoder_trees(case.param, names)
    if empty:
        batch = Batch(*(longer(x, empty) for x in batch[:-1]))
        noise = longer(noise, empty)
        for part in ("readout", "shifter"):
            params[part] = jax.tree.map(lambda x: longer(x, empty), params[part])
    variables = {
        "params": params,
        "batch_stats": stats,
        "info": rows.mouse_rows(info, mice=3 + empty),
    }
    return encoder, variables, batch, noise, longer(info.trials_m, empty)


FIELDS = ("videos", "behavior", "pupil_center", "responses", "coordinates", "noise")


def time_first(x):
    return np.moveaxis(x, 1, -1)


def longer(x, empty):
    return np.concatenate([x, np.zeros((empty, *x.shape[1:]), x.dtype)])


@pytest.mark.parametrize(
    ("name", "empty"), [("training_step_factorized", 0), ("training_step_gru", 1)]
)
def test_step_over_three_mice_equals_the_original(name, empty):
    case = load(name)
    encoder, variables, batch, noise, trials = prepare(case, empty)
    rules = penalties(case.config, case.config["readout_weight"])
    mice = batch.neurons_mn.any(1)
    cost = objective(trials_m=trials)

    def loss(params):
        rates, new = encoder.apply(
            {**variables, "params": params},
            *batch[:3],
            train=True,
            mice_m=mice,
            noise_mbtn2=noise,
            mutable=["batch_stats"],
        )
        loss_m = cost(rates, batch, 2) + pieces(rules, params, batch.neurons_mn, mice)
        return jnp.sum(loss_m), (loss_m, new["batch_stats"])

    grads = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (_, (loss_m, stats)), grad = grads(variables["params"])
    expected = [case.output[f"m{i}/loss"] for i in range(3)] + [0] * empty
    np.testing.assert_allclose(loss_m, expected, rtol=1e-5)
    theirs, _ = encoder_trees(case.grad, ["m0", "m1", "m2"])
    grad = trees.named_leaves(grad)
    assert set(grad) == set(trees.named_leaves(theirs))
    for path, g in trees.named_leaves(theirs).items():
        ours = np.asarray(grad[path])
        if empty and path.startswith(("readout", "shifter")):
            assert not ours[3:].any()
            ours = ours[:3]
        if path.endswith(("spatial/bias", "temporal/bias")):
            # Zero before batch norm, and only as near to it as the sums allow.
            kernel = trees.named_leaves(theirs)[path.replace("bias", "kernel")]
            assert np.abs(ours - g).max() < 1e-4 * np.abs(kernel).max()
            continue
        assert relative(ours, g) < 1e-4, path
    _, moved = encoder_trees(
        {**case.param, **case.state_after_train}, ["m0", "m1", "m2"]
    )
    for ours, after in zip(*map(jax.tree.leaves, (stats, moved)), strict=True):
        assert relative(ours, after) < 1e-5
