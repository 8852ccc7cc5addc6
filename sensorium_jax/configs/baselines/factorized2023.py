"""The factorized 3-D convolutional baseline of 2023.

Differs from its original: early stopping scores whole oracle trials; the original
scores the last 30 frames of one random 80-frame crop of each (validate.window =
"random80"). Batches are filled up and biases start as in cnn2022.
"""

from sensorium_jax.configs.base import base

PENALTIES = (
    ("core/layer0/spatial/kernel", "laplace_l2norm", 10.0),
    ("core/layer0/temporal/kernel", "depth_laplace_l2norm", 0.01),
)


def get_config():
    """The recipe."""
    config = base()
    config.model.name = "factorized2023"
    config.train.penalties = PENALTIES
    return config
