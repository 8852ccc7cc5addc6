"""Verbs of experiments on twins: a file each, and what they share."""
