"""Films must have the size of those that the model was made for."""

from types import SimpleNamespace

import numpy as np
import pytest

from sensorium_jax.asking import PLAIN
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.release.write import write_session
from sensorium_jax.errors import UsageError, UserError
from sensorium_jax.run.score import known_sessions, models


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    root = tmp_path_factory.mktemp("films")
    videos, responses = np.zeros((3, 4, 8, 12)), np.ones((3, 4, 2))
    write_session(root / "fish", videos=videos, responses=responses)
    return Recordings.open(root)


def twin(frame, scale=1.0):
    asking = PLAIN._replace(scale=scale)
    return SimpleNamespace(mice=("fish",), frame_shape=frame, asking=asking)


@pytest.mark.parametrize("frame", [(8, 12, 3), (36, 64, 1), (12, 8, 1)])
def test_films_of_another_size_are_refused(recordings, frame):
    with pytest.raises(UserError, match="frames of 8 x 12 x 1 .* made for"):
        known_sessions(twin(frame), recordings)


@pytest.mark.parametrize(("frame", "scale"), [((8, 12, 1), 1.0), ((16, 24, 1), 0.5)])
def test_films_as_recorded_or_shrunk_already_pass(recordings, frame, scale):
    assert len(known_sessions(twin(frame, scale), recordings)) == 1


def test_one_or_several_models_are_named():
    assert models("run", None, "") == ["run"]
    assert models(None, "a", "") == ["a"] and models(None, ["a", "b"], "") == ["a", "b"]
    with pytest.raises(UsageError, match="Two models were given"):
        models("run", ["a", "b"], "")
    with pytest.raises(UsageError, match="nothing at all"):
        models(None, [], "nothing at all")
