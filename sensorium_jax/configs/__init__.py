"""Recipes, shipped in the wheel: `--config NAME` finds them here."""
