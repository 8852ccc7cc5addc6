"""Weights on disk beside a card that explains them."""
