"""Models are built by name, kept with their card, and answer like the encoder."""

import importlib
import json
import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from sensorium_jax import asking, cli, trees
from sensorium_jax.asking import Asking
from sensorium_jax.checkpoints.card import model_card
from sensorium_jax.checkpoints.write import save
from sensorium_jax.errors import UserError
from sensorium_jax.models.rows import mouse_rows
from sensorium_jax.zoo import describe
from sensorium_jax.zoo.assemble import Inputs, build
from sensorium_jax.zoo.load import load
from sensorium_jax.zoo.presets.named import PRESETS
from sensorium_jax.zoo.twins.ensemble import ensemble
from sensorium_jax.zoo.twins.twin import Twin
from support.models.mice import mice

SMALL = {
    "core": {
        "hidden_channels": (3, 4),
        "layers": 2,
        "input_spatial_kernel": 3,
        "input_temporal_kernel": 3,
        "hidden_spatial_kernel": 3,
        "hidden_temporal_kernel": 2,
    },
}
INPUTS = Inputs((8, 9, 1), 2)
INFO = mice([5, 9])
LOST = 3

COUNTS = {
    "factorized2023": {"core": 382_176, "readout": 1_064_152, "shifter": 57, "gru": 0},
    "gru2023": {
        "core": 44_152,
        "gru": 1_991_040,
        "readout": 552_152,
        "shifter": 57,
        "total": 2_587_401,
    },
    # Cores and the cortex of 5,402,624 that belongs to them.
    "dwise2023": {"core": 3_673_404 + 5_402_624, "readout": 16_392_000, "shifter": 0},
    "dwise2023_distill": {"core": 3_075_736 + 5_402_624, "readout": 16_392_000},
}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_sizes(name, capsys):
    assert cli.main(["zoo", "show", name, "--neurons", "8000", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    counts = found["parameters"]
    assert counts["total"] == sum(v for k, v in counts.items() if k != "total")
    for part, count in COUNTS.get(name, {}).items():
        assert counts[part] == count
    assert found["flops"] > 1e7


def test_what_is_shown_in_words(capsys):
    assert cli.main(["zoo", "show", "cnn2022"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("cnn2022: CNN baseline")
    # 9 x 9 over one channel, then three of 1 x 1, 7 x 7 depthwise and 1 x 1; the
    # readout: four pixels and 64 features of 8,000 neurons, and their positions.
    layers = 81 * 64 + 3 * (2 * 64 * 64 + 49 * 64)
    core = 2 * layers * 28 * 56 / 1e9
    gflop = float(re.search(r"([0-9.]+) GFLOP", told)[1])
    assert core < gflop < core + 2 * 8000 * (4 * 64 + 64) / 1e9
    assert "; causal" in told


def test_mice_and_neurons_count():
    one, two = (describe.describe("gru2023", mice=m, neurons=100) for m in (1, 2))
    assert two["parameters"]["readout"] == 2 * one["parameters"]["readout"]
    assert two["parameters"]["core"] == one["parameters"]["core"]


def test_list_names_every_model(capsys):
    assert cli.main(["zoo", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["models"]
    assert [r["name"] for r in rows] == list(PRESETS)
    assert sum(r["published"] is not None for r in rows) == 4
    assert cli.main(["zoo", "list"]) == 0
    told = {r["name"]: (r["lost_frames"], r["causal"]) for r in rows}
    assert told["factorized2023"] == (18, True) and told["viv1t2023"] == (24, False)
    assert "sensorium zoo fetch ln2022_plus" in capsys.readouterr().out


def test_changes_reach_their_part_and_leave_the_preset_alone():
    before = json.dumps(PRESETS)
    encoder = build("cnn2022", INPUTS, core={"layers": 2}, shifter=None)
    assert encoder.core.layers == 2 and encoder.core.hidden_kernel == 7
    encoder = build("cnn2022", INPUTS, **{"core.layers": 3, "output.kind": "exp"})
    assert encoder.core.layers == 3 and encoder.output.kind == "exp"
    encoder = build("cnn2022_plus", INPUTS, readout={"kind": "factorized"})
    assert type(encoder.readout).__name__ == "FactorizedReadout"
    assert build("gru2023", INPUTS).core.input_channels == 3
    assert json.dumps(PRESETS) == before


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("cnn2202", {}, "Did you mean 'cnn2022'"),
        ("cnn2022", {"coer": {}}, "Did you mean 'core'"),
        ("cnn2022", {"core": {"layer": 3}}, "Did you mean 'layers'"),
        ("cnn2022", {"core.kind": "stacked"}, "Did you mean 'stacked2d'"),
        ("cnn2022", {"readout": None}, "needs a readout"),
        ("gru2023", {"gru.feature": 3}, "Did you mean 'features'"),
        ("cnn2022", {"readout.predictor.hiden": 3}, "Did you mean 'hidden'"),
    ],
)
def test_mistakes_are_named(name, changes, words):
    with pytest.raises(UserError, match=words):
        build(name, INPUTS, **changes)


def test_a_model_that_follows_the_eye_needs_pupils():
    with pytest.raises(UserError, match="shifter=None"):
        build("gru2023", INPUTS._replace(has_pupil=False))


def variables(seed=0, **statistics):
    """An encoder and random weights, without compiling their start."""
    encoder = build("factorized2023", INPUTS, **SMALL)
    shapes = jax.eval_shape(lambda: describe.init(encoder, INFO, 0))
    r = np.random.default_rng(seed)

    def draw(name, leaf):
        x = r.normal(0, 0.3, leaf.shape).astype(np.float32)
        return x * x + 0.5 if name.endswith("/var") else x

    info = mouse_rows(INFO) | statistics
    return encoder, {**trees.map_named(draw, shapes), "info": info}


def card(scale=1.0):
    """What is said of the small model; frames were larger by the scale."""
    shape = tuple(round(s / scale) for s in INPUTS.frame_shape[:2])
    return model_card(
        "factorized2023",
        INPUTS._replace(frame_shape=(*shape, 1))._asdict(),
        [
            {"name": name, "neurons": n}
            for name, n in zip(INFO.names, INFO.neurons, strict=True)
        ],
        asking=Asking(scale=scale),
        changes=SMALL,
    )


def kept(folder, seed=0, scale=1.0, **statistics):
    """A twin that has been saved and loaded."""
    _, made = variables(seed, **statistics)
    return load(save(folder, made, card(scale)))


def stimulus(windows=2, frames=6, seed=0, size=(8, 9)):
    r = np.random.default_rng(seed)
    lead = (windows, frames)
    shapes = ((*lead, *size, 1), (*lead, 2), (*lead, 2))
    return [r.normal(size=s).astype(np.float32) for s in shapes]


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    return kept(tmp_path_factory.mktemp("twin") / "kept")


def test_a_kept_twin_answers_as_its_encoder(twin):
    encoder, made = variables()
    x = [np.stack([a, a]) for a in stimulus()]
    rates = jax.jit(lambda v, x: encoder.apply(v, *x, train=False))(made, x)
    for row, (name, neurons) in enumerate(zip(INFO.names, INFO.neurons, strict=True)):
        for mouse in (row, name):
            got = twin.respond(*stimulus(), mouse)
            np.testing.assert_allclose(got, rates[row, ..., :neurons], rtol=2e-6)
    assert twin.lost_frames == LOST and got.shape == (2, 3, 9)
    assert twin.mice == INFO.names and twin.neurons == (5, 9)
    assert twin.card["versions"]["jax"] == jax.__version__


def test_readout_weights_and_positions(twin):
    _, made = variables()
    weights = twin.readout_weights(INFO.names[0])
    np.testing.assert_array_equal(weights, made["params"]["readout"]["features"][0, :5])
    assert twin.positions(1).shape == (9, 2) and np.ptp(twin.positions(1)) > 0


def test_centered_moves_every_field_to_the_middle(twin):
    twin = replace(twin, frame_shape=(9, 9, 1))
    middle = twin.centered()
    assert not middle.positions(1).any() and twin.positions(1).any()
    x, b, p = stimulus(size=(9, 9))  # maps of 5 x 5 pixels: the middle is a pixel
    eye = middle.respond(x, b, 10 * p, 1)
    np.testing.assert_array_equal(eye, middle.respond(x, b, p, 1))
    turned = x.copy()
    turned[:, :, 0] += 10  # the field of 5 pixels does not reach the edge
    np.testing.assert_allclose(middle.respond(turned, b, p, 1), eye, rtol=1e-5)
    with pytest.raises(UserError, match="are no points"):
        Twin(
            build("cnn2022", INPUTS, **{"readout.kind": "factorized"}),
            twin.variables,
            twin.mice,
            twin.neurons,
            INPUTS.frame_shape,
            2,
        ).centered()


def test_differentiable_in_the_video_under_jit(twin):
    x, b, p = stimulus(windows=1)
    drive = jax.jit(lambda v: twin.respond(v, b, p, 1)[0, -1, 3])
    slope = jax.grad(drive)(x)
    v = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
    ahead = (drive(x + 1e-2 * v) - drive(x - 1e-2 * v)) / 2e-2
    np.testing.assert_allclose((slope * v).sum(), ahead, rtol=2e-3)


def test_raw_inputs_are_normalized_by_the_recordings_statistics(tmp_path, twin):
    r = np.random.default_rng(2)

    def rows(*shape):
        return r.uniform(1, 9, (2, *shape)).astype(np.float32)

    stats = {
        "video": {k: rows(1, 1, 1, 1) for k in ("mean", "std")},
        "behavior": {k: rows(6, 2) for k in ("mean", "std", "usual")},
        "pupil": {k: rows(1, 2) for k in ("mean", "std")},  # as kept without `usual`
    }
    stats["behavior"]["mean"][:] = 0  # nothing is subtracted from behavior
    raw = kept(tmp_path / "raw", scale=0.25, **stats)
    assert raw.raw == ("video", "behavior", "pupil") and twin.raw == ()
    x, b, p = stimulus(size=(32, 36))
    video, behavior, pupil = (
        {k: v[1][None] for k, v in stats[w].items()} for w in raw.raw
    )
    z = (x - video["mean"]) / video["std"]
    small = np.mean([z[:, :, i::4, j::4] for i in (1, 2) for j in (1, 2)], axis=0)
    seen = (small, b / behavior["std"], (p - pupil["mean"]) / pupil["std"])
    got = raw.respond(x, b, p, 1)
    np.testing.assert_allclose(got, twin.respond(*seen, 1), rtol=1e-4, atol=1e-5)
    usual = np.broadcast_to(behavior["usual"], b.shape)
    eye = np.broadcast_to(pupil["mean"], p.shape)
    still = raw.respond(x, usual, eye, 1)
    np.testing.assert_allclose(raw.respond(x, mouse=1), still, rtol=1e-5, atol=1e-6)


def spoil(x, at=(0, 2, 1, 1, 0)):
    x = x.copy()
    x[at] = np.nan
    return x


BAD = {
    "mouse": (lambda x, b, p: (x, b, p, "mouse c"), "Unknown mouse 'mouse c'"),
    "number": (lambda x, b, p: (x, b, p, 2), "Mouse 2 was asked for.*0 to 1"),
    "channels": (
        lambda x, b, p: (np.concatenate([x, x], -1), b, p, 0),
        "has 2 channels.*made for 1",
    ),
    "rank": (lambda x, b, p: (x[0], b, p, 0), r"shape \(6, 8, 9, 1\); expected"),
    "frames": (
        lambda x, b, p: (x[:, :3], b[:, :3], p[:, :3], 0),
        "has 3 frames.*at least 4",
    ),
    "pixels": (lambda x, b, p: (spoil(x), b, p, 0), r"NaN.*\(0, 2, 1, 1, 0\)"),
    "behavior": (
        lambda x, b, p: (x, b[..., :1], p, 0),
        r"behavior has shape \(2, 6, 1",
    ),
    "pupil": (lambda x, b, p: (x, b, p[:, 1:], 0), r"pupil has shape \(2, 5, 2\)"),
    "small": (lambda x, b, p: (x[:, :, :4], b, p, 0), "frames of 4 x 9.*for 8 x 9"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_stimuli_are_named(twin, case):
    change, words = BAD[case]
    with pytest.raises(UserError, match=words):
        twin.respond(*change(*stimulus()))


def test_an_ensemble_is_a_twin(twin, tmp_path):
    other = kept(tmp_path / "other", seed=1)
    both = ensemble([twin, other])
    x = stimulus()
    mean = (twin.respond(*x, 1) + other.respond(*x, 1)) / 2
    np.testing.assert_allclose(both.respond(*x, 1), mean, rtol=1e-6)
    assert both.mice == twin.mice and both.lost_frames == LOST
    assert both.readout_weights(0).shape == (5, 8)
    assert both.centered().respond(*x, 0).shape == (2, 3, 5)
    with pytest.raises(UserError, match="no twins"):
        ensemble([])
    fewer = replace(twin, mice=("a",), neurons=(5,))
    with pytest.raises(UserError, match="the same mice"):
        ensemble([twin, fewer])
    apart = replace(other, asking=other.asking._replace(units="per_neuron"))
    assert twin.units == "per_frame" and apart.units == "per_neuron"
    with pytest.raises(UserError, match="per_neuron"):
        ensemble([twin, apart])


def test_a_run_gives_its_best_step_and_averaged_weights(tmp_path):
    folder = tmp_path / "run" / "checkpoints"
    _, made = variables()
    items = {
        "state": ocp.StandardCheckpointHandler(),
        "card": ocp.JsonCheckpointHandler(filename="card.json"),
    }
    options = ocp.CheckpointManagerOptions(best_fn=lambda m: m["rank"])
    with ocp.CheckpointManager(folder, item_handlers=items, options=options) as m:
        for step, rank in ((10, 10), (20, 20), (30, -1)):
            scaled = jax.tree.map(lambda x, k=step: np.float32(x * k), made["params"])
            about = {**card(), "progress": {"best_step": 20}}
            state = {
                "params": made["params"],
                "ema": {"params": scaled, "batch_stats": made["batch_stats"]},
                "batch_stats": made["batch_stats"],
                "info": made["info"],
                "opt": {"moments": jnp.zeros(3)},
                "step": jnp.int32(step),
            }
            m.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state),
                    card=ocp.args.JsonSave(about),
                ),
                metrics={"rank": rank},
            )
    leaf = "params/core/layer0/spatial/kernel"
    for options, factor in (({}, 20), ({"step": 10}, 10), ({"step": 30}, 30)):
        found = load(tmp_path / "run", **options)
        assert set(found.variables) == {"params", "batch_stats", "info"}
        expected = factor * trees.named_leaves(made)[leaf]
        np.testing.assert_allclose(trees.named_leaves(found.variables)[leaf], expected)
    with pytest.raises(UserError, match=r"no step 5; it has \[10, 20, 30\]"):
        load(tmp_path / "run", step=5)


def test_broken_folders_are_named(tmp_path):
    with pytest.raises(UserError, match="No checkpoint in .* does not exist"):
        load(tmp_path / "absent")
    with pytest.raises(UserError, match="Did you mean 'cnn2022'"):
        load("cnn202")
    (tmp_path / "odd").mkdir()
    with pytest.raises(UserError, match="holds nothing.*card/card.json"):
        load(tmp_path / "odd")
    folder = tmp_path / "kept"
    kept(folder)
    with pytest.raises(UserError, match="is not empty"):
        kept(folder)
    path = folder / "card" / "card.json"
    said = json.loads(path.read_text())
    for changed, words in (
        ({**said, "mice": [{"name": "a", "neurons": 4}]}, "do not belong together"),
        ({k: v for k, v in said.items() if k != "inputs"}, "nothing of 'inputs'"),
        (_changed(said, layers=10**6), "more than any model has"),
    ):
        path.write_text(json.dumps(changed))
        with pytest.raises(UserError, match=words):
            load(folder)
    for odd in (
        {"hidden_channels": 7},
        {"layers": -1},
        {"hidden_temporal_kernel": "x"},
    ):
        path.write_text(json.dumps(_changed(said, **odd)))
        with pytest.raises(UserError, match="cannot be run with its weights"):
            load(folder).respond(*stimulus())
    path.write_text("{")
    with pytest.raises(UserError, match="The card .* cannot be read"):
        load(folder)
    path.write_text(json.dumps(said))
    for file in (folder / "state").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:10])
    with pytest.raises(UserError, match="weights in .* cannot be read"):
        load(folder)


def _changed(card, **core):
    """A card that says something else of the core."""
    core = {**card["changes"].get("core", {}), **core}
    return {**card, "changes": {**card["changes"], "core": core}}


def per_frame(frames=12):
    """Statistics that differ from frame to frame."""
    r = np.random.default_rng(5)

    def rows(*shape):
        return r.uniform(1, 3, (2, frames, *shape)).astype(np.float32)

    return {
        "video": {k: rows(1, 1, 1) for k in ("mean", "std")},
        "behavior": {k: rows(2) for k in ("mean", "std", "usual")},
        "pupil": {k: rows(2) for k in ("mean", "std", "usual")},
    }


@pytest.fixture(scope="module")
def framed(tmp_path_factory):
    """A twin whose recordings have statistics per frame."""
    return kept(tmp_path_factory.mktemp("framed") / "kept", **per_frame())


@pytest.mark.parametrize("signals", [True, False], ids=["signals", "usual"])
def test_clips_are_normalized_by_the_frames_where_they_lie(framed, signals):
    x, b, p = stimulus(windows=1, frames=10)
    b, p = (b, p) if signals else (None, None)
    whole = framed.respond(x, b, p, 1)
    cut = [None if v is None else v[:, 3:9] for v in (x, b, p)]
    there = framed.respond(*cut, 1, first_frame_b=3)
    np.testing.assert_allclose(there, whole[:, 3:6], rtol=1e-5, atol=1e-6)
    assert np.abs(framed.respond(*cut, 1) - there).max() > 1e-2
    several = [None if v is None else np.concatenate([v, v]) for v in cut]
    each = framed.respond(*several, 1, np.array([3, 0]))
    np.testing.assert_allclose(each[0], there[0], rtol=1e-5, atol=1e-6)
    assert np.abs(each[1] - each[0]).max() > 1e-2


def test_frames_may_come_as_small_as_the_model_sees_them(tmp_path, twin):
    raw = kept(tmp_path / "raw", scale=0.25)
    x, b, p = stimulus()
    np.testing.assert_array_equal(raw.respond(x, b, p, 1), twin.respond(x, b, p, 1))
    with pytest.raises(UserError, match="32 x 36, or 8 x 9 already shrunk"):
        raw.respond(x[:, :, :7], b, p, 1)


def test_a_twin_is_a_pytree(framed):
    x, b, p = stimulus()
    rates = jax.jit(lambda twin, x: twin.respond(x, b, p, 1, 2))(framed, x)
    np.testing.assert_allclose(rates, framed.respond(x, b, p, 1, 2), rtol=1e-5)
    doubled = jax.tree.map(lambda leaf: leaf, framed)
    assert doubled.mice == framed.mice and doubled.card == framed.card
    slope = jax.grad(lambda twin: twin.respond(x, b, p, 1)[0, 0, 0], allow_int=True)
    bias = jax.jit(lambda twin: slope(twin).variables["params"]["readout"]["bias"])
    assert bias(framed)[1, 0] > 0.1
    assert len(repr(framed)) < 200 and "<table>" in framed._repr_html_()


def test_eager_answers_compile_once_for_every_shape(twin, monkeypatch, capsys):
    module = importlib.import_module("sensorium_jax.zoo.twins.twin")
    monkeypatch.setattr(module, "SLOW", -1.0)
    x, b, p = stimulus(windows=3, frames=5)
    for mouse in (0, 1, 0):
        twin.respond(x, b, p, mouse)
    (line,) = capsys.readouterr().err.splitlines()
    assert "compiled for clips of shape (3, 5, 8, 9, 1)" in line


ASKED = {
    "windows": Asking(mode="window", frames=5, stride=2, hop=1),
    "last": Asking(mode="window", frames=6, hop=2, blend="last"),
    "whole, stride 2": Asking(stride=2),
    "whole": Asking(),
}


def by_hand(twin, x, b, p, mouse):
    """Whole trials from a twin that is asked as it wants, clip by clip."""
    rates = []
    for trial in zip(x, b, p, strict=True):
        joined = asking.Joined(twin.asking, len(trial[0]))
        for frames in asking.clips(twin.asking, len(trial[0])):
            clip = (v[frames][None] for v in trial)
            joined.add(frames, np.asarray(twin.respond(*clip, mouse, frames[0])[0]))
        rates.append(joined.value()[0])
    return np.stack(rates)


@pytest.mark.parametrize("how", ASKED)
def test_an_ensemble_cuts_and_joins_the_windows_of_its_twins(framed, how):
    twin = replace(framed, asking=ASKED[how])
    x = stimulus(frames=12)
    whole = by_hand(twin, *x, 1)
    both = ensemble([twin, framed])
    assert both.asking.mode == "whole" and both.asking.causal == (how == "whole")
    plain = framed.respond(*x, 1)
    kept = min(whole.shape[1], plain.shape[1])
    mean = (whole[:, -kept:] + plain[:, -kept:]) / 2
    answer = jax.jit(lambda both, x: both.respond(*x, 1))(both, x)
    np.testing.assert_allclose(answer, mean, rtol=1e-5, atol=1e-6)
    assert both.lost_frames == 12 - kept


def test_windows_of_a_causal_model_agree_with_whole_trials(framed):
    """The core is a plain convolution: a window gives what the whole trial gives."""
    twin = replace(framed, asking=ASKED["windows"]._replace(stride=1))
    x = stimulus(frames=12)
    plain = framed.respond(*x, 1)
    np.testing.assert_allclose(by_hand(twin, *x, 1), plain, rtol=1e-5, atol=1e-6)


def test_cards_of_before_say_what_they_knew(tmp_path, capsys):
    kept(tmp_path / "old")
    path = tmp_path / "old/card/card.json"
    about = json.loads(path.read_text())
    del about["asking"]
    about |= {"units": "per_neuron", "config": {"data": {"stride": 2}}}
    about["inputs"]["scale"] = 0.5
    path.write_text(json.dumps(about))
    twin = load(tmp_path / "old")
    assert twin.asking == Asking(scale=0.5, units="per_neuron", stride=2)
    assert capsys.readouterr().err.count("before cards said how a model is asked") == 1
    about["asking"] = {"mode": "slowly"}
    path.write_text(json.dumps(about))
    with pytest.raises(UserError, match="Unknown mode of asking 'slowly'"):
        load(tmp_path / "old")


def test_a_twin_is_saved_as_it_is(tmp_path, framed):
    x = stimulus()
    moved = framed.centered()
    again = load(moved.save(tmp_path / "again"))
    np.testing.assert_array_equal(again.respond(*x, 1), moved.respond(*x, 1))
    assert again.asking == framed.asking
