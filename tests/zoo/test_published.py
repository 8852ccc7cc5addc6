"""Published weights arrive whole, under our names, and answer as the originals do."""

import hashlib
import json
import os
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jax
import numpy as np
import pytest

from sensorium_jax import cli, trees
from sensorium_jax.errors import UserError
from sensorium_jax.zoo.load import load as load_twin
from sensorium_jax.zoo.published import fetch, sources, translate
from support.originals.golden import load, relative, video
from support.originals.published import save, static2022


def answer(encoder, variables, *inputs):
    """Rates in evaluation."""
    apply = jax.jit(partial(encoder.apply, train=False))
    return np.asarray(apply(variables, *inputs))


MICE = {"26872-17-20": 5, "22846-10-16": 8}
FACTORIZED = {
    "core": {
        "hidden_channels": (4, 6, 8),
        "input_spatial_kernel": 5,
        "input_temporal_kernel": 5,
        "hidden_spatial_kernel": 3,
        "hidden_temporal_kernel": 3,
    }
}
GRU = {
    "core": {"hidden_channels": 2, "input_kernel": 5, "hidden_kernel": 3, "layers": 3},
    "gru": {"features": 16, "input_kernel": 5, "hidden_kernel": 3},
}
SMALL = {"factorized2023": ("video_encoder_fact", FACTORIZED)}
SMALL |= {"gru2023": ("video_encoder_gru", GRU)}


@pytest.mark.parametrize("model", SMALL)
def test_baselines_of_2023_answer_as_the_original(model, tmp_path):
    name, changes = SMALL[model]
    case = load(name)
    path = save(tmp_path / "model.pth", case.param)
    found = translate.convert_file(path, model, **changes)
    assert found.mice == ("m0",) and found.inputs.behaviors == 2
    x = video(case.input["videos"])
    pupil = np.moveaxis(case.input["pupil_center"], 1, -1)[None]
    # The fixture's videos hold behavior as channels already.
    encoder = found.encoder.clone(behavior_as_channels=False)
    behavior = np.zeros((*x.shape[:3], 0), np.float32)
    rates = answer(encoder, found.variables, x, behavior, pupil)
    assert relative(rates[0], case.output["eval"]) < 1e-5


@pytest.mark.parametrize("model", SMALL)
def test_names_map_both_ways(model):
    name, changes = SMALL[model]
    state = load(name).param
    found = translate.convert(state, model, **changes)
    neurons = dict(zip(found.mice, found.neurons, strict=True))
    back = translate.export(found.variables, model, neurons)
    learned = {
        k: v
        for k, v in state.items()
        if not k.endswith(("num_batches_tracked", "filter"))
        and ".rotate_hermite." not in k
    }
    assert set(back) == set(learned)
    for key, value in learned.items():
        np.testing.assert_array_equal(back[key], value, key)


@pytest.mark.parametrize(
    ("model", "layers", "channels"),
    [
        ("cnn2022", 4, 1),
        ("cnn2022_plus", 4, 4),
        ("ln2022", 3, 1),
        ("ln2022_plus", 3, 4),
    ],
)
@pytest.mark.parametrize("biases", [False, True])
def test_any_number_of_mice_and_neurons(model, layers, channels, biases):
    state = static2022(layers=layers, channels=channels, mice=MICE, biases=biases)
    found = translate.convert(state, model)
    assert found.model == model and found.neurons == (5, 8)
    leaves = trees.named_leaves(found.variables)
    assert leaves["params/readout/features"].shape == (2, 8, 64)
    assert not leaves["params/readout/features"][0, 5:].any()
    np.testing.assert_array_equal(
        leaves["info/coordinates_n2"][1], state["readout.22846-10-16.source_grid"]
    )
    assert ("params/core/layer1/conv/depthwise/bias" in leaves) is biases
    assert ("params/shifter/layer0/kernel" in leaves) is (channels > 1)
    back = translate.export(found.variables, model, MICE)
    assert set(state) - set(back) == {
        k for k in state if k.endswith(("num_batches_tracked", "filter"))
    }
    for key, value in back.items():
        np.testing.assert_array_equal(value, state[key], key)


