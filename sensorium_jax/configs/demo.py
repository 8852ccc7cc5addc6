"""A small dynamic model of the simulated cortex, trained in minutes on two cores.

Many short clips teach more than few long ones: a window is just as long as the core's
filters need for eight outputs, three frames apart. Nothing is chosen by the tier it is
scored on: the run goes to its last step and keeps its last weights.
"""

from sensorium_jax.configs.base import base


def get_config():
    """The recipe."""
    config = base()
    config.model.name = "demo"
    config.data.update(root="data/demo", epochs=False)
    config.train.update(
        steps=700,
        batch=10,
        frames=37,
        rate=0.01,
        schedule="cosine",
        warmup=30,
        decay=0.01,
        clip=1.0,
        ema=0.98,
        mean_loss=True,
        scale_loss=False,
        checkpoint_every=100,
    )
    config.validate.update(every=10_000, trials=8, batch=4, stages=0)
    config.validate.restore_best = False
    return config
