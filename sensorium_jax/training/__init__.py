"""Losses, penalties, the step, the loop."""
