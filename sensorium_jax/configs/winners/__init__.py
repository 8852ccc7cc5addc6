"""Recipes of models that won competitions."""
