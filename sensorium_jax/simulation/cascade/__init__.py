"""Cells as cascades of a filter and a nonlinearity, recorded in five ways."""
