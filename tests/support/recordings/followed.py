"""Own recordings of small frames in which every neuron follows one pixel."""

from pathlib import Path

import numpy as np

from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.release.write import write_session

SIZE = (5, 6)  # rows and columns
NEURONS = (4, 3)


def pixels(mouse: int, size=SIZE) -> np.ndarray:
    """Where each neuron of a mouse looks, (x, y) in pixels."""
    rng = np.random.default_rng([3, mouse])
    return rng.integers([1, 1], [size[1] - 1, size[0] - 1], (NEURONS[mouse], 2))


def followed(
    folder: Path,
    *,
    trials: int = 40,
    frames: int = 24,
    tiers=("train", "train", "train", "test"),
    noise: float = 0.5,
    size: tuple[int, int] = SIZE,
    facts=lambda mouse: {},
    **options,
) -> Recordings:
    """Two mice; a neuron's rate is the light of its pixel one frame before.

    Where neurons lie in cortex follows from where they look.

    facts gives further options of write_session for each mouse.
    """
    for m in range(len(NEURONS)):
        rng = np.random.default_rng([4, m])
        shape = (trials, frames, *size)
        videos = rng.integers(0, 256, shape).astype(np.uint8)
        at = pixels(m, size)
        lag = min(1, frames - 1)
        seen = np.roll(videos[:, :, at[:, 1], at[:, 0]] / 255.0, lag, axis=1)
        responses = seen + rng.gamma(1.0, noise, seen.shape)
        write_session(
            folder / f"mouse{m}",
            videos=videos,
            responses=responses,
            coordinates=np.pad(20.0 * at @ [[0.8, 0.3], [-0.3, 0.9]], ((0, 0), (0, 1))),
            tiers=[tiers[i % len(tiers)] for i in range(trials)],
            video_dtype=np.uint8,
            **{**options, **facts(m)},
        )
    return Recordings.open(folder)
