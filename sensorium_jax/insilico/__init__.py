"""Experiments on twins: what drives a neuron, how it is tuned, where it looks.

>>> subject = sj.insilico.subject(sj.twin("runs/demo"), mouse=0)
>>> print(sj.insilico.tune(subject, range(20)))
"""

from sensorium_jax.insilico.ascend import Climb
from sensorium_jax.insilico.clusters.assign import assign
from sensorium_jax.insilico.clusters.cluster import cluster
from sensorium_jax.insilico.clusters.partition import rand_index
from sensorium_jax.insilico.clusters.search import Rules
from sensorium_jax.insilico.clusters.show import show
from sensorium_jax.insilico.constraints import Budget
from sensorium_jax.insilico.fields import rf
from sensorium_jax.insilico.invariances import invariance
from sensorium_jax.insilico.movies.reconstruct import (
    Options as Reading,
    reconstruct,
)
from sensorium_jax.insilico.movies.recorded import Recorded
from sensorium_jax.insilico.optimal import Aim, check_on, mei
from sensorium_jax.insilico.ranking import Clip, screen
from sensorium_jax.insilico.record import Result, load
from sensorium_jax.insilico.representations.probe import (
    Represented,
    probe,
    shown_gratings,
)
from sensorium_jax.insilico.representations.shown import Gratings
from sensorium_jax.insilico.states import state
from sensorium_jax.insilico.subjects import Subject, of as subject
from sensorium_jax.insilico.tuning import Values, refine, search, tune

__all__ = [
    "Aim",
    "Budget",
    "Climb",
    "Clip",
    "Gratings",
    "Reading",
    "Recorded",
    "Represented",
    "Result",
    "Rules",
    "Subject",
    "Values",
    "assign",
    "check_on",
    "cluster",
    "invariance",
    "load",
    "mei",
    "probe",
    "rand_index",
    "reconstruct",
    "refine",
    "rf",
    "screen",
    "search",
    "show",
    "shown_gratings",
    "state",
    "subject",
    "tune",
]
