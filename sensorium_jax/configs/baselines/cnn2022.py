"""The convolutional baseline of the track SENSORIUM (2022).

Differs from its original: a batch that ends a pass through a mouse's trials is filled
up from the next pass, where the original's loader gives a smaller one, and readout
biases start at the mean rates of all training trials, not of the first batch.
"""

from sensorium_jax.configs.base import base

PENALTIES = (
    ("core/layer0/conv/kernel", "laplace_l2norm", 6.3831),
    ("readout/features", "readout_l1", 0.0076),
)


def get_config():
    """The recipe."""
    config = base()
    config.model.name = "cnn2022"
    config.train.update(
        batch=128,
        frames=1,
        optimizer="adam",
        rate=0.009,
        penalties=PENALTIES,
        checkpoint_every=200,
    )
    config.validate.batch = 128
    return config
