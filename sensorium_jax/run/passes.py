"""Passes over the trials of one mouse, streamed from wherever its recording lies.

Maps and linear models take each mouse by itself, so that memory is that of one mouse.
All mice are padded to one size, so that one program serves them.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import jax
import numpy as np

from sensorium_jax.asking import PLAIN
from sensorium_jax.axes import Batch, MouseInfo
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.session import Session
from sensorium_jax.data.stream.pools import labelled
from sensorium_jax.data.stream.stream import Stream, prefetch
from sensorium_jax.maps import reduce
from sensorium_jax.maps.reduce import Plan
from sensorium_jax.rules import TRAIN, VAL
from sensorium_jax.training import forward

RESPONSES, PIXELS = 4_000_000, 16_000_000  # numbers of one batch at most
MOST = 128  # trials of one batch at most
EVERY = 10  # of the training trials one is held out, where no tier validates


class Sizes(NamedTuple):
    """What the batches of all mice are padded to."""

    trials: int
    frames: int
    neurons: int


class Mouse:
    """One mouse, its trials to learn from and those to choose by."""

    def __init__(self, session: Session, sizes: Sizes, units: str):
        """Reads no trial yet; units are those that responses are given in."""
        self.session, self.sizes, self.units = session, sizes, units
        self.alone = Recordings((session,), session.where)

    @cached_property
    def info(self) -> MouseInfo:
        """What a model must know of it."""
        return self.alone.mouse_info(self.units)

    @cached_property
    def plan(self) -> Plan:
        """How its frames are reduced."""
        session = self.session
        return reduce.choose(
            session.frame_shape,
            hertz=session.frames_per_second or 30.0,
            signals=session.behaviors + 2 * session.has_pupil,
            still=not session.rules.films,
        )

    def steps(self, rows: np.ndarray) -> int:
        """Batches of a pass over these trials."""
        return -(-len(rows) // self.sizes.trials)

    def batches(self, rows: np.ndarray) -> Iterator[Batch]:
        """A pass over these trials, whole, in order; read ahead in the background."""
        stream = self._stream(rows)
        more = self.sizes.neurons - self.session.neurons

        def at(i: int) -> Batch:
            batch: Any = stream.batch_at(0, i)
            responses = np.pad(batch.responses_mbtn, [(0, 0)] * 3 + [(0, more)])
            real = np.pad(batch.neurons_mn, [(0, 0), (0, more)])
            seen = batch.observed_mbn
            if seen is not None:
                seen = np.pad(seen, [(0, 0), (0, 0), (0, more)])
            return batch._replace(
                responses_mbtn=responses, neurons_mn=real, observed_mbn=seen
            )

        return prefetch(at, 0, self.steps(rows))

    def normalized(self) -> Callable[[Batch], jax.Array]:
        """Gives the video of a batch as models see it, in float32."""
        mean, std = self._stream(self.session.trials_of(TRAIN)).video_stats
        statistics = {"mean": mean, "std": std}
        return lambda batch: _normalized(batch, statistics)

    def _stream(self, rows: np.ndarray) -> Stream:
        return Stream(
            self.alone,
            batch=self.sizes.trials,
            frames=self.sizes.frames,
            start=0,
            trials=[rows],
            once=True,
            response_scaling=self.units,
            inputs="normalized",
        )


@jax.jit
def _normalized(batch: Batch, statistics: dict[str, Any]) -> jax.Array:
    return forward.prepare(batch, statistics, PLAIN)


def mice(sessions: Sequence[Session], units: str = "per_neuron") -> list[Mouse]:
    """Every mouse, padded alike."""
    frames = max(
        int(s.lengths(np.concatenate(learned_and_held(s))).max()) for s in sessions
    )
    neurons = max(s.neurons for s in sessions)
    pixels = int(np.prod(sessions[0].frame_shape))
    most = min(RESPONSES // (frames * neurons), PIXELS // (frames * pixels), MOST)
    longest = max(len(s.trials_of(TRAIN)) for s in sessions)
    sizes = Sizes(max(min(most, longest), 1), frames, neurons)
    return [Mouse(s, sizes, units) for s in sessions]


def learned_and_held(session: Session) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the trials to learn from and of those to choose by.

    The latter are of the tier that validates; where none does, or its responses are
    hidden, some of the training trials.
    """
    train = session.trials_of(TRAIN)
    if session.rules.validating(session.tiers) is not None:
        rows = session.trials_of(VAL)
        rows = rows[[labelled(session, row) for row in rows.tolist()]]
        if rows.size:
            return train, rows
    if len(train) == 1:
        return train, train
    held = np.arange(len(train)) % EVERY == min(EVERY, len(train)) - 1
    return train[~held], train[held]
