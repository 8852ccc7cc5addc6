import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax import trees
from sensorium_jax.axes import Batch
from sensorium_jax.errors import UserError
from sensorium_jax.models import rows
from sensorium_jax.models.cores.factorized3d import Factorized3dCore
from sensorium_jax.models.encoder import Encoder, create
from sensorium_jax.models.parts.output import Output, softplus
from sensorium_jax.models.parts.shifter import MLPShifter
from sensorium_jax.models.readouts.gaussian import GaussianReadout
from sensorium_jax.training.losses.loss import objective
from sensorium_jax.training.losses.regularizer import pieces
from support.models.mice import mice
from support.models.small import SMALL, Core, answer, inputs, start
from support.originals.dynamic2023 import build, penalties
from support.originals.golden import FOLDER, encoder_trees, load, relative, video
from support.quick import quick  # noqa: F401


@pytest.mark.parametrize("name", ["video_encoder_fact", "video_encoder_gru"])
def test_whole_model_equals_the_original(name):
    case = load(name)
    encoder, rules = build(case.config), penalties(case.config)
    params, stats = encoder_trees(case.param, ["m0"])
    neurons = case.input["responses"].shape[1]
    info = mice([neurons])._replace(coordinates_mn3=coordinates(name)[None])
    variables = {
        "params": params,
        "batch_stats": stats,
        "info": rows.mouse_rows(info),
    }
    x = video(case.input["videos"])
    late = [
        np.moveaxis(case.input[k], 1, -1)[None]
        for k in ("behavior", "pupil_center", "responses")
    ]
    real = np.ones((1, neurons), bool)
    batch = Batch(x, *late, np.ones(late[0].shape[:3], bool), real, np.zeros((1,)))
    cost = objective(trials_m=np.array([100]))

    def loss(params, x):
        rates = encoder.apply(
            {**variables, "params": params}, x, *late[:2], train=False
        )
        core, readout = (
            pieces(part, params, real, np.ones(1, bool))[0]
            for part in (rules[:-1], rules[-1:])
        )
        return cost(rates, batch, 2)[0] + core + readout, (rates, (core, readout))

    grads = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
    (value, (rates, regs)), (grad, slope) = grads(params, x)
    assert relative(rates[0], case.output["eval"]) < 1e-4
    assert relative(value, case.output["loss"]) < 1e-4
    for ours, key in zip(regs, ("core_reg", "readout_reg"), strict=True):
        assert relative(ours, case.output[key]) < 1e-4
    expected, _ = encoder_trees(case.grad, ["m0"])
    assert jax.tree.structure(grad) == jax.tree.structure(expected)
    for path, theirs in trees.named_leaves(expected).items():
        assert relative(trees.named_leaves(grad)[path], theirs) < 1e-4, path
    assert np.isfinite(slope).all() and np.any(slope)


def coordinates(name):
    with np.load(f"{FOLDER}/{name}.npz") as file:
        return file["raw_coords"]


def test_empty_mice_fill_a_mesh_and_touch_nothing():
    info = mice([5, 9])
    few, padded = start(info), start(info, mice=4)
    x = inputs("abyz")
    x[0][2:] = 1e3  # whatever an empty row holds
    real = jnp.array([True, True, False, False])

    def apply(variables, x, mice_m):
        return SMALL.apply(
            variables,
            *x,
            train=True,
            mice_m=mice_m,
            rngs={"sample": jax.random.key(5)},
            mutable=["batch_stats"],
        )

    a, stats_a = jax.jit(apply)(few, [s[:2] for s in x], None)
    b, stats_b = jax.jit(apply)(padded, x, real)
    np.testing.assert_allclose(a, b[:2], rtol=1e-5)
    assert np.isfinite(b).all()
    jax.tree.map(
        lambda p, q: np.testing.assert_allclose(p, q, rtol=1e-6), stats_a, stats_b
    )


def test_all_readouts_answers_every_sample_for_every_mouse():
    v = start(mice([5, 9, 12]))
    x = inputs("abc")
    mixed = [np.concatenate(s) for s in x]
    every = answer(v, mixed, all_readouts=True)
    assert every.shape == (6, 3, 3, 12)
    alone = answer(v, x)
    for m in range(3):
        np.testing.assert_allclose(every[2 * m : 2 * m + 2, m], alone[m], atol=1e-5)


def test_last_frames_of_pupil_and_behavior_count():
    v = start(mice([5]))
    video, behavior, pupil = inputs("a")
    full = answer(v, [video, behavior, pupil])
    assert full.shape == (1, 2, 3, 5)
    early = pupil.copy()
    early[:, :, :2] += 1
    np.testing.assert_array_equal(answer(v, [video, behavior, early]), full)
    late = pupil.copy()
    late[:, :, 4] += 1
    changed = answer(v, [video, behavior, late]) != full
    assert changed[:, :, 2].any() and not changed[:, :, :2].any()


