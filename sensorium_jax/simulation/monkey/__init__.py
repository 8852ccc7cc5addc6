"""A monkey's visual cortex shown still pictures again and again."""
