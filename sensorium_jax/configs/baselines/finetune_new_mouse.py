"""New mice on a trained core: the core stays as it is, only their own rows learn.

Set config.model.start to a workdir or a checkpoint, config.model.name and
config.model.changes to those it was trained with, and config.data.root to the new
recordings. Differs from training anew: the core is frozen, so its penalties, which no
longer move anything, are left out, and 50 epochs are the most.
"""

from sensorium_jax.configs.baselines import factorized2023


def get_config():
    """The recipe."""
    config = factorized2023.get_config()
    config.train.frozen = "(core|gru)/.*"
    config.train.penalties = ()
    config.train.epochs = 50
    return config
