"""Encoders: cores, readouts, shifters, modulators, and the zoo."""
