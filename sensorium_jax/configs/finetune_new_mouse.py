"""New mice on a trained core: the core stays as it is, only their own rows learn.

Set config.model.start to a workdir or a checkpoint, config.model.name and
config.model.changes to those it was trained with, and config.data.root to the new
recordings. Differs from training anew in nothing but the frozen core.
"""

from sensorium_jax.configs import factorized2023


def get_config():
    """The recipe."""
    config = factorized2023.get_config()
    config.train.frozen = "(core|gru)/.*"
    config.train.epochs = 50
    return config
