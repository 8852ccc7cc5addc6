"""A core that lives elsewhere: found by its kind, and only where the user allows it."""

import os
import sys

import pytest

from sensorium_jax.errors import UserError
from sensorium_jax.zoo import outside
from sensorium_jax.zoo.assemble import Inputs, build

INPUTS = Inputs((8, 9, 1), 0)
MINE = """
import flax.linen as nn

class Mine(nn.Module):
    input_channels: int
    features: int = 4
    lost_frames, norm_groups, train_stride, causal = 0, "batch", 1, True
    penalties = {}

    def out_shape(self, frames, height, width):
        return frames, height, width, self.features

    @nn.compact
    def __call__(self, x_mbthwc, *, train, mice_m=None):
        return nn.Dense(self.features)(x_mbthwc)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A current folder with mine.py, and nothing allowed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(outside.ALLOWED, raising=False)
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


def made(kind, **options):
    core = {"kind": kind, **options}
    return build("cnn2022", INPUTS, allow_outside=True, core=core).core


def test_a_class_in_a_file_by_relative_and_by_whole_path(folder):
    core = made("mine.py:Mine", features=3)
    assert (core.input_channels, core.features) == (1, 3)
    assert type(made(f"{folder}/mine.py:Mine")) is type(core)  # read once
    (folder / "mine.py").write_text(MINE.replace("int = 4", "int = 5"))
    os.utime(folder / "mine.py", ns=(1, 1))
    assert made("mine.py:Mine").features == 5  # and again after a change


def test_a_class_in_an_importable_module(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    try:
        assert made("mine:Mine").features == 4
    finally:
        sys.modules.pop("mine", None)


def test_nothing_is_run_that_is_not_allowed(folder, monkeypatch):
    (folder / "mine.py").write_text("raise SystemExit('it ran')")
    core = {"kind": "mine.py:Mine"}
    words = "SENSORIUM_OUTSIDE_CORES=mine.py:Mine.*allow_outside=True"
    with pytest.raises(UserError, match=words):
        build("cnn2022", INPUTS, core=core)
    monkeypatch.setenv(outside.ALLOWED, "other.py:Mine, mine.py:Min")
    with pytest.raises(UserError, match=words):
        build("cnn2022", INPUTS, core=core)
    (folder / "mine.py").write_text(MINE)
    os.utime(folder / "mine.py", ns=(2, 2))
    monkeypatch.setenv(outside.ALLOWED, "other.py:Mine, mine.py:Mine")
    assert build("cnn2022", INPUTS, core=core).core.features == 4


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("absent.py:Mine", "", "absent.py, which is no file"),
        ("nowhere.at.all:Mine", "", "No module named 'nowhere'.*PYTHONPATH"),
        ("mine:Mine", MINE, "No module named 'mine'.*Write 'mine.py:Mine'"),
        ("mine.py:Mien", MINE, "Unknown core in mine.py 'Mien'. Did you mean 'Mine'"),
        ("subprocess:Popen", "", "Unknown core in subprocess 'Popen'"),
        ("mine.py:Mine", "import nowhere", "No module named 'nowhere'"),
        ("mine.py:Mine", "x = 1 / 0", "ZeroDivisionError: division by zero"),
        ("mine.py:Mine", "class Mine(:", "SyntaxError"),
        (":Mine", "", "cannot be imported"),
        (
            "mine.py:Mine",
            MINE.replace("input_channels", "channels"),
            "core 'mine.py:Mine' has no field input_channels",
        ),
        (
            "mine.py:Mine",
            MINE.replace("features: int = 4", "features: int"),
            "core 'mine.py:Mine' needs features",
        ),
        (
            "mine.py:Mine",
            MINE.replace("lost_frames, ", "lost, "),
            "Mine breaks the protocol of cores: lost_frames is missing",
        ),
    ],
)
def test_what_cannot_be_used_is_one_paragraph(folder, kind, text, words):
    (folder / "mine.py").write_text(text)
    os.utime(folder / "mine.py", ns=(3, 3 + hash(text) % 10**9))
    with pytest.raises(UserError, match=words) as error:
        made(kind)
    assert "\n" not in str(error.value)


def test_options_of_an_outside_core_are_named():
    with pytest.raises(UserError, match="Did you mean 'features'"):
        made("mine.py:Mine", feature=3)


def test_what_a_core_needs_is_named():
    with pytest.raises(UserError, match="core 'stacked2d' needs hidden_channels, inpu"):
        build("demo", INPUTS, core={"kind": "stacked2d"}, shifter=None)


@pytest.mark.parametrize("part", ["core", "readout", "shifter"])
def test_a_part_that_is_no_dictionary_is_refused(part):
    with pytest.raises(UserError, match=f"The {part} is 'gaussian'; expected its opt"):
        build("cnn2022_plus", INPUTS, **{part: "gaussian"})
