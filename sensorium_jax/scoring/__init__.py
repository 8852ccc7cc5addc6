"""Prediction, suites, submissions, the local judge."""
