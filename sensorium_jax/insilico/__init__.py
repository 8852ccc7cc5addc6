"""Experiments on twins: what drives a neuron, how it is tuned, where it looks.

>>> subject = sj.insilico.subject(sj.twin("runs/demo"), mouse=0)
>>> print(sj.insilico.tune(subject, range(20)))
"""

from sensorium_jax.insilico.fields import rf
from sensorium_jax.insilico.record import Result, load
from sensorium_jax.insilico.subjects import Subject, of as subject
from sensorium_jax.insilico.tuning import Values, refine, tune

__all__ = ["Result", "Subject", "Values", "load", "refine", "rf", "subject", "tune"]
