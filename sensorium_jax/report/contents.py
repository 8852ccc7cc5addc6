"""What a page is made from: plain records, gathered by run/report.py."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax.scoring.tables import Comparison, Report, Scores

Numbers = Mapping[str, float]


class Neuron(NamedTuple):
    """One neuron and how well it is predicted."""

    rank: str  # "best", "median" or "worst"
    mouse: str
    unit: int  # its id in the recording
    correlation: float  # with single trials, over the whole tier


class Trace(NamedTuple):
    """A neuron over some trials laid end to end, in the judges' units."""

    neuron: Neuron
    recorded_t: np.ndarray
    predicted_t: np.ndarray
    starts: tuple[int, ...]  # frames at which trials begin


class Clip(NamedTuple):
    """What a mouse was shown in some trials, and what its neurons did."""

    mouse: str
    frames: np.ndarray  # [t, h, w] or [t, h, w, 3], uint8
    recorded_tn: np.ndarray  # of the neurons that are predicted best
    predicted_tn: np.ndarray
    units_n: tuple[int, ...]


class Time(NamedTuple):
    """How frames are counted."""

    rate: float  # frames in one of `unit`
    unit: str  # "seconds", "frames" where the rate is unknown, or "pictures"


class Placed(NamedTuple):
    """Where some neurons of a mouse read the core's maps."""

    mouse: str
    neurons: int  # of the mouse; fewer may be here
    units_n: np.ndarray
    read_n2: np.ndarray  # -1..1, from the left and from above
    coordinates_n3: np.ndarray | None  # micrometres


class Field(NamedTuple):
    """The linear model's weights of one neuron at its strongest frames."""

    neuron: Neuron
    map_hw: np.ndarray
    center_2: tuple[float, float]  # x and y in pixels of the recorded frame


class Excited(NamedTuple):
    """The most exciting stimulus of one neuron at its strongest frame."""

    neuron: Neuron
    frame_hw: np.ndarray  # in units of contrast, grey is 0
    frames: int  # of the stimulus
    response: float  # of the model to it, and to grey
    blank: float


class Run(NamedTuple):
    """Everything that a page says of one run."""

    name: str
    data: str  # what it was scored on
    card: Mapping[str, Any]
    scores: Report
    tier: str  # the one that validates, or the first that was scored
    together: Mapping[str, Scores]  # by type of stimulus, over all tests
    log: Sequence[Numbers]
    time: Time
    traces: Sequence[Trace] = ()
    clip: Clip | None = None
    placed: Sequence[Placed] = ()
    fields: Sequence[Field] = ()
    excited: Sequence[Excited] = ()
    notes: Sequence[str] = ()  # what is missing, and why


class Runs(NamedTuple):
    """Several runs on the same trials, each against the first."""

    runs: Sequence[Run]
    against: Mapping[str, Mapping[str, Comparison]]  # tier -> run -> the first less it