def test_convolution_biases_that_are_missing_are_zero():
    state = static2022(layers=4, channels=1, mice=MICE)
    with_bias = translate.convert(state, "cnn2022", **{"core.conv_bias": True})
    without = translate.convert(state, "cnn2022")
    x = np.random.default_rng(0).normal(size=(2, 1, 1, 14, 16, 1)).astype(np.float32)
    inputs = (x, x[..., 0, 0, :0], x[..., 0, :2, 0])
    rates = [answer(f.encoder, f.variables, *inputs) for f in (with_bias, without)]
    np.testing.assert_allclose(*rates, rtol=1e-6)


def test_the_track_is_read_from_the_file(tmp_path):
    state = static2022(layers=3, channels=4, mice=MICE)
    assert translate.convert(state, "ln2022").model == "ln2022_plus"
    state = static2022(layers=3, channels=1, mice=MICE)
    assert translate.convert(state, "ln2022_plus").model == "ln2022"


def without(state, *words):
    return {k: v for k, v in state.items() if not any(w in k for w in words)}


SPOILED = {
    "another depth": (
        lambda s: static2022(layers=3, channels=1, mice=MICE),
        "weights that the file lacks.*layer3.*It fits ln2022: give that",
    ),
    "a tensor too many": (
        lambda s: s | {"core.extra": np.zeros(3, np.float32)},
        "not of that model, among them core.extra",
    ),
    "a tensor too few": (
        lambda s: without(s, "layer2.norm.weight"),
        "weights that the file lacks .*layer2/norm/scale",
    ),
    "another width": (
        lambda s: s | {"core.features.layer1.norm.weight": np.zeros(32, np.float32)},
        r"layer1/norm/scale is \(32,\), expected \(64,\)",
    ),
    "one mouse without": (
        lambda s: without(s, "readout.22846-10-16.sigma"),
        "readout/sigma",
    ),
    "neurons that differ": (
        lambda s: s | {"readout.22846-10-16.bias": np.zeros(7, np.float32)},
        r"readout/bias.*expected \(2, 8\)",
    ),
    "another model": (lambda s: load("basic3d").param, "this is no 'cnn2022'"),
}


@pytest.mark.parametrize("case", SPOILED)
def test_files_of_another_model_are_named(case, tmp_path):
    spoil, words = SPOILED[case]
    path = save(tmp_path / "a.pth", spoil(static2022(layers=4, channels=1, mice=MICE)))
    with pytest.raises(UserError, match=words):
        translate.convert_file(path, "cnn2022")


def test_a_model_without_behavior_says_that_it_takes_none(tmp_path):
    """Experiments ask every twin for its usual behavior and pupil."""
    path = save(tmp_path / "a.pth", static2022(layers=3, channels=1, mice=MICE))
    out = tmp_path / "ln"
    words = ["zoo", "import", str(path), "--arch", "ln2022"]
    assert cli.main([*words, "--out", str(out)]) == 0
    behavior, pupil = load_twin(out).usual(0)
    assert behavior.shape == (0,) and pupil.tolist() == [0, 0]


