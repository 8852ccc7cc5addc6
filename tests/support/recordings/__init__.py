"""Recordings in memory and on disk."""
