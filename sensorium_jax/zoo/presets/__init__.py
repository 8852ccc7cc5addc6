"""Named models as plain data."""
