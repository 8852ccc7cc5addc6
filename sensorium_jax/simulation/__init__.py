"""A cortex of our own, with known truth."""
