"""Models by name: built, described, loaded, fetched."""
