"""Batches of windows, each a pure function of (seed, i)."""
