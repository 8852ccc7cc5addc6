"""A simulated tree in miniature."""

from dataclasses import replace
from pathlib import Path

import numpy as np

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
