"""A simulated cortex with known truth."""
