"""`sensorium probe`: windows of trials, what it writes, that it resumes."""

import json

import numpy as np
import pytest

import sensorium_jax as sj
from sensorium_jax import insilico
from sensorium_jax.cli import main
from sensorium_jax.errors import UserError
from sensorium_jax.insilico.representations.probe import Represented
from sensorium_jax.insilico.representations.shown import labelled
from sensorium_jax.run.insilico import asked, probe
from sensorium_jax.run.insilico.windows import windows
from sensorium_jax.simulation.stimuli.ood import heading
from support.cells import cells, one_device  # noqa: F401
from support.quick import quick  # noqa: F401

KINDS = ["drifting_gabor", "random_dots", "natural_movie", "natural_movie"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Twelve trials of a simulation: every film twice but the last ones."""
    folder, rng = tmp_path_factory.mktemp("probe"), np.random.default_rng(0)
    film = [0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7]
    videos = rng.integers(0, 256, (8, 60, 10, 12)).astype(np.uint8)[film]
    toward = {0: [0.0, 90, 180], 4: [90.0, 0, 270]}
    facts = [{"directions": toward[f]} if f in toward else {} for f in film]
    responses = rng.gamma(1.0, 1.0, (12, 60, 25)).astype(np.float32)
    place = folder / "made"
    tiers = ["train"] * 8 + ["oracle"] * 4
    sj.write_session(place, videos=videos, responses=responses, tiers=tiers)
    (place / "meta/ground_truth").mkdir(parents=True)
    np.savez(
        place / "meta/ground_truth/trials.npz",
        stimulus=[KINDS[f % 4] for f in film],
        parameters=[json.dumps(f) for f in facts],
    )
    return folder


class Still:
    """Cells that know of no behavior."""

    behaviors = 0

    def __init__(self, cells):
        self.cells = cells

    def __getattr__(self, name):
        return getattr(self.cells, name)

    def respond(self, video_bthwc, *others, **options):
        return self.cells.respond(video_bthwc)


@pytest.fixture
def made(monkeypatch):
    """Small cells answer whatever tree is named."""
    twin = Still(cells(12, (10, 12)))
    monkeypatch.setattr(asked.truths, "load", lambda path: twin)
    return twin


def test_windows_hold_one_direction_and_one_group_for_each_film(made, tree):
    one, session = insilico.subject(made, fps=10.0), sj.open(tree)["made"]
    found = windows(one, session, seconds=2.0)
    labels, group = found["responses"].stimuli
    direction = labels["direction"]
    # Blocks of 25 frames hold one window of 20 each, the last 10 frames of 60 none.
    gabor = labels["kind"] == "drifting_gabor"
    assert gabor.sum() == 3 * 2 and direction[gabor].tolist() == [0, 90, 0, 90, 90, 0]
    assert np.isnan(direction[~gabor]).all() and len(labels["kind"]) == 6 + 9 * 3
    assert set(labels["orientation"][gabor]) == {0.0, 90.0}
    assert len(np.unique(group)) == 8
    recorded = session.read("responses", 0)
    np.testing.assert_allclose(
        found["responses"].x_sd[1], recorded[25:45].mean(0), 1e-5
    )
    rates = np.asarray(made.respond(session.read("videos", 3)[None]))[0]
    last = np.flatnonzero(group == 3)[0]
    np.testing.assert_allclose(
        found["rates in trials"].x_sd[last], rates[:20].mean(0), rtol=1e-4
    )
    # Films that were shown twice: 2 windows of the Gabor, 3 of each of three others.
    one, two = found["responses"].wide_sd, found["responses"].again_sd
    assert one.shape == two.shape == (11, 25) and not np.array_equal(one, two)
    with pytest.raises(UserError, match="Give a shorter --window"):
        windows(insilico.subject(made, fps=10.0), session, seconds=20.0)


def test_headings_are_those_of_the_makers():
    assert heading("natural_movie", {}, 9) is None
    toward = heading("drifting_gabor", {"directions": [45, 90]}, 30)
    assert toward.tolist() == [45] * 25 + [90] * 5
    toward = heading("pink_noise", {"directions": [45, 90], "block": 30}, 60)
    assert toward[29] == 45 and toward[30] == 90


def guessed(one, neurons=None, gratings=None, **options):
    """Rates that follow from the labels and the number of cells alone."""
    stimuli = labelled(one, gratings)
    rng = np.random.default_rng(len(neurons or range(one.neurons)))
    angle = np.radians(2 * stimuli.labels["orientation"])[:, None]
    x = np.cos(angle - rng.uniform(0, 6, 20)) + 0.1 * rng.normal(size=(len(angle), 20))
    return Represented(x, stimuli, rng.normal(size=(30, 20)))


def test_probes_are_written_and_resumed(made, tree, tmp_path, capsys, monkeypatch):
    out, asks = tmp_path / "out", []

    def asked_of(one, neurons=None, gratings=None, **options):
        asks.append(neurons)
        if len(asks) == 2:
            raise KeyboardInterrupt
        return guessed(one, neurons, gratings)

    monkeypatch.setattr(probe.probes, "shown_gratings", asked_of)
    words = f"probe --truth tree --beside {tree} --neurons 0-19 --data {tree} --fps 10"
    words = [
        *words.split(),
        "--draws",
        "5",
        "--no-figure",
        "--window",
        "2",
        "--out",
        str(out),
    ]
    monkeypatch.setattr(probe.truths, "simulated", lambda path: True)
    assert main([*words, "--tier", "orcale"]) == 1  # and the folder is free again
    assert "Did you mean 'oracle'" in capsys.readouterr()[1] and not asks
    assert main([*words, "--json"]) == 130
    capsys.readouterr()
    assert main([*words, "--json"]) == 0 and len(asks) == 3
    said = json.loads(capsys.readouterr()[0])
    told = {(row["of"], row["label"]): row for row in said["about"]["decoding"]}
    assert told["rates", "orientation"]["accuracy"] > 0.9
    assert ("responses", "kind") in told and ("rates in trials", "kind") in told
    assert any("6 rows have a label 'orientation'" in note for note in said["notes"])
    assert len(said["explained_by_orientation"]) == 20
    assert said["about"]["compared"] == ["rates", tree.name]
    names = {"request.json", "probe.npz", "probe.json"}
    assert {p.name for p in out.iterdir()} == names
    assert main(words) == 0  # nothing is asked any more
    text = capsys.readouterr()[0]
    assert len(asks) == 3 and "alignment" in text and "permuted" in text
