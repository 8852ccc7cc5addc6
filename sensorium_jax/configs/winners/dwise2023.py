"""DwiseNeuro, 1st of 2023, first stage: mixed batches, CutMix, averaged weights.

The author trains one model for each of 7 folds of films (--config.data.fold=0 to 6)
and takes the mean of their rates. Differs from the original: it validates every second
of the windows that overlap (validate.hop) and skips the frames that the judges skip,
where the original takes windows that do not overlap, frames between left out; draws
follow from the seed; and no step is in half precision. The original also trains on the
test trials of the five older mice, whose responses are public: set data.fold_tests.
"""

from sensorium_jax.configs.base import base

EPOCH = 72_000 // 32  # steps: 7,200 windows of each of ten mice


def get_config():
    """The recipe."""
    config = base()
    config.model.name = "dwise2023"
    config.data.update(mixed=True, epochs=False, clip_responses=True, fold=0)
    config.train.update(
        steps=21 * EPOCH,
        batch=32,
        frames=16,
        rate=2.4e-3,
        schedule="cosine",
        warmup=3 * EPOCH,
        floor=2.4e-5,
        decay=0.05,
        ema=0.999,
        cutmix=0.5,
        scale_loss=False,
        bounds=(),
        checkpoint_every=EPOCH,
    )
    config.validate.update(every=EPOCH, hop=15, stages=0)
    return config
