"""Recipes of models that did well in the competitions."""
