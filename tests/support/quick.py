"""Compiling without optimization: nearly all the time of small tests is compiling."""

from contextlib import contextmanager

import jax
import pytest


@contextmanager
def quickly(on=True):
    """Nearly all the time here is compiling."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", on)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(autouse=True)
def quick():
    """For whole modules of tests: import it and every test compiles quickly."""
    with quickly():
        yield
