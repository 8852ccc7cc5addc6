"""`sensorium reconstruct`: what it writes, that it resumes, and what it refuses."""

import json
from typing import Any, NamedTuple

import numpy as np
import pytest

import sensorium_jax as sj
from sensorium_jax import insilico
from sensorium_jax.cli import main
from sensorium_jax.run.insilico import asked, reconstruct
from support.cells import cells, one_device  # noqa: F401
from support.quick import quick  # noqa: F401

WORDS = "reconstruct --truth tree --fps 10 --tier oracle --trials 3 --counts 4 20"


class Raw(NamedTuple):
    """Cells that answer in the units of the recording."""

    cells: Any
    units: str = "raw"

    def __getattr__(self, name):
        return getattr(self.cells, name)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Recordings of these cells in miniature; two trials show the same film."""
    folder = tmp_path_factory.mktemp("movies")
    rng = np.random.default_rng(0)
    videos = rng.integers(0, 256, (8, 6, 10, 12)).astype(np.uint8)
    videos[4] = videos[3]
    responses = rng.gamma(1.0, 1.0, (8, 6, 25)).astype(np.float32)
    tiers = ["train"] * 3 + ["oracle"] * 3 + ["final"] * 2
    responses[6:] = 0
    rules = sj.own("films", hidden=("final",))
    given = {"videos": videos, "responses": responses, "tiers": tiers, "rules": rules}
    sj.write_session(folder / "data/made", **given, behavior=np.zeros((8, 6, 1)))
    sj.write_session(folder / "other/fish", **given)
    return folder


@pytest.fixture
def made(monkeypatch):
    """Whatever tree is named, small cells answer; nobody climbs."""
    monkeypatch.setattr(asked.truths, "load", lambda path: Raw(cells(12, (10, 12))))
    monkeypatch.setattr(
        reconstruct.movies, "seen", lambda one, *_, **__: np.ones(one.frame[:2])
    )
    monkeypatch.setattr(reconstruct.movies, "solve", guessed)


def guessed(prepared, job):
    """A film that is a little like the one that was shown."""
    video = prepared.recorded.video_sthwc[list(job.trials)]
    noise = np.random.default_rng(job.count).normal(size=video.shape)
    return {
        "z": prepared.members[0].screen.contrast(video) + 40 / job.count * noise,
        "loss": np.full(len(video), 1 / job.count),
        "rate_correlation": np.ones((len(video), len(prepared.neurons))),
    }


def run(words, capsys):
    """Exit code, JSON and words on standard error."""
    code = main([*words.split(), "--json"])
    said, err = capsys.readouterr()
    return code, json.loads(said), err


def test_movies_are_written_and_resumed(made, tree, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    words = f"{WORDS} --data {tree / 'data'} --no-figure --out {out}"
    with monkeypatch.context() as patch:

        def killed(prepared, job):
            if job.count == 20:
                raise KeyboardInterrupt
            return guessed(prepared, job)

        patch.setattr(reconstruct.movies, "solve", killed)
        assert run(words, capsys)[0] == 130
    assert [p.name for p in (out / "parts").iterdir()] == ["4-0-0-0.npz"]
    counts = []
    monkeypatch.setattr(
        reconstruct.movies,
        "solve",
        lambda prepared, job: counts.append(job.count) or guessed(prepared, job),
    )
    code, said, _ = run(words, capsys)
    assert code == 0 and counts == [20]
    few, many = said["about"]["table"]
    assert many["correlation"] > few["correlation"] > abs(many["shuffled"])
    assert len(said["about"]["trials"]) == 2  # the third trial shows a film again
    assert "2 different films, 3 were asked for" in said["notes"][0]
    assert abs(said["about"]["mean_movie"]["correlation"]) < 0.5
    names = {"request.json", "reconstruct.npz", "reconstruct.json"}
    assert {p.name for p in out.iterdir()} == names
    first = insilico.load(out / "reconstruct.npz")
    assert first["movie"].shape == (2, 2, 6, 10, 12, 1) and len(first.neurons) == 20
    # Once more, from the beginning.
    assert run(words.replace(str(out), str(tmp_path / "b")), capsys)[0] == 0
    again = insilico.load(tmp_path / "b/reconstruct.npz")
    np.testing.assert_array_equal(first["movie"], again["movie"])
    code, said, _ = run(words.replace("--trials 3", "--trials 2"), capsys)
    assert code == 1 and "differs in options" in said["error"]


def test_what_is_refused_in_a_paragraph(made, tree, tmp_path, capsys):
    words = f"{WORDS} --data {tree / 'data'} --out {tmp_path / 'out'}"
    for change, error in (
        (("data --out", "data --tier final --out"), "are hidden"),
        ((str(tree / "data"), str(tree / "other")), "no recording of made"),
        (("--fps 10 ", ""), "sees single pictures"),
        (("4 20", "4 30"), "Give --counts from 1 to 25"),
        (("--tier oracle", "--tier orcale"), "Did you mean 'oracle'"),
        (("--trials 3", "--trials 3 --frames 5 --mask 2"), "less than 1"),
    ):
        code, said, _ = run(words.replace(*change), capsys)
        assert code == 1 and error in said["error"], said
        assert "\n\n" not in said["error"]
