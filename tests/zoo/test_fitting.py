"""Kernels that do not fit the frames are answered with kernels that do."""

import json
import re

import pytest

from sensorium_jax import cli
from sensorium_jax.errors import UserError
from sensorium_jax.zoo import describe, fitting
from sensorium_jax.zoo.assemble import Inputs, build
from sensorium_jax.zoo.presets.named import PRESETS
from support.recordings import tiny

KINDS = ("cnn2022", "factorized2023", "gru2023", "basic3d2023", "demo")


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("frame", [(18, 32), (7, 5), (1, 1)])
def test_what_is_proposed_fits_and_what_fits_is_left_alone(name, frame):
    core = build(name).core
    options = fitting.smaller(core, frame)
    smaller = core.clone(**options)
    fitting.check(smaller, frame)
    rows, columns = smaller.out_shape(smaller.lost_frames + 1, *frame)[1:3]
    assert 2 * rows >= frame[0] // getattr(smaller, "pool", 1)
    assert 2 * columns >= frame[1] // getattr(smaller, "pool", 1)
    assert fitting.smaller(core, (144, 256)) == {}


def test_only_what_must_be_narrower_is():
    assert fitting.smaller(build("cnn2022").core, (7, 9)) == {"input_kernel": 3}
    three = build("basic3d2023", core={"padding": False}).core
    options = fitting.smaller(three, (12, 12))
    assert {k: v[0] for k, v in options.items()} == dict.fromkeys(options, 9)
    assert all(v[1] < 9 for v in options.values())


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_with_the_proposed_kernels_starts_on_small_frames(name):
    inputs = Inputs((7, 5, 1), 2)
    core = fitting.smaller(build(name, inputs).core, (7, 5))
    found = describe.describe(
        name, neurons=4, source=inputs, asking={"scale": 1, "canvas": None}, core=core
    )
    assert found["seen"] == [7, 5, 1] and found["parameters"]["core"] > 0


def test_the_error_names_them_and_the_scale(capsys):
    words = ["zoo", "show", "cnn2022", "--frame", "16x20", "--neurons", "7"]
    assert cli.main(words) == 1
    said = capsys.readouterr().err
    assert "Too few pixel rows" in said and "--config.data.scale=1" in said
    (change,) = re.findall(r"fit (\{.*?\}\}),", said)
    assert cli.main([*words, "--change", change, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["seen"] == [4, 5, 1] and found["neurons"] == 7
    assert cli.main([*words, "--scale", "1"]) == 0
    assert "frames 16 x 20; 0 signals" in capsys.readouterr().out


def test_a_core_of_another_kind_keeps_its_own_words():
    core = build("cnn2022").core

    class Other(type(core)):
        pass

    other = Other(1, 4, 9, 7, pad_input=False)
    assert fitting.smaller(other, (4, 4)) == {}
    with pytest.raises(UserError, match="choose smaller kernels.$"):
        fitting.check(other, (4, 4))


def test_a_run_is_refused_before_anything_is_written(tmp_path, capsys):
    data, work = tiny.films(tmp_path / "data", 1, size=(6, 8)), tmp_path / "run"
    words = ["train", "--config", "factorized2023", "--workdir", str(work)]
    words += [f"--config.data.root={data}", "--config.train.frames=24"]
    assert cli.main(words) == 1
    assert '"input_spatial_kernel": 3' in capsys.readouterr().err
    assert not work.exists() or not any(work.rglob("*.json"))


def test_sizes_for_recordings(tmp_path, capsys):
    data = tiny.films(tmp_path, 2, size=(12, 16))
    words = ["zoo", "show", "demo", "--data", str(data)]
    assert cli.main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["neurons"] == [5, 3] and found["mice"] == 2
    assert found["inputs"]["frame_shape"] == [12, 16, 1]
    assert found["maps"] == [30, 6, 8, 24]
    assert cli.main([*words, "--mice", "3"]) == 2
    assert "leave out --mice" in capsys.readouterr().err