def test_signals_become_constant_channels_in_order():
    class Through(nn.Module):
        lost_frames, norm_groups, train_stride, causal = 0, "mouse", 1, True
        penalties = {}

        def out_shape(self, *shape):
            return (*shape, 5)

        def __call__(self, x, *, train, mice_m=None):
            uneven = jnp.abs(x[..., 1:] - x[:, :, :, :1, :1, 1:]).sum(-1)
            return x.at[..., 0].set(uneven)

    encoder = Encoder(
        Through(),
        GaussianReadout(predictor=None),
        behavior_as_channels=True,
        pupil_as_channels=True,
    )
    v = create(
        encoder,
        rows.mouse_rows(mice([5])),
        jax.random.key(0),
        frame_shape=(8, 9, 1),
        behaviors=2,
    )
    weights = np.zeros((1, 5, 5), np.float32)
    weights[0, np.arange(5), np.arange(5)] = 1
    v["params"]["readout"]["features"] = weights
    v["params"]["readout"]["bias"] = np.full((1, 5), 10, np.float32)
    x = inputs("a")
    rates = answer(v, x, encoder=encoder)[0] - 11
    assert np.abs(rates[..., 0]).max() < 1e-5  # the maps do not vary over space
    np.testing.assert_allclose(rates[..., 1:3], x[1][0], atol=1e-5)
    np.testing.assert_allclose(rates[..., 3:5], x[2][0], atol=1e-5)


def test_a_modulator_scales_the_drive_before_the_nonlinearity():
    v = start(mice([5]))
    x = inputs("a")
    plain = Encoder(
        Core(), SMALL.readout, shifter=SMALL.shifter, behavior_as_channels=True
    )
    linear = Output("elu", offset=50.0)  # ELU far from its bend: rates are drive + 51
    drive = answer(v, x, encoder=plain.clone(output=linear)) - 51
    scaled = answer(v, x, encoder=SMALL.clone(output=linear)) - 51
    gain = scaled / drive
    assert gain.min() > 0.99 and gain.max() > 1.01
    rates = answer(v, x)
    expected = np.where(scaled > 0, scaled + 1, np.exp(scaled))
    np.testing.assert_allclose(rates, expected, rtol=1e-3)


def test_outputs():
    x = jnp.array([-3.0, 0.0, 2.0])
    np.testing.assert_allclose(
        Output(offset=0.5).rate(x), [np.exp(-2.5), 1.5, 3.5], rtol=1e-6
    )
    np.testing.assert_allclose(Output("exp").rate(x), np.exp(x), rtol=1e-6)
    np.testing.assert_allclose(
        Output("softplus", beta=0.07).rate(x), np.log1p(np.exp(0.07 * x)) / 0.07, 1e-5
    )
    # PyTorch's threshold: the identity, gradient and all, above 20 / beta.
    assert jax.grad(softplus)(20.5) == 1 and jax.grad(softplus)(10.0) < 1
    assert float(softplus(jnp.float32(1e30), 2.0)) == np.float32(1e30)
    with pytest.raises(UserError, match="softplus"):
        Output("sofplus").rate(x)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: (x[0][..., [0, 0]], *x[1:]), "3 channels"),
        (lambda x: [s[:, :, :2] for s in x], "Too few frames"),
        (lambda x: [s[:1] for s in x], "The model has 2 mice"),
    ],
)
def test_inputs_of_another_shape_are_refused(change, words):
    core = Factorized3dCore(3, (3, 4), 3, 2, 3, 2, layers=2)
    encoder = SMALL.clone(core=core)
    info = rows.mouse_rows(mice([5, 9]))
    with pytest.raises(UserError, match=words):
        encoder.apply({"info": info}, *change(inputs("ab")), train=False)


def test_what_is_missing_is_named():
    v, x = start(mice([5, 9])), inputs("ab")
    with pytest.raises(UserError, match="mouse_rows"):
        SMALL.apply({"params": v["params"]}, *x, train=False)
    with pytest.raises(UserError, match="rngs"):
        SMALL.apply(v, *x, train=True, mutable=["batch_stats"])
    other = {**v, "info": rows.mouse_rows(mice([5, 11]))}
    with pytest.raises(UserError, match="2 mice with 9 neurons.*2 with 11"):
        SMALL.apply(other, *x, train=False)
    blind = mice([5, 9])._replace(coordinates_mn3=np.zeros((2, 9, 3), np.float32))
    with pytest.raises(UserError, match="predictor=None"):
        start(blind)


def test_baseline_has_the_published_number_of_parameters():
    core = Factorized3dCore(3, (32, 64, 128), 11, 11, 5, 5, momentum=0.7)
    encoder = Encoder(
        core, GaussianReadout(), shifter=MLPShifter(), behavior_as_channels=True
    )
    rng = np.random.default_rng(0)
    info = mice([8])._replace(
        neurons_mn=np.ones((1, 8000), bool),
        coordinates_mn3=rng.normal(size=(1, 8000, 3)),
        mean_rates_mn=np.ones((1, 8000), np.float32),
    )
    variables = jax.eval_shape(
        lambda key: create(
            encoder,
            rows.mouse_rows(info),
            key,
            frame_shape=(36, 64, 1),
            behaviors=2,
        ),
        jax.random.key(0),
    )
    assert trees.sizes(variables["params"]) == {
        "core": 382_176,
        "readout": 1_064_152,
        "shifter": 57,
        "total": 1_446_385,
    }
