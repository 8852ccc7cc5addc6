"""Own recordings may come without channels, signals' axes or tiers."""

import numpy as np
import pytest

from sensorium_jax.data.release import trial_arrays, write
from sensorium_jax.errors import UserError


def test_channels_are_added():
    assert trial_arrays.channels(np.zeros((3, 4, 5))).shape == (3, 4, 5, 1)
    assert trial_arrays.channels(np.zeros((3, 4, 5, 2))).shape == (3, 4, 5, 2)
    with pytest.raises(UserError, match=r"shape \(4, 5\), expected"):
        trial_arrays.channels(np.zeros((4, 5)))


def test_flat_rows_get_their_axis():
    assert trial_arrays.signals([np.zeros(7)], 0, 1).shape == (
        1,
        7,
    )  # a picture's neurons
    assert trial_arrays.signals([np.zeros(9)], 0, 9).shape == (
        9,
        1,
    )  # one signal of a film
    assert trial_arrays.signals([np.zeros((9, 2))], 0, 9).shape == (9, 2)
    assert trial_arrays.signals([np.zeros(8)], 0, 9).shape == (
        8,
    )  # left for the writer to refuse
    assert trial_arrays.signals(None, 0, 9) is None


@pytest.mark.parametrize(
    ("stimulus", "held"),
    [
        ([0, 1, 0, 2], [0, 2]),
        (range(12), [9]),
        ([3] * 11, [9]),
        ([0, 1, 2], [2]),
        ([0, 1, 2, 5, 5, 5, 5], [3, 4, 5, 6]),
        # A few pictures shown again and again: whole pictures are held out.
        ([4, 2, 0, 4, 2, 0], [2, 5]),
        ([*range(20), *range(20)], [9, 19, 29, 39]),
        ([7, *range(4), *range(4)], [4, 8]),
    ],
)
def test_repeats_are_for_validation(stimulus, held):
    tiers = write.default_tiers(np.array(stimulus), "oracle")
    assert [i for i, tier in enumerate(tiers) if tier == "oracle"] == held
    assert set(tiers) <= {"train", "oracle"}


def test_a_single_trial_is_for_training():
    assert write.default_tiers(np.array([0]), "oracle") == ["train"]
