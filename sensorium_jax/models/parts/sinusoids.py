"""Where in a clip a feature is, as sine and cosine waves that are added to it."""

import math
from typing import Any

import numpy as np

Array = Any
LONGEST = 10_000.0  # frames or pixels of the slowest wave, over 2 pi


def add_position(x_mbthwc: Array) -> Array:
    """Features with waves of their frame, row and column added, same shape.

    A third of the channels belongs to each axis: first all sines, then all cosines.
    Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, for three axes.
    """
    *_, t, h, w, channels = x_mbthwc.shape
    each = 2 * math.ceil(channels / 6)
    for axis, size in enumerate((t, h, w)):
        # Zeros at the channels of the other axes: three small arrays, not a large one.
        wave = np.zeros((size, 3 * each), np.float32)
        wave[:, axis * each : (axis + 1) * each] = waves(size, each)
        shape = [1] * 6
        shape[2 + axis], shape[5] = size, channels
        x_mbthwc = x_mbthwc + wave[:, :channels].reshape(shape).astype(x_mbthwc.dtype)
    return x_mbthwc


def waves(size: int, channels: int) -> np.ndarray:
    """Sines and cosines of the places 0, 1, ... of an axis, [size, channels]."""
    slow = LONGEST ** -(np.arange(0, channels, 2, dtype=np.float32) / channels)
    angle = np.arange(size, dtype=np.float32)[:, None] * slow[None]
    return np.concatenate([np.sin(angle), np.cos(angle)], 1)
