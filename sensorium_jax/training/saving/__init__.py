"""Checkpoints while a run goes on."""
