"""Small mice to test with."""

from types import SimpleNamespace

import numpy as np

from sensorium_jax.axes import MouseInfo
from sensorium_jax.models.rows import Mouse


def one_mouse(neurons, *, coordinates=None, match=None, rates=None, name=7, padded=0):
    """Constants of a mouse, with that many padded neurons at the end."""
    total = neurons + padded
    out = Mouse(
        id=np.uint32(name),
        neurons_n=np.arange(total) < neurons,
        coordinates_n2=np.zeros((total, 2), np.float32),
        rates_n=np.zeros(total, np.float32),
        match_n=np.arange(total, dtype=np.int32),
    )
    for field, value in (
        ("coordinates_n2", coordinates),
        ("rates_n", rates),
        ("match_n", match),
    ):
        if value is not None:
            getattr(out, field)[: len(value)] = value
    return out


def mice(neurons, *, names="abcdef", behaviors=2, frame=(8, 9, 1), width=None):
    """MouseInfo of small mice whose constants follow from their names."""
    width = width or max(neurons)
    info = SimpleNamespace(coordinates=[], rates=[])
    for name in names[: len(neurons)]:
        rng = np.random.default_rng(ord(name))
        info.coordinates.append(rng.normal(100, 30, (50, 3))[:width])
        info.rates.append(rng.uniform(0.1, 1, 50)[:width])
    real = np.arange(width)[None] < np.array(neurons)[:, None]
    return MouseInfo(
        names=tuple(names[: len(neurons)]),
        neurons_mn=real,
        coordinates_mn3=np.where(real[..., None], np.stack(info.coordinates), 0).astype(
            np.float32
        ),
        mean_rates_mn=np.where(real, np.stack(info.rates), 0).astype(np.float32),
        trials_m=np.full(len(neurons), 20),
        train_trials_m=np.full(len(neurons), 15),
        has_coordinates=True,
        has_pupil=True,
        behaviors=behaviors,
        frame_shape=frame,
    )
