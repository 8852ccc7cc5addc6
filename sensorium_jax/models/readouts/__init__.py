"""Readouts: from feature maps to each neuron's drive."""
