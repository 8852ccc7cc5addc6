"""What simulated mice are shown."""
