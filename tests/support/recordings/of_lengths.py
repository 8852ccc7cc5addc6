"""Sessions in memory of trials of any lengths; statistics of everything per frame."""

import numpy as np

from sensorium_jax.axes import Trial
from sensorium_jax.data.session import (
    BEHAVIOR,
    PUPIL,
    RESPONSES,
    VIDEO,
    Session,
    Stats,
)
from sensorium_jax.rules import FILMS, own
from sensorium_jax.scoring.trials import Sizes
from support.recordings.in_memory import Reader

SHAPE = (4, 6, 1)
FIT = Sizes(stimuli=6, frames=34, neurons=3)  # one for many tests: compiled once


def trial(frames, neurons, seed):
    r = np.random.default_rng([seed, frames])
    sizes = (SHAPE, (2,), (2,))
    signals = (r.normal(size=(frames, *s)).astype(np.float32) for s in sizes)
    responses = r.gamma(1.0, 1.0, (frames, neurons)).astype(np.float32)
    return Trial(*signals, responses)


def statistics(frames, neurons, *, per_frame):
    """Means and stds that differ from frame to frame, or one of each."""
    r = np.random.default_rng(frames)
    sizes = {VIDEO: SHAPE, BEHAVIOR: (2,), PUPIL: (2,), RESPONSES: (neurons,)}
    found = {}
    for what, size in sizes.items():
        shape = (frames, *size) if per_frame else size
        mean, std = r.uniform(0.5, 1, shape), r.uniform(0.5, 2, shape)
        found[what] = Stats(mean.astype(np.float32), std.astype(np.float32))
    return found


def session(
    lengths, *, neurons=3, rules=None, tiers=None, name="mouse", per_frame=True, same=()
):
    """A session of such trials; `same` are pairs of trials that show one film."""
    trials = [trial(n, neurons, i) for i, n in enumerate(lengths)]
    for first, again in same:
        trials[again] = trials[again]._replace(video_thwc=trials[first].video_thwc)
    count = len(lengths)
    return Session(
        name=name,
        rules=rules or own(FILMS),
        where=f"memory of {name}",
        tiers=np.array(tiers or ["test"] * count),
        files=np.arange(count),
        unit_ids_n=np.arange(neurons, dtype=np.int64),
        coordinates_n3=None,
        frame_shape=SHAPE,
        video_dtype=np.dtype(np.float32),
        behaviors=2,
        has_pupil=True,
        statistics=statistics(max(lengths), neurons, per_frame=per_frame),
        reader=Reader(trials),
    )
