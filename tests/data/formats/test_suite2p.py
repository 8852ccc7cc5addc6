"""suite2p: cells only, deconvolved or corrected traces, places from stat.npy."""

import numpy as np
import pytest

from sensorium_jax.cli import main
from sensorium_jax.errors import UserError
from support.recordings import foreign


@pytest.fixture(scope="module")
def rec():
    return foreign.recorded()


@pytest.fixture
def folder(tmp_path, rec):
    return foreign.suite2p(tmp_path / "fish", rec, cells=[0, 2, 4])


@pytest.fixture
def flags(tmp_path, rec, folder):
    times = {"response_times": str(folder / "frames.npy")}
    return foreign.beside(tmp_path, rec) | times


def test_cells_are_read_back_with_their_places(folder, flags, rec, tmp_path):
    outcome = foreign.bring(folder, tmp_path / "out", **flags)
    assert "3 of 5 ROIs are cells" in outcome.text
    session = foreign.opened(tmp_path / "out", "fish")
    assert foreign.is_whole(session, rec, neurons=[0, 2, 4])
    assert session.unit_ids_n.tolist() == [0, 2, 4]
    expected = [[2 * n, 3 + n, 0] for n in (0, 2, 4)]
    np.testing.assert_array_equal(session.coordinates_n3, expected)


def test_f_loses_its_share_of_the_neuropil(folder, flags, rec, tmp_path):
    foreign.bring(folder, tmp_path / "out", response="F", **flags)
    foreign.bring(folder / "plane0", tmp_path / "out", response="F", neuropil=0.0,
                  name="raw", **flags)  # fmt: skip
    corrected = foreign.opened(tmp_path / "out", "fish").read("responses", 1)
    raw = foreign.opened(tmp_path / "out", "raw").read("responses", 1)
    np.testing.assert_allclose(corrected, raw - 7, atol=1e-5)


def test_planes_are_joined_and_their_units_told_apart(flags, rec, tmp_path):
    folder = foreign.suite2p(tmp_path / "deep/suite2p", rec, cells=[1, 3], planes=2)
    foreign.bring(folder, tmp_path / "out", **flags)
    session = foreign.opened(tmp_path / "out", "deep")
    assert session.unit_ids_n.tolist() == [1, 3, 1_000_001, 1_000_003]
    assert session.coordinates_n3[:, 2].tolist() == [0, 0, 1, 1]
    assert foreign.is_whole(session, rec, neurons=[1, 3, 1, 3])


def test_without_times_frames_follow_at_the_rate_of_ops(folder, flags, rec, tmp_path):
    del flags["response_times"]
    foreign.bring(folder, tmp_path / "out", **flags)
    session = foreign.opened(tmp_path / "out", "fish")
    # The first frame was really at 0.1 s, which nothing says here.
    seconds = rec.starts[2] + np.arange(20) / foreign.FPS + 0.1
    expected = foreign.activity(seconds)[:, [0, 2, 4]]
    np.testing.assert_allclose(session.read("responses", 2), expected, atol=0.12)


def test_a_stimulus_is_asked_for(folder, tmp_path, capsys):
    assert main(["import", str(folder), str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert "Give --stimulus FILE" in said and not (tmp_path / "out").exists()


def test_list(folder, capsys):
    assert main(["import", str(folder), "--list"]) == 0
    out = capsys.readouterr().out
    assert "plane0/spks.npy" in out and "133x5" in out and "7 Hz" in out


def test_words_for_wrong_flags(folder, flags, tmp_path):
    with pytest.raises(UserError, match="Unknown signal of suite2p 'dff'"):
        foreign.bring(folder, tmp_path / "out", response="dff", **flags)
    np.save(tmp_path / "short.npy", np.arange(7.0))
    flags["response_times"] = str(tmp_path / "short.npy")
    with pytest.raises(UserError, match="has 133 frames, but there are 7 times"):
        foreign.bring(folder, tmp_path / "out", **flags)
