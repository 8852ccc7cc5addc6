"""`sensorium cluster` and `assign`: what they write, that they resume and refuse."""

import json

import numpy as np
import pytest

from sensorium_jax import insilico
from sensorium_jax.cli import main
from sensorium_jax.run.insilico import asked, cluster
from support.cells import cells, one_device  # noqa: F401
from support.quick import quick  # noqa: F401

WORDS = "cluster --clusters 3 --steps 3 --rounds 2 --cycles 1 --repeats 2 --no-figure"


@pytest.fixture
def made(monkeypatch):
    """Whatever tree is named, small cells answer whose rates are a formula."""
    monkeypatch.setattr(asked.truths, "load", lambda path: cells())


def run(words, capsys):
    """Exit code, JSON and words on standard error."""
    code = main([*words.split(), "--json"])
    said, err = capsys.readouterr()
    return code, json.loads(said), err


def test_clusters_are_written_resumed_and_assigned_to(
    made, tmp_path, capsys, monkeypatch
):
    labels = tmp_path / "labels.npy"
    np.save(labels, np.array(["s", "s", "s", "c", "c", "c", "flat"]))
    out = tmp_path / "out"
    words = f"{WORDS} --truth tree --labels {labels} --out {out}"
    killed = cluster.clusters.searches.advance

    def kill(problem, rules, state, seed):
        if state.stage == "split":
            raise KeyboardInterrupt
        return killed(problem, rules, state, seed)

    with monkeypatch.context() as patch:
        patch.setattr(cluster.clusters.searches, "advance", kill)
        assert run(words, capsys)[0] == 130
    part = out / "parts/seed0.npz"
    assert cluster._read(part).stage == "split"
    stages = []
    monkeypatch.setattr(
        cluster.clusters.searches,
        "advance",
        lambda p, r, s, seed: stages.append(s.stage) or killed(p, r, s, seed),
    )
    code, said, _ = run(words, capsys)
    assert code == 0 and stages == ["split"]
    assert said["neurons"] == list(range(6)) and "6" in said["failed"]
    assert len(said["cluster"]) == 6 and "ari" in said["about"]
    assert any("cannot be moved" in note for note in said["notes"])
    assert {p.name for p in out.iterdir()} == {
        *("request.json", "cluster.npz", "cluster.json", "rig"),
    }
    found = insilico.load(out / "cluster.npz")
    k = len(found["stimulus"])
    with np.load(out / "rig/show.npz") as shown:
        assert len(shown["stimulus_p"]) == 2 * k
        assert shown["frames"].shape == (k, 1, 16, 20, 1)
    png = (out / "rig/stimulus00/000.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    # The whole search at once ends with the same arrays.
    again = tmp_path / "again"
    assert run(words.replace(str(out), str(again)), capsys)[0] == 0
    other = insilico.load(again / "cluster.npz")
    for name in ("cluster", "response_by_stimulus"):
        np.testing.assert_array_equal(found[name], other[name])
    code, said, _ = run(words.replace("--steps 3", "--steps 4"), capsys)
    assert code == 1 and "differs in options" in said["error"]
    typed(out, tmp_path, capsys)


def typed(out, folder, capsys):
    """Neurons by what was recorded, one row for each presentation."""
    found = insilico.load(out / "cluster.npz")
    with np.load(out / "rig/show.npz") as shown:
        which = shown["stimulus_p"]
    rates = found["response_by_stimulus"].T[which]
    noisy = rates + 1e-3 * np.random.default_rng(0).normal(size=rates.shape)
    file = folder / "recorded.npz"
    np.savez(file, responses=noisy, stimulus_p=which)
    words = f"assign --clusters {out} --responses {file} --out {folder / 'typed'}"
    code, said, _ = run(words, capsys)
    assert code == 0 and len(said["cluster"]) == 6
    assert said["about"]["repeats"] == 2
    for wrong, error in (
        (words.replace(f" --responses {file}", ""), "Give recorded responses"),
        (words.replace(str(out), str(folder / "none")), "holds no cluster.npz"),
        (words.replace(str(file), str(out / "cluster.npz")), "Expected an .npy"),
    ):
        code, said, _ = run(wrong.replace("/typed", "/other"), capsys)
        assert code in (1, 2) and error in said["error"], said
