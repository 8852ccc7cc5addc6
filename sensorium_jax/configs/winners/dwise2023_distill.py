"""DwiseNeuro, 1st of 2023, second stage: a smaller model that also learns from stage 1.

Set config.train.teacher to the workdir of a run of dwise2023 on the same fold. Its
rates are the targets of the other mice for every film, with 36 % of all weight.
Differs from the original as dwise2023 does.
"""

from sensorium_jax.configs.winners import dwise2023


def get_config():
    """The recipe."""
    config = dwise2023.get_config()
    config.model.name = "dwise2023_distill"
    config.train.teacher_share = 0.36
    return config
