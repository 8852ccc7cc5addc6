"""A static model on videos, for comparison: what a single frame tells.

The linear-nonlinear baseline of 2022 read frame by frame. No original exists.
"""

from sensorium_jax.configs.base import base


def get_config():
    """The recipe."""
    config = base()
    config.model.name = "ln2023"
    config.train.penalties = (
        ("core/layer0/conv/kernel", "laplace_l2norm", 6.3831),
        ("readout/features", "readout_l1", 0.0076),
    )
    return config
