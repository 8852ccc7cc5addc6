"""Recipes of the official baselines."""
