"""The convolutional baseline of the track SENSORIUM+ (2022), with behavior and pupil.

Differs from its original as cnn2022 does.
"""

from sensorium_jax.configs.baselines import cnn2022


def get_config():
    """The recipe."""
    config = cnn2022.get_config()
    config.model.name = "cnn2022_plus"
    return config
