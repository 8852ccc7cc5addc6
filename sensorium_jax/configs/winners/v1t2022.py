"""V1T on SENSORIUM+ 2022.

Differs from its original: the rate falls as in the official trainers (one bad epoch
after the best weights came back), and batches are filled up and biases start at mean
rates as in cnn2022.
"""

from sensorium_jax.configs.base import base

PENALTIES = (
    ("core/.*", "l1", 0.5379),
    ("readout/features", "readout_l1", 0.0076),
)


def get_config():
    """The recipe."""
    config = base()
    config.model.name = "v1t2022"
    config.train.update(
        epochs=400,
        batch=16,
        frames=1,
        optimizer="adam",
        betas=(0.9, 0.9999),
        rate=0.001647,
        penalties=PENALTIES,
        scale_trials="train",
        checkpoint_every=200,
    )
    config.validate.update(batch=16, stages=3, patience=11, lowest_rate=1e-7)
    return config
