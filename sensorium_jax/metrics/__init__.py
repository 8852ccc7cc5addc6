"""Scores as sums that stream past: zero, update, merge, value; jitted and sharded."""

from sensorium_jax.metrics import (
    bits,
    correlation,
    explained,
    likelihood,
    repeats,
)

__all__ = ["bits", "correlation", "explained", "likelihood", "repeats"]
