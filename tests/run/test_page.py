"""A page of pictures of any recording, from trees and stores."""

import json
from pathlib import Path

import numpy as np
import pytest

from sensorium_jax.cli import main
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.release.write import write_session
from sensorium_jax.errors import UserError
from sensorium_jax.plots import recordings as plots
from sensorium_jax.run import page
from sensorium_jax.run.convert import convert
from support.recordings import foreign, tiny

RNG = np.random.default_rng(0)


def said(capsys, *words):
    code = main([*map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_info_draws_a_page_for_each_mouse_of_a_tree_and_of_a_store(tmp_path, capsys):
    tree, store = tiny.films(tmp_path / "tree", 2), tmp_path / "store"
    convert(str(tree), str(store))
    code, told = said(capsys, "info", tree, "--figure", tmp_path / "a.png")
    names = [f"{tmp_path}/a-dynamic{m}.png" for m in range(2)]
    assert code == 0 and told["figures"] == names
    code, told = said(capsys, "info", store, "--figure", tmp_path / "b.svg")
    for m, path in enumerate(told["figures"]):
        assert path == f"{tmp_path}/b-dynamic{m}.svg"
        assert Path(path).read_text().startswith("<?xml")
    assert Path(names[0]).read_bytes()[:4] == b"\x89PNG"
    both = [page.shown_of(Recordings.open(p)[1]) for p in (tree, store)]
    for one, other in zip(*both, strict=True):
        if isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, other)


def test_check_draws_it_too_unless_there_are_errors(tmp_path, capsys):
    tree = tiny.films(tmp_path / "tree", 1)
    code, told = said(capsys, "check", tree, "--figure", tmp_path / "a.png")
    assert code == 0 and told["figures"] == [f"{tmp_path}/a.png"]
    (tree / "dynamic0/data/responses/3.npy").write_bytes(b"")
    assert main(["check", str(tree), "--figure", str(tmp_path / "b.png")]) == 1
    assert "mend the errors first" in capsys.readouterr().out
    assert not (tmp_path / "b.png").exists()


def test_a_place_that_is_no_picture_is_refused_before_anything_is_read(capsys):
    for verb in ("info", "check"):
        assert main([verb, "nowhere", "--figure", "page.txt"]) == 1
        assert "page.txt is no picture" in capsys.readouterr().err


def test_reliability_is_the_correlation_with_the_other_repeats(tmp_path):
    path = foreign.described(tmp_path / "y", foreign.recorded())
    foreign.bring(path, tmp_path)
    session = foreign.opened(tmp_path, "fish")
    groups = page._repeats(session, np.arange(session.trials))
    assert [g.tolist() for g in groups] == [[0, 6], [1, 7]]
    x, y = (
        np.concatenate([session.read("responses", r) for r in rows])
        for rows in ([0, 6, 1, 7], [6, 0, 7, 1])
    )
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(x.T, y.T, strict=True)]
    found = page._reliability(session, groups)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def written(folder, *, shape=(10, 6, 8), neurons=3, scale=1.0, shift=0.0, **options):
    """Eight trials of four films, each neuron the same in both repeats and noise."""
    films = RNG.integers(0, 256, (4, *shape))
    shown = np.array([0, 1, 2, 3, 0, 1, 2, 3])
    signal = RNG.gamma(1, size=(4, shape[0], neurons))
    noise = RNG.gamma(1, size=(8, shape[0], neurons))
    responses = shift + scale * (signal[shown] + 0.5 * noise)
    write_session(folder, videos=films[shown], responses=responses, **options)
    return Recordings.open(folder)[0]


def test_small_changes_of_a_large_mean_and_silent_neurons(tmp_path):
    session = written(tmp_path / "m", shift=1e3, scale=1e-2, neurons=2)
    groups = page._repeats(session, np.arange(8))
    assert len(groups) == 4
    x, y = (
        np.concatenate([session.read("responses", int(r)) for r in rows])
        for rows in (np.ravel(groups), np.ravel([g[::-1] for g in groups]))
    )
    expected = [
        np.corrcoef(a, b)[0, 1]
        for a, b in zip(x.T.astype(float), y.T.astype(float), strict=True)
    ]
    assert min(expected) > 0.5
    found = page._reliability(session, groups)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    silent = np.full((8, 10, 2), 0.3)
    silent[..., 1] = RNG.gamma(1, size=(8, 10))
    films = RNG.integers(0, 256, (4, 10, 6, 8))[[0, 1, 2, 3] * 2]
    write_session(tmp_path / "s", videos=films, responses=silent)
    found = page.shown_of(Recordings.open(tmp_path / "s")[0]).reliability_n
    assert np.isnan(found[0]) and np.isfinite(found[1])


def test_hidden_responses_are_not_drawn(tmp_path):
    tiers = ["train"] * 4 + ["secret"] * 4
    session = written(tmp_path / "m", tiers=tiers, hide=["secret"])
    shown = page.shown_of(session)
    assert len(shown.responses_tn) == 40 and not shown.repeats_rtn.size
    assert np.isnan(shown.reliability_n).all()
    assert any("secret" in name for name in shown.clips)


@pytest.mark.parametrize(
    "options, unit",
    [
        ({"rate_hz": 20}, "seconds"),
        ({}, "frames"),
        ({"shape": (1, 6, 8)}, "pictures"),
        ({"shape": (10, 5, 7, 3), "neurons": 1}, "frames"),
        ({"shape": (1000, 5, 7)}, "frames"),
    ],
    ids=["rate", "no rate", "pictures", "color", "long"],
)
def test_every_kind_of_recording_is_drawn(tmp_path, options, unit):
    shown = page.shown_of(written(tmp_path / "m", **options))
    assert shown.unit == unit
    assert len(shown.repeats_rtn) == 2 and np.isfinite(shown.reliability_n).all()
    figure = plots.page(shown)
    labels = [axis.get_xlabel() for axis in figure.axes]
    assert unit in labels


def test_a_suffix_that_is_none(tmp_path):
    with pytest.raises(UserError, match=r"Expected a name ending in .png, .svg, .pdf"):
        page.draw(tmp_path, tmp_path / "page")
