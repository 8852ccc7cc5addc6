"""Verbs of experiments: what they write, that they resume, and what they refuse."""

import json

import numpy as np
import pytest

from sensorium_jax import insilico
from sensorium_jax.cli import main
from support.cells import kept, true_cells
from support.quick import quick  # noqa: F401

RF = "rf --neurons 0-1,9 --clips 3 --seed 3"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Three true cells on disk."""
    return kept(tmp_path_factory.mktemp("truth"), true_cells("simple", 3))


def run(words, tree, out, capsys):
    """Exit code, JSON and words on standard error."""
    code = main([*words.split(), "--truth", str(tree), "--out", str(out), "--json"])
    said, err = capsys.readouterr()
    return code, json.loads(said), err


def test_a_result_is_written_and_resumed(tree, tmp_path, capsys, monkeypatch):
    from sensorium_jax.run.insilico import rf

    monkeypatch.setitem(rf.BLOCK, "gradient", 1)
    out = tmp_path / "rf"
    code, said, _ = run(RF, tree, out, capsys)
    assert code == 0 and said["neurons"] == [0, 1]
    assert said["failed"] == {"9": "there is no such neuron: made has numbers 0 to 2"}
    assert said["about"]["seed"] == 3 and said["about"]["behavior"] == [40.0, 0.0]
    names = {p.name for p in out.iterdir()}
    assert names == {"request.json", "rf.npz", "rf.json", "rf.png"}
    first = insilico.load(out / "rf.npz")

    # Killed after the first block: only the second is asked again.
    part = first.__class__(**{**vars(first), "failed": {}})
    part = part.__class__(
        **{
            **vars(part),
            "neurons": first.neurons[:1],
            "arrays": {k: v[:1] for k, v in first.arrays.items()},
        }
    )
    part.save(out / "parts/0.npz")
    (out / "rf.npz").unlink()
    asked = []
    ask = rf.ask
    monkeypatch.setattr(rf, "ask", lambda s, n, **o: asked.append(n) or ask(s, n, **o))
    assert run(RF, tree, out, capsys)[0] == 0 and asked == [[1]]
    again = insilico.load(out / "rf.npz")
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(array, again[name])
    assert again.failed == first.failed

    code, said, _ = run(RF.replace("--seed 3", "--seed 4"), tree, out, capsys)
    assert code == 1 and "differs in about" not in said["error"]
    assert "holds another experiment, which differs in seed" in said["error"]


def test_tuning_of_true_cells(tree, tmp_path, capsys):
    words = "tune --neurons 0 --curves orientation --orientations 4 --phases 1"
    words += " --frequencies 0.1cpp --tfs 2Hz --draws 9 --no-figure"
    code, said, _ = run(words, tree, tmp_path / "tune", capsys)
    assert code == 0 and 0 <= said["osi"][0] <= 1 and said["tf"] == [2.0]
    assert not (tmp_path / "tune/tune.png").exists()
    degrees = words.replace("0.1cpp", "0.1cpd")
    code, said, _ = run(degrees, tree, tmp_path / "other", capsys)
    assert code == 1 and "--degrees-per-pixel" in said["error"]


def test_what_cannot_be_asked_is_said(tree, tmp_path, capsys):
    for words, said in (
        ("rf --neurons 9", "numbers 0 to 2"),
        ("rf --neurons x", "expected such as 0-19,30"),
        ("rf --mouse 5", "Mouse 5 was asked for"),
        ("rf --mouse nobody", "Unknown mouse 'nobody'"),
        ("rf --workdir run", "Say whom to ask"),
        ("rf --fps 10", "10 frames per second were given"),
    ):
        code, out, _ = run(words, tree, tmp_path / "none", capsys)
        assert code in (1, 2) and said in out["error"], words
