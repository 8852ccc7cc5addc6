"""What a run is told of its device, and runs from before the field had its name."""

from types import SimpleNamespace

import pytest

from sensorium_jax.run import config as configs, train
from sensorium_jax.run.precision import advice, note


def device(platform="gpu", kind="a card", capability=None):
    facts = {"platform": platform, "device_kind": kind}
    if capability is not None:
        facts["compute_capability"] = capability
    return SimpleNamespace(**facts)


@pytest.mark.parametrize(
    ("found", "precision", "words"),
    [
        (device(capability="8.0"), "float32", "several times faster"),
        (device(capability="10.0"), "float32", "several times faster"),
        (device(capability="9.0"), "bfloat16", ""),
        (device(capability="7.5"), "float32", ""),
        (device(capability="7.5"), "bfloat16", "leave config.train.precision at"),
        (device(capability="gfx90a"), "float32", ""),
        (device("tpu"), "float32", "several times faster"),
        (device("cpu"), "float32", ""),
        (device("cpu"), "bfloat16", ""),
    ],
)
def test_a_run_is_told_what_suits_its_device(found, precision, words):
    told = note(found, precision)
    assert words in told and bool(words) == bool(told)
    assert advice(device("cpu")) == ""


def test_the_earlier_name_of_the_field_is_read(capsys):
    config = configs.load("demo", ["--config.train.compute=bfloat16"])
    assert config.train.precision == "bfloat16" and "compute" not in config.train
    told = capsys.readouterr().err
    assert told == "note: config.train.compute is config.train.precision now\n"


def test_a_run_from_before_goes_on():
    mice = [{"name": "a", "neurons": 1, "unit_ids": "x", "recording": "y"}]
    old = {"config": {"train": {"compute": "float32", "batch": 2}}, "mice": mice}
    new = {"config": {"train": {"precision": "float32", "batch": 2}}, "mice": mice}
    assert train.run_differences(new, old) == []
    new["config"]["train"]["precision"] = "bfloat16"
    assert "precision" in train.run_differences(new, old)[0]
    assert old["config"]["train"] == {"compute": "float32", "batch": 2}
