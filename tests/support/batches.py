"""A batch with all the gaps that a real one may have."""

import numpy as np

from sensorium_jax.axes import Batch


def random_batch(seed=0):
    """Rates and batch of three mice, the last empty; labels and neurons missing."""
    rng = np.random.default_rng(seed)
    rates = rng.uniform(0.1, 3, (3, 4, 5, 6)).astype(np.float32)
    responses = rng.uniform(0, 3, (3, 4, 7, 6)).astype(np.float32)
    valid = rng.uniform(size=(3, 4, 7)) < 0.8
    neurons = np.arange(6)[None] < np.array([6, 3, 0])[:, None]
    batch = Batch(
        np.zeros((3, 4, 7, 1, 1, 1)),
        np.zeros((3, 4, 7, 0)),
        np.zeros((3, 4, 7, 2)),
        np.where(valid[..., None] & neurons[:, None, None], responses, np.nan),
        valid,
        neurons,
        np.zeros((3, 4, 7), np.int32),
    )
    return rates, batch
