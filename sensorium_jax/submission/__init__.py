"""Files for the judges, written and read."""
