"""What cores and readouts are put together from."""
