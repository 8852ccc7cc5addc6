"""Models that did well in the competitions, a file for each."""
