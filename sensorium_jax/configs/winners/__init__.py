"""Recipes of models that won competitions, or came near."""
