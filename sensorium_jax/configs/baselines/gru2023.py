"""The GRU baseline of 2023: rotation-equivariant core, convolutional GRU.

Differs from its original as factorized2023 does.
"""

from sensorium_jax.configs.base import base

PENALTIES = (
    ("core/layer0/conv/coefficients", "rotated_laplace_l2norm", 500.0),
    ("core/layer[1-9]/conv/coefficients", "rotated_group_sparsity", 500_000.0),
)


def get_config():
    """The recipe."""
    config = base()
    config.model.name = "gru2023"
    config.train.penalties = PENALTIES
    return config
