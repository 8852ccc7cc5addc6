"""A model for a recording of one's own: sizes, loss and length follow from the data.

What is 0 or empty here is chosen by run/own.py and said in one paragraph; what the
command line sets stays. Weights are those of the best validation, and a run that no
longer improves ends.
"""

from sensorium_jax.configs.base import base


def get_config():
    """The recipe."""
    config = base()
    config.model.update(name="own", fit=True, linear=True)
    config.data.epochs = False
    config.readout.start = "data"
    config.train.update(
        budget="10min",
        batch=0,
        frames=0,
        rate=0.01,
        rate_rules=(("readout/features", 0.5), ("readout/mu", 0.3)),
        schedule="staircase",
        warmup=30,
        decay=0.01,
        clip=1.0,
        ema=0.98,
        loss="",
        mean_loss=True,
        scale_loss=False,
        linear_share=0.8,
    )
    config.validate.update(trials=0, batch=4, stages=1, patience=4)
    return config
