"""Figures; the only room that imports matplotlib."""

from sensorium_jax.plots import curves, recordings, runs, scores, simulated
from sensorium_jax.plots.slider import slider

__all__ = ["curves", "recordings", "runs", "scores", "simulated", "slider"]
