"""One step of every official recipe: objective, penalties, scaling, sums, optimizer."""

import jax
import numpy as np
import pytest

from sensorium_jax import trees
from sensorium_jax.axes import Batch, MouseInfo
from sensorium_jax.models import rows
from sensorium_jax.run import config as configs
from sensorium_jax.run.objective import (
    make_objective,
    make_optimizer,
    make_penalty,
)
from sensorium_jax.training.state import create
from sensorium_jax.training.step import Tally, make_step
from sensorium_jax.zoo.assemble import build
from support.originals.golden import encoder_trees, load, relative, stack, video
from support.quick import quickly

# Today's library of the originals gives hidden convolutions biases, which the published
# weights lack.
FLAT = {"hidden_channels": 4, "input_kernel": 5, "hidden_kernel": 3, "conv_bias": True}
FACTORIZED = {
    "hidden_channels": (3, 4, 4),
    "input_spatial_kernel": 5,
    "input_temporal_kernel": 3,
    "hidden_spatial_kernel": 3,
    "hidden_temporal_kernel": 2,
}
EQUIVARIANT = {"hidden_channels": 1, "input_kernel": 5, "hidden_kernel": 3, "layers": 3}
GRU = {"input_kernel": 3, "hidden_kernel": 3, "features": 8}
CASES = {  # recipe: the recorded step, and what makes the preset as small
    "ln2022": ("ln2022", {"core": FLAT}),
    "cnn2022": ("cnn2022", {"core": FLAT}),
    "cnn2022_plus": ("cnn2022_plus", {"core": FLAT}),
    "factorized2023": ("factorized2023", {"core": FACTORIZED}),
    "gru2023": ("gru2023", {"core": EQUIVARIANT, "gru": GRU}),
}
LATE = ("behavior", "pupil_center", "responses")


def recorded(case):
    """Batch, MouseInfo and noise of a recorded step."""
    names = list(case.config["neurons"])
    own = []
    for name in names:
        fields = (*LATE, "stimulus", "coordinates", "noise")
        x = {k: case.input[f"{name}/{k}"] for k in fields}
        if x["stimulus"].ndim == 4:  # pictures are films of one frame
            x |= {k: x[k][..., None] for k in LATE}
            x["stimulus"] = x["stimulus"][:, :, None]
        own.append(x)
    late = {k: stack([np.moveaxis(x[k], 1, -1) for x in own]) for k in LATE}
    counts = np.array([*case.config["neurons"].values()])
    real = np.arange(counts.max())[None] < counts[:, None]
    shape = late["behavior"].shape[:3]
    batch = Batch(
        np.concatenate([video(x["stimulus"]) for x in own]),
        late["behavior"],
        late["pupil_center"],
        late["responses"],
        np.ones(shape, bool),
        real,
        np.zeros(shape, np.int32),
    )
    info = MouseInfo(
        tuple(names),
        real,
        stack([x["coordinates"] for x in own]),
        np.zeros(real.shape, np.float32),
        np.array([*case.config["trials"].values()]),
        np.zeros(len(names)),
        has_coordinates=True,
        has_pupil=True,
        behaviors=late["behavior"].shape[-1],
        frame_shape=(14, 18, 1),
    )
    return batch, info, stack([x["noise"] for x in own])


def trees_of(case, arrays, info):
    names = list(info.names)
    if not any(n.startswith("shifter") for n in arrays):
        # The reader expects one; it is dropped again.
        arrays = arrays | {f"shifter.{m}.mlp.0.bias": np.zeros(1) for m in names}
        params, stats = encoder_trees(arrays, names)
        del params["shifter"]
        return params, stats
    return encoder_trees(arrays, names)


@pytest.mark.parametrize("recipe", CASES)
def test_one_step_of_a_recipe_equals_the_original(recipe):
    name, changes = CASES[recipe]
    case, config = load(f"step_{name}"), configs.load(recipe)
    batch, info, noise = recorded(case)
    encoder = build(config.model.name, info, **changes)
    params, stats = trees_of(case, case.param, info)
    variables = {
        "params": params,
        "batch_stats": stats,
        "info": rows.mouse_rows(info),
    }

    def forward(variables, batch, keys, *, train):
        rates, updated = encoder.apply(
            variables,
            *batch[:3],
            train=train,
            mice_m=batch.neurons_mn.any(1),
            noise_mbtn2=noise,
            mutable=["batch_stats"],
        )
        return rates, updated["batch_stats"]

    optimizer = make_optimizer(config, 100)
    step = make_step(
        forward,
        make_objective(config, info, info.mice),
        make_penalty(config, encoder),
        optimizer,
    )
    state = create(variables, optimizer, 0, ema=False)
    with quickly():
        after, tally = jax.jit(step)(state, batch, Tally.zero())
    loss = sum(float(case.output[f"{m}/loss"]) for m in info.names)
    np.testing.assert_allclose(float(tally.loss), loss, rtol=1e-4)
    theirs, moved = trees_of(case, case.param | case.state_after_train, info)
    ours = trees.named_leaves(after.params)
    theirs, before = trees.named_leaves(theirs), trees.named_leaves(params)
    assert set(ours) == set(theirs)
    for path, value in theirs.items():
        # What comes right before a norm has no gradient but rounding, of any sign.
        idle = path.startswith("core/") and "/norm/" not in path
        if idle and path.endswith("bias") and "pointwise_in" not in path:
            continue
        step_of = relative(ours[path] - before[path], value - before[path])
        assert step_of < 1e-4, (path, step_of)
    pairs = zip(*map(jax.tree.leaves, (after.batch_stats, moved)), strict=True)
    assert all(relative(ours, theirs) < 1e-4 for ours, theirs in pairs)


def test_seven_mice_take_the_step_of_one_recipe():
    # The recorded step of cnn2022 is over three mice.
    assert configs.load("generalization2022") == configs.load("cnn2022")
