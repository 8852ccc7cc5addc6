"""Own recordings of small frames in which every neuron follows one pixel."""

from pathlib import Path

import numpy as np

from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.release.write import write_session

HEIGHT, WIDTH = 5, 6
NEURONS = (4, 3)


def pixels(neurons: int, seed: int) -> np.ndarray:
    """Where each neuron looks, (x, y) in pixels."""
    rng = np.random.default_rng([3, seed])
    return rng.integers([1, 1], [WIDTH - 1, HEIGHT - 1], (neurons, 2))


def followed(
    folder: Path,
    *,
    trials: int = 40,
    frames: int = 24,
    tiers=("train", "train", "train", "test"),
    noise: float = 0.5,
    **options,
) -> Recordings:
    """Two mice; a neuron's rate is the light of its pixel one frame before."""
    for m, n in enumerate(NEURONS):
        rng = np.random.default_rng([4, m])
        shape = (trials, frames, HEIGHT, WIDTH)
        videos = rng.integers(0, 256, shape).astype(np.uint8)
        at = pixels(n, m)
        lag = min(1, frames - 1)
        seen = np.roll(videos[:, :, at[:, 1], at[:, 0]] / 255.0, lag, axis=1)
        responses = seen + rng.gamma(1.0, noise, seen.shape)
        write_session(
            folder / f"mouse{m}",
            videos=videos,
            responses=responses,
            tiers=[tiers[i % len(tiers)] for i in range(trials)],
            video_dtype=np.uint8,
            **options,
        )
    return Recordings.open(folder)
