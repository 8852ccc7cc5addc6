"""Recordings with a part of their neurons, and stores of them."""

import numpy as np
import pytest

from sensorium_jax.data.fewer import fewer_neurons
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.session import MISSING, RESPONSES
from sensorium_jax.data.store.build import convert
from sensorium_jax.errors import UserError
from support.recordings import tiny


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    return tiny.films(tmp_path_factory.mktemp("films"), 2, frames=6, train=2)


def test_a_share_of_the_neurons_is_as_if_no_others_were_recorded(films, tmp_path):
    every = Recordings.open(films)
    some = fewer_neurons(every, 0.6)
    assert [s.neurons for s in some.sessions] == [3, 2]  # of 5 and 3
    for session, whole in zip(some.sessions, every.sessions, strict=True):
        at = np.flatnonzero(np.isin(whole.unit_ids_n, session.unit_ids_n))
        assert len(at) == session.neurons and session.coordinates_n3 is not None
        np.testing.assert_array_equal(session.coordinates_n3, whole.coordinates_n3[at])
        frames = slice(1, 6, 2)
        np.testing.assert_array_equal(
            session.read(RESPONSES, 1, frames), whole.read(RESPONSES, 1, frames)[:, at]
        )
        few, full = (s.statistics[RESPONSES] for s in (session, whole))
        np.testing.assert_array_equal(few.std, full.std[..., at])
        fewer = fewer_neurons(every, 0.3)[whole.name]
        assert set(fewer.unit_ids_n) < set(session.unit_ids_n)
    convert(films, tmp_path / "some", neurons=0.6, durable=False, verify=True)
    stored = Recordings.open(tmp_path / "some")
    for session, kept in zip(some.sessions, stored.sessions, strict=True):
        assert kept.unit_digest == session.unit_digest
        np.testing.assert_array_equal(
            kept.read(RESPONSES, 2), session.read(RESPONSES, 2)
        )
    with pytest.raises(UserError, match="begun from other recordings"):
        convert(films, tmp_path / "some", neurons=0.3, durable=False)


def test_missing_responses_go_with_their_neurons(films):
    every = Recordings.open(films)
    session = every.sessions[0]
    gone_rn = np.arange(session.trials * 5).reshape(-1, 5) % 2 == 0
    session.columns[MISSING] = gone_rn
    some = fewer_neurons(every, 0.6).sessions[0]
    at = np.flatnonzero(np.isin(session.unit_ids_n, some.unit_ids_n))
    np.testing.assert_array_equal(some.missing_rn, gone_rn[:, at])


def test_a_share_that_cannot_be_is_refused(films):
    for share in (0.0, 1.5, float("nan")):
        with pytest.raises(UserError, match="Expected a share above 0"):
            fewer_neurons(Recordings.open(films), share)
