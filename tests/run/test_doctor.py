"""What the doctor finds: versions, combinations known to be bad, disks, a test run."""

import json

import pytest

from sensorium_jax.cli import main
from sensorium_jax.errors import UserError
from sensorium_jax.run import doctor

WELL = {**doctor.needed(), "jax": "0.10.2", "jaxlib": "0.10.2"}


def found(**changes):
    """Names and remedies of what is wrong with installed packages."""
    every = {k: v for k, v in {**WELL, **changes}.items() if v is not None}
    return {f.file: f.remedy for f in doctor.of_versions(every)}


def test_versions_that_are_needed_are_known_and_well():
    assert {"jax", "flax", "numpy", "orbax-checkpoint"} <= set(doctor.needed())
    assert found() == {} and found(**{"jax-cuda13-plugin": "0.10.2"}) == {}


@pytest.mark.parametrize(
    "changes, name, remedy",
    [
        ({"flax": "0.1.0"}, "flax", "flax>="),
        ({"optax": None}, "optax", "optax>="),
        ({"jaxlib": "0.11.0"}, "jaxlib", "one release"),
        ({"jax-cuda13-plugin": "0.10.1"}, "jax-cuda13-plugin", "jax[cuda13]"),
        ({"jax-metal": "0.1"}, "jax-metal", "uninstall"),
        (
            {"jax-cuda12-plugin": "0.10.2", "jax-cuda13-plugin": "0.10.2"},
            "CUDA",
            "pip uninstall jax-cuda12-plugin",
        ),
    ],
)
def test_what_is_too_old_or_does_not_go_together_is_named(changes, name, remedy):
    (one,) = found(**changes).items()
    assert one[0] == name and remedy in one[1]


def test_versions_compare_as_numbers():
    assert doctor.numbers("0.10.2") > doctor.numbers("0.9.12")
    assert doctor.numbers("0.11.0.dev3+cpu")[:2] == (0, 11)
    assert doctor.numbers("unknown") == ()


def test_a_machine_that_is_well(capsys):
    assert main(["doctor", "--quick"]) == 0
    out = capsys.readouterr().out
    assert (
        "this machine can train" in out and "devices" in out and "test run" not in out
    )


def test_a_run_that_fails_and_a_full_disk_are_told(capsys, monkeypatch):
    def fail(folder):
        raise UserError("no such thing")

    def full(*_, **options):
        raise UserError("full")

    monkeypatch.setattr(doctor, "_run", fail)
    monkeypatch.setattr(doctor.atomic, "need_place", full)
    assert main(["doctor", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    findings = [f["finding"] for f in said["faults"]]
    assert "nothing can be written there" in findings and not said["well"]
    assert any("no such thing" in words for words in findings)


@pytest.mark.soak
def test_the_test_run_succeeds():
    took, fault = doctor.self_test()
    assert fault is None and took > 0
