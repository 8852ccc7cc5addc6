"""Recordings in other formats, as films, signals and clocks; written as trees."""
