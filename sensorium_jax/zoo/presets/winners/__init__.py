"""Models that won competitions, one family a file."""
