"""One core for all seven mice of 2022: the convolutional baseline on every scan.

Differs from its original as cnn2022 does, and trains on every mouse under data.root:
put all seven there.
"""

from sensorium_jax.configs.baselines import cnn2022


def get_config():
    """The recipe."""
    return cnn2022.get_config()
