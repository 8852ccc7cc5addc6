"""The linear model of recordings: fitted once, kept, counted as any model is."""

import shutil

import numpy as np
import pytest

import sensorium_jax as sj
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.store.build import convert
from sensorium_jax.errors import UserError
from sensorium_jax.run import linear, passes
from sensorium_jax.run.score import report
from support.quick import quickly
from support.recordings.followed import followed
from support.twins import Guess


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return followed(tmp_path_factory.mktemp("linear") / "data")


@pytest.fixture(scope="module")
def twin(recordings):
    with quickly():
        return linear.fitted(recordings.sessions, [recordings.path])


@pytest.fixture
def no_pass(monkeypatch):
    """From here on nobody may read trials to fit."""

    def refuse(self, rows):
        raise AssertionError("a pass over the trials")

    monkeypatch.setattr(passes.Mouse, "batches", refuse)


def guess(recordings):
    """A model that knows little."""
    model = Guess(recordings, lost=0)
    model.mice = recordings.names
    return model


def weights(twin, mouse="mouse0"):
    """Those of the neurons that exist."""
    return linear._arrays(twin.twins[mouse])["weight_mdn"]


def test_it_is_counted_as_the_model_is(recordings, twin):
    with quickly():
        found = report(twin, recordings.sessions, linear=lambda: twin, draws=20).tiers[
            "test"
        ]
    assert found.all.single_trial > 0.4  # of a ceiling near .5
    for _, name, scores in found.parts():
        assert scores.linear == pytest.approx(scores.single_trial, abs=1e-12), name
        assert scores.linear_interval == scores.single_trial_interval
        assert scores.over_linear == 0
    assert "not clearly better than the linear model: +0.000" in str(found)


def test_nothing_is_fitted_for_a_tier_that_is_not_there(recordings):
    never = {"linear": lambda: pytest.fail("fitted")}
    with pytest.raises(UserError, match="Unknown tier 'nothing'"):
        report(guess(recordings), recordings.sessions, tier="nothing", **never)


def test_a_model_that_loses_is_told_so_and_what_to_try(recordings, twin):
    with quickly():
        model = guess(recordings)
        found = report(model, recordings.sessions, linear=lambda: twin, draws=20)
        bare = report(model, recordings.sessions, draws=20)
    one = found.tiers["test"]
    assert one.all.over_linear == one.all.single_trial - one.all.linear < 0
    assert one.all.over_linear_interval[1] < 0
    text = str(found)
    assert "the model loses to the linear model: -" in text
    assert "config.readout.start=data" in text and "not fitted" not in text
    assert found.as_dict()["test"]["mice"]["mouse1"]["linear"] > 0.3
    without = str(bare)
    assert without.splitlines()[1].split().count("fitted") == 1
    assert "linear: not fitted" in without and "loses" not in without
    old = bare.as_dict()["test"]
    assert old["linear"] is None and old["single_trial"] == one.all.single_trial


def test_what_is_kept_is_not_fitted_again(recordings, twin, no_pass):
    again = linear.fitted(recordings.sessions, [recordings.path])
    for mouse in recordings.names:
        np.testing.assert_array_equal(weights(again, mouse), weights(twin, mouse))
    # Each mouse is kept by itself.
    one = linear.fitted(recordings.sessions[1:], [recordings.path])
    np.testing.assert_array_equal(weights(one, "mouse1"), weights(twin, "mouse1"))


def test_damaged_files_are_fitted_again(recordings, twin, tmp_path):
    data = shutil.copytree(recordings.path, tmp_path / "data")
    (first, second) = sorted((data / linear.FOLDER).iterdir())
    whole = first.read_bytes()
    first.write_bytes(whole[: len(whole) // 2])
    np.savez(second, **{k: np.zeros(3) for k in linear.Weights._fields})
    sessions = Recordings.open(data).sessions
    with quickly():
        again = linear.fitted(sessions, [data])
    for mouse in recordings.names:
        np.testing.assert_allclose(weights(again, mouse), weights(twin, mouse))
    assert first.read_bytes() == whole
    assert [p.name for p in (data / linear.FOLDER).iterdir()] != []


def test_what_cannot_be_written_is_kept_in_the_workdir(recordings, tmp_path, capsys):
    closed = tmp_path / "data"
    closed.mkdir()
    (closed / linear.FOLDER).write_text("a file where the folder would be")
    sessions, places = recordings.sessions[:1], [closed, "https://x/store", tmp_path]
    with quickly():
        linear.fitted(sessions, places)
        assert len(list((tmp_path / linear.FOLDER).iterdir())) == 1
        assert "could not be kept" not in capsys.readouterr().err
        linear.fitted(sessions, ["https://x/store", None])
    assert "could not be kept" in capsys.readouterr().err


def test_other_trials_have_another_model(recordings, twin, tmp_path):
    names = {linear.digest(m) for m in passes.mice(recordings.sessions)}
    others = followed(tmp_path / "data", noise=1.0).sessions
    assert len(names | {linear.digest(m) for m in passes.mice(others)}) == 4
    other_rules = Recordings.open(recordings.path, "own").sessions
    assert {linear.digest(m) for m in passes.mice(other_rules)} == names


def test_without_a_tier_that_validates_training_trials_are_held_out(tmp_path):
    (first, _) = followed(tmp_path / "data", trials=20, tiers=("train",)).sessions
    train, held = passes.learned_and_held(first)
    assert len(held) == 2 and not set(train) & set(held) and len(train) == 18


def test_pictures_stores_and_the_door(tmp_path):
    recordings = followed(tmp_path / "data", trials=80, frames=1, noise=0.2)
    convert(recordings.path, tmp_path / "store")
    store = Recordings.open(tmp_path / "store")
    with quickly():
        found = sj.score(guess(recordings), store, draws=5)
    tier = found.tiers["test"].all
    assert tier.linear > 0.6 > tier.single_trial
    assert len(list((tmp_path / "store" / linear.FOLDER).iterdir())) == 2
    with quickly():
        bare = sj.score(guess(recordings), store, linear=False, draws=5)
    assert bare.tiers["test"].all.linear is None
