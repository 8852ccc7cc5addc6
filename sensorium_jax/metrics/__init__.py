"""Metrics as zero / update / merge / value."""
