"""Kinds of neurons: the stimuli that tell clusters apart, and who belongs to which.

Most discriminative stimuli (Burg et al. 2024, arXiv 2401.05342): one stimulus for each
cluster that drives its neurons and no others. Stimuli are optimized for clusters, and
neurons move to the cluster whose stimulus drives them most, in turns.
"""
