"""A simulated tree in miniature, and a twin that answers with what it is told."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from sensorium_jax.data import statistics
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.simulation.cortex import truth
from sensorium_jax.simulation.design import TINY, Repeated
from sensorium_jax.simulation.write import simulate

SMALL = replace(
    TINY, train=4, oracle=Repeated(2, 4), main=Repeated(1, 2), calibration=4, frames=80,
    ood=Repeated(1, 2), ood_frames=75, pad_to=90, neurons=16,
)  # fmt: skip


def tree(folder: Path, **options) -> Recordings:
    """Two small mice, every tier labelled."""
    simulate(folder, preset=SMALL, **options)
    return Recordings.open(folder)


def true_rates(session, row):
    """What the simulation noted, [t, n] in raw units."""
    path = truth.rates_file(Path(session.where), int(session.files[row]))
    return np.load(path).reshape(session.neurons, -1).T[: session.reader.length(row)]


class Told:
    """Answers films it has seen in a recording with rates from a function.

    rates(session, row) gives [t, n] in raw units; every clip is known by its video and
    behavior together, as repeats of a clip differ in behavior.
    """

    def __init__(self, recordings, rates, *, lost=10):
        self.mice, self.lost, self.known = recordings.names, lost, {}
        for session in recordings.sessions:
            precision_tn = statistics.precision(session)
            for row in np.flatnonzero(session.tiers != "none").tolist():
                key = self._key(session.name, session.read("behavior", row))
                x_tn = rates(session, row)
                self.known[key] = x_tn * precision_tn[: len(x_tn)]

    @staticmethod
    def _key(mouse, behavior_tk):
        return mouse, np.ascontiguousarray(behavior_tk[:60], np.float32).tobytes()

    def respond(self, video_bthwc, behavior_btk, pupil_bt2, mouse, first_frame_b=0):
        """Rates [B, T', N]; the last frame is repeated where the clip is longer."""
        frames, made = behavior_btk.shape[1], []
        for behavior_tk in behavior_btk:
            x_tn = self.known[self._key(mouse, behavior_tk)]
            more = max(frames - len(x_tn), 0)
            x_tn = np.concatenate([x_tn, np.repeat(x_tn[-1:], more, 0)])
            made.append(x_tn[self.lost : frames])
        return np.stack(made)
