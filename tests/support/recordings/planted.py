"""A film and cells whose fields are known: spots, and filters in quadrature."""

from typing import NamedTuple

import numpy as np

from sensorium_jax.axes import Batch, MouseInfo

HEIGHT, WIDTH, HERTZ = 12, 16, 10.0
TRIALS, FRAMES = 40, 120
KERNEL = np.array([0.2, 1.0, 0.7, -0.2, -0.3])  # the newest frame first


class Planted(NamedTuple):
    """Cells of one mouse: spots, complex cells, one that is noise, one that is dead."""

    center_n2: np.ndarray  # pixels
    rates_btn: np.ndarray
    linear_n: np.ndarray  # bool
    train: Batch
    held: Batch
    info: MouseInfo


def planted(seed=0, spots=8, pairs=6, trials=TRIALS):
    """Responses to slow coarse noise; places in cortex follow places on the screen."""
    rng = np.random.default_rng(seed)
    count = spots + pairs + 2
    video = rng.standard_normal((trials, FRAMES + 1, HEIGHT + 1, WIDTH + 1))
    for axis in (1, 2, 3):  # neighbors in space and time are alike
        one = [slice(None)] * 4
        two = list(one)
        one[axis], two[axis] = slice(1, None), slice(None, -1)
        video = video[tuple(one)] + video[tuple(two)]
    video /= video.std()
    center = rng.uniform([2, 2], [WIDTH - 3, HEIGHT - 3], (count, 2))
    rates = np.stack(
        [_rate(rng, video, c, n < spots) for n, c in enumerate(center)], -1
    )
    rates[..., -2] = 0.5  # answers nothing
    responses = rng.poisson(rates).astype(np.float32)
    responses[..., -1] = 0  # never fires
    place = 20.0 * center @ np.array([[0.8, 0.3], [-0.3, 0.9]])
    place += rng.normal(0, 5, place.shape)
    place[1] += 300  # a cell that follows no map
    cut = trials * 3 // 4
    info = MouseInfo(
        names=("planted",),
        neurons_mn=np.ones((1, count), bool),
        coordinates_mn3=np.pad(place, ((0, 0), (0, 1)))[None].astype(np.float32),
        mean_rates_mn=responses.mean((0, 1))[None],
        trials_m=np.array([trials]),
        train_trials_m=np.array([cut]),
        has_coordinates=True,
        has_pupil=False,
        behaviors=1,
        frame_shape=(HEIGHT, WIDTH, 1),
    )
    parts = [
        _batch(rng, video[s], responses[s]) for s in (slice(cut), slice(cut, None))
    ]
    return Planted(center, rates, np.arange(count) < spots, *parts, info)


def _rate(rng, video, center, spot):
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    y, x = y - center[1], x - center[0]
    window = np.exp(-(x**2 + y**2) / (2 * 1.5**2))
    angle = rng.uniform(0, np.pi)
    wave = 2 * np.pi * (np.cos(angle) * x + np.sin(angle) * y) / 5.0
    fields = [window] if spot else [window * np.cos(wave), window * np.sin(wave)]
    drives = []
    for field in fields:
        raw = np.einsum("bthw,hw->bt", video, field)
        drive = np.zeros_like(raw)
        for lag, share in enumerate(KERNEL):
            drive[:, lag:] += share * raw[:, : raw.shape[1] - lag]
        drives.append(drive)
    drive = drives[0] if spot else np.hypot(*drives)
    drive = (drive - drive.mean()) / drive.std()
    return 0.8 * np.logaddexp(0, 2 * drive) / 2


def _batch(rng, video, responses):
    shape = video.shape[:2]
    return Batch(
        video[None, ..., None].astype(np.float32),
        rng.standard_normal((1, *shape, 1)).astype(np.float32),
        np.zeros((1, *shape, 2), np.float32),
        responses[None],
        np.ones((1, *shape), bool),
        np.ones((1, responses.shape[-1]), bool),
        np.broadcast_to(np.arange(shape[1], dtype=np.int32), (1, *shape)),
    )
