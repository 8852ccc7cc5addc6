import numpy as np
import pytest

from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.release.write import write_session
from sensorium_jax.data.stream.stream import Stream
from sensorium_jax.errors import UserError
from sensorium_jax.run import length_checks
from support.recordings import tiny


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    return Recordings.open(tiny.films(tmp_path_factory.mktemp("films"), 2))


def stream(recordings, **changes):
    return Stream(recordings, **({"batch": 2, "frames": 24} | changes))


def test_trials_of_24_frames_leave_23_out_and_no_more(films):
    length_checks.check(stream(films), 23, "because")
    length_checks.check(stream(films, stride=2, frames=12), 11, "because")
    with pytest.raises(UserError, match="because, so frame 25 .* at most 24 frames"):
        length_checks.check(stream(films), 24, "because")
    with pytest.raises(UserError, match="frame 25"):
        length_checks.check(stream(films, stride=2, frames=40), 12, "because")


def test_windows_must_reach_as_far(films):
    with pytest.raises(UserError, match="the windows 12"):
        length_checks.check(stream(films, frames=12), 12, "because")


@pytest.mark.parametrize("hidden", [False, True])
def test_one_trial_that_is_long_enough_will_do(tmp_path, hidden):
    lengths = [5, 5, 9, 5]
    rates = (0, 0, 0, 1) if hidden else (1, 1, 0, 1)  # one silent trial hides nothing
    write_session(
        tmp_path / "mouse",
        rules="2023",
        videos=[np.zeros((t, 4, 4)) for t in lengths],
        responses=[
            np.full((t, 2), rate) for t, rate in zip(lengths, rates, strict=True)
        ],
        tiers=["live_test_main"] * 3 + ["train"],
    )
    tests = stream(Recordings.open(tmp_path), tier="live_test_main", frames=9)
    if not hidden:
        return length_checks.check(tests, 8, "because")
    with pytest.raises(UserError, match="hidden .* config.data.tier"):
        length_checks.check(tests, 4, "because")
