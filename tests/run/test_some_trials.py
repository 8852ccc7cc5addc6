"""config.data.trials: a share of the training trials, part of every larger one."""

import numpy as np
import pytest

from sensorium_jax.errors import UsageError
from sensorium_jax.run import build
from support.recordings import tiny


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    return tiny.films(tmp_path_factory.mktemp("films"), 2)


def learned(films, share, start="official"):
    config = tiny.recipe("ln2023", films)
    config.data.trials, config.readout.start = share, start
    return build.parts(config).stream.rows


def test_a_share_of_the_trials_is_learned_from(films):
    every, half, some = (learned(films, share) for share in (1.0, 0.5, 0.05))
    for all_rows, half_rows, few in zip(every, half, some, strict=True):
        assert (len(all_rows), len(half_rows), len(few)) == (12, 6, 1)
        assert set(few) < set(half_rows) < set(all_rows)
        assert np.all(np.diff(half_rows) > 0)


def test_shares_that_cannot_be_are_refused(films):
    for share, start in ((0.0, "official"), (1.5, "official"), (0.5, "data")):
        with pytest.raises(UsageError, match="Expected a share above 0"):
            learned(films, share, start)
