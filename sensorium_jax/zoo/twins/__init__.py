"""Trained models as an experimenter meets them."""
