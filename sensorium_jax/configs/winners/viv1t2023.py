"""ViV1T, third in SENSORIUM 2023.

Differs from its original: a collapsed run does not go back by itself, the rate falls as
in the official trainers (one bad epoch after the best weights came back), batches are
filled up and biases start at mean rates as in cnn2022, and inputs are normalized as the
preset says. The winning entry is the mean of five seeds (sensorium ensemble).
"""

from sensorium_jax.configs.base import base

RATE, CORE_RATE = 0.0036, 0.0048


def get_config():
    """The recipe."""
    config = base()
    config.model.name = "viv1t2023"
    config.train.update(
        epochs=400,
        batch=6,
        frames=140,
        rate=RATE,
        rate_rules=(("core/.*", CORE_RATE / RATE),),
        decay=0.3939,
        decay_rules=(("core/.*", 0.1789),),
        correlation_weight=1000.0,
        scale_trials="train",
    )
    config.validate.update(stages=3, lowest_rate=1e-7)
    return config