def test_import_on_the_command_line(tmp_path, capsys):
    path = save(tmp_path / "a.pth", static2022(layers=3, channels=4, mice=MICE))
    words = ["zoo", "import", str(path), "--arch", "ln2022_plus"]
    assert cli.main([*words, "--out", str(tmp_path / "ln"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["model"] == "ln2022_plus" and said["mice"] == MICE
    twin = load_twin(tmp_path / "ln")
    assert twin.frame_shape == (144, 256, 1) and twin.asking.scale == 0.25
    twin = replace(twin, frame_shape=(48, 56, 1))  # smaller ones, to be quick
    rng = np.random.default_rng(0)
    x, b = rng.normal(size=(2, 1, 12, 14, 1)), rng.normal(size=(2, 1, 3))
    rates = twin.respond(x, b, None, "22846-10-16")
    assert rates.shape == (2, 1, 8) and np.ptp(rates) > 0
    maps = np.broadcast_to(b[:, :, None, None], (2, 1, 12, 14, 3))
    both = twin.respond(np.concatenate([x, maps], -1), None, None, 1)
    np.testing.assert_allclose(both, rates, rtol=1e-5)
    assert cli.main([*words, "--out", str(tmp_path / "ln")]) == 1
    assert "is not empty" in capsys.readouterr().err
    assert cli.main(["zoo", "import", str(path), "--arch", "ln202", "--out", "x"]) == 1
    assert "Did you mean 'ln2022'" in capsys.readouterr().err


@pytest.fixture
def server(tmp_path):
    """A folder served over http, and its address."""
    folder = tmp_path / "served"
    folder.mkdir()
    asked = []

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    handler = partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield folder, f"http://127.0.0.1:{http.server_port}", asked
        http.shutdown()
        thread.join()


def publish(folder, monkeypatch, state):
    """Serve a state dict as the file of ln2022, with its size and checksum."""
    path = save(folder / "ln.pth", state)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    file = sources.File("ln.pth", path.stat().st_size, digest)
    monkeypatch.setitem(sources.FILES, "ln2022", file)
    return path


def test_fetch_downloads_once_checks_and_converts(
    server, tmp_path, monkeypatch, capsys
):
    folder, url, asked = server
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "cache"))
    publish(folder, monkeypatch, static2022(layers=3, channels=1, mice=MICE))
    assert cli.main(["zoo", "fetch", "ln2022", "--from", url, "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["mice"] == MICE and "MIT" in json.loads(out)["license"]
    assert "MIT" in err and len(asked) == 1
    twin = load_twin("ln2022")
    assert twin.mice == tuple(MICE) and len(asked) == 1
    assert twin.card["source"]["url"] == f"{url}/ln.pth"


def test_fetch_refuses_another_file(server, tmp_path, monkeypatch):
    folder, url, _ = server
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "cache"))
    path = publish(folder, monkeypatch, static2022(layers=3, channels=1, mice=MICE))
    spoiled = bytearray(path.read_bytes())
    spoiled[5000] ^= 1
    path.write_bytes(spoiled)
    with pytest.raises(UserError, match="sha256"):
        fetch.fetch("ln2022", base=url)
    assert not list((tmp_path / "cache").rglob("*.pth"))
    with pytest.raises(UserError, match="Did you mean 'ln2022'"):
        fetch.fetch("ln202")


def published():
    root = os.environ.get("SENSORIUM_FIXTURES")
    folder = Path(root or ".") / "published"
    if not root or not folder.is_dir():
        pytest.skip("SENSORIUM_FIXTURES names no folder with published/")
    return folder


@pytest.mark.fixtures
@pytest.mark.parametrize(
    ("name", "model"),
    [("sensorium_sota_model", "cnn2022"), ("sensorium_p_ln_model", "ln2022_plus")],
)
def test_published_weights_answer_as_the_original(name, model, tmp_path, capsys):
    path = published() / f"{name}.pth"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sources.FILES[model].sha256
    out = str(tmp_path / model)
    assert cli.main(["zoo", "import", str(path), "--arch", model, "--out", out]) == 0
    assert "neurons" in capsys.readouterr().out
    twin = load_twin(out)
    with np.load(published() / f"{name}.reference.npz") as reference:
        x = reference["input/images"].transpose(0, 2, 3, 1)[:, None]
        pupil = reference["input/pupil_center"][:, None]
        rates = twin.respond(x, None, pupil, 0)[:, 0]
        assert relative(rates, reference["output/eval"]) < 1e-4
        own = {k: twin.variables[k]["core"] for k in ("params", "batch_stats")}
        maps = twin.encoder.core.apply(own, x[None, :1], train=False)[0, 0, 0]
        expected = reference["output/core_img0_ch0_16"].transpose(1, 2, 0)
        assert relative(maps[..., :16], expected) < 1e-4
