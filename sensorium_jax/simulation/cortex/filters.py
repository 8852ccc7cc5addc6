"""Receptive fields as arrays: Gabors and center-surround in space, kernels in time."""

from math import factorial
from typing import NamedTuple

import numpy as np

from sensorium_jax.simulation.cortex.neurons import Neurons
from sensorium_jax.simulation.draws import FPS

TAPS = 16  # frames that a temporal kernel spans
KAPPA = np.array([0.1, 0.3, 0.3, 0.2, 0.1], np.float32)  # calcium smear of an event
POOL = 7.0  # pixels: SD of the normalization pool
RING = 10.0  # pixels: SD of a suppressive surround


class Filters(NamedTuple):
    """Filters of N neurons, P = H * W pixels, L taps (the newest frame first)."""

    even_np: np.ndarray
    odd_np: np.ndarray
    pool_np: np.ndarray  # non-negative, sums to 1
    early_nl: np.ndarray
    late_nl: np.ndarray


def build(neurons: Neurons, height: int = 36, width: int = 64, block: int = 512):
    """Filters of all neurons, made a block at a time to bound the memory."""
    parts = []
    for start in range(0, neurons.cells, block):
        some = take(neurons, slice(start, start + block))
        parts.append((*_fields(some, height, width), _pool(some, height, width)))
    even, odd, pool = (np.concatenate(p) for p in zip(*parts, strict=True))
    early, late = _in_time(neurons.speed, 3), _in_time(neurons.speed, 5)
    # ON and OFF cells keep a part of their response while the light stays.
    sustained = np.abs(neurons.polarity)[:, None] * 0.25 * np.abs(early)
    arrays = (even, odd, pool, early + sustained, late)
    return Filters(*(np.ascontiguousarray(a, np.float32) for a in arrays))


def take(neurons: Neurons, which) -> Neurons:
    """Some of the neurons, in the order given."""
    rows = {k: v[which] for k, v in neurons._asdict().items() if k != "eye_22"}
    return neurons._replace(**rows)


def _grid(neurons, height, width):
    y, x = np.mgrid[:height, :width].astype(np.float32)
    cx, cy = neurons.center_n2.T[:, :, None, None]
    return x - cx, y - cy


def _fields(neurons, height, width):
    x, y = _grid(neurons, height, width)

    def column(values):
        return np.asarray(values)[:, None, None]

    cos, sin = column(np.cos(neurons.orientation)), column(np.sin(neurons.orientation))
    across, along = cos * x + sin * y, cos * y - sin * x
    sigma, aspect = column(neurons.sigma), column(neurons.aspect)
    window = np.exp(-(across**2 + (aspect * along) ** 2) / (2 * sigma**2))
    wave = 2 * np.pi * across / column(neurons.wavelength) + column(neurons.phase)
    even, odd = window * np.cos(wave), window * np.sin(wave)
    total = window.sum((1, 2), keepdims=True)
    # No striped field answers to plain light.
    even = even - window * even.sum((1, 2), keepdims=True) / total
    odd = odd - window * odd.sum((1, 2), keepdims=True) / total
    core = 0.55 * sigma
    radius = x**2 + y**2
    center = np.exp(-radius / (2 * core**2)) / core**2
    ring = np.exp(-radius / (8 * core**2)) / (4 * core**2)
    spot = column(neurons.polarity) * (center - 0.85 * ring)
    round_ = column(neurons.polarity != 0)
    even = np.where(round_, spot, even)
    flat = even.reshape(len(even), -1), np.where(round_, 0, odd).reshape(len(even), -1)
    norm = [np.linalg.norm(f, axis=1, keepdims=True) for f in flat]
    return [f / np.maximum(n, 1e-12) for f, n in zip(flat, norm, strict=True)]


def _pool(neurons, height, width):
    x, y = _grid(neurons, height, width)
    radius = x**2 + y**2
    near = np.exp(-radius / (2 * POOL**2)).reshape(len(x), -1)
    inner = neurons.sigma[:, None, None]
    ring = np.exp(-radius / (2 * RING**2)) * (1 - np.exp(-radius / (4 * inner**2)))
    ring = ring.reshape(len(x), -1)
    share = neurons.surround[:, None]
    near, ring = (p / p.sum(1, keepdims=True) for p in (near, ring))
    return (1 - share) * near + share * ring


def _in_time(speed, n):
    """Biphasic kernel of order n [N, TAPS], unit norm (Adelson and Bergen 1985)."""
    kt = speed[:, None] * np.arange(TAPS) / FPS
    kernel = kt**n * np.exp(-kt) * (1 / factorial(n) - kt**2 / factorial(n + 2))
    return kernel / np.linalg.norm(kernel, axis=1, keepdims=True)
