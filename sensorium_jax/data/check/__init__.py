"""Finds what would stop a run or make it wrong."""
