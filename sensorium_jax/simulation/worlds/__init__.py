"""Simulated worlds other than the cortex: what they share, and their names."""
