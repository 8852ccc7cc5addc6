"""Recordings: official trees, stores, windows and streams; no jax in here."""
