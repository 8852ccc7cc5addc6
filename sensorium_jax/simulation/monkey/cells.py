"""Cells that add up the energy of two filters, normalized by what others see.

Simple and complex cells lie on a line: max(even, 0)^2 at one end, even^2 + odd^2 at the
other (Adelson & Bergen 1985). The sum is divided by the energy of all orientations
around (Heeger 1992). Counts vary more than Poisson's, by a gain that a trial's cells
share in part (Goris, Movshon & Simoncelli 2014).
"""

from typing import NamedTuple

import numpy as np

from sensorium_jax.simulation.draws import generator

ORIENTATIONS = 6  # of the filters in the normalization pool


class Cells(NamedTuple):
    """What N cells are made of; P = H * W pixels."""

    kind: np.ndarray
    center_n2: np.ndarray  # x, y in pixels
    wavelength: np.ndarray
    even_np: np.ndarray
    odd_np: np.ndarray
    pool_qnp: np.ndarray  # [2 * ORIENTATIONS, N, P] filters of the pool
    complexity: np.ndarray  # 0 simple ... 1 complex
    strength: np.ndarray  # of the normalization
    power: np.ndarray
    base: np.ndarray  # spikes without a picture
    noise: np.ndarray  # SD of the log gain of one trial
    gain: np.ndarray


def draw(seed: int, mouse: int, count: int, side: int) -> Cells:
    """Draw the cells under one array of electrodes; their fields lie close together."""
    rng = generator(seed, "monkey", mouse)
    middle = side / 2 + rng.uniform(-0.08, 0.08, 2) * side
    center_n2 = middle + rng.normal(0, 0.1 * side, (count, 2))
    center_n2 = np.clip(center_n2, 0.15 * side, 0.85 * side)
    wavelength = rng.uniform(0.09, 0.2, count) * side
    orientation = rng.uniform(0, np.pi, count)
    complexity = np.where(rng.random(count) < 0.6, rng.uniform(0.7, 1, count), 0)
    sigma = wavelength * rng.uniform(0.35, 0.5, count)
    even, odd = gabors(center_n2, orientation, wavelength, sigma, side)
    pool = []
    for turn in np.arange(ORIENTATIONS) * np.pi / ORIENTATIONS:
        pair = gabors(center_n2, orientation * 0 + turn, wavelength, 1.8 * sigma, side)
        pool += list(pair)
    return Cells(
        kind=np.where(complexity > 0, "complex", "simple"),
        center_n2=center_n2,
        wavelength=wavelength,
        even_np=even,
        odd_np=odd,
        pool_qnp=np.stack(pool),
        complexity=complexity,
        strength=rng.uniform(0.5, 2.0, count),
        power=rng.uniform(0.7, 1.3, count),
        base=rng.uniform(0.1, 1.5, count),
        noise=rng.uniform(0.3, 0.8, count),
        gain=np.ones(count),
    )


def gabors(center_n2, orientation, wavelength, sigma, side):
    """Even and odd filters [N, P] of unit norm that see no plain light."""
    y, x = np.mgrid[:side, :side].reshape(2, 1, -1)
    x, y = x - center_n2[:, :1], y - center_n2[:, 1:]
    cos, sin = np.cos(orientation)[:, None], np.sin(orientation)[:, None]
    across = cos * x + sin * y
    window = np.exp(-(x**2 + y**2) / (2 * sigma[:, None] ** 2))
    wave = 2 * np.pi * across / wavelength[:, None]
    even, odd = window * np.cos(wave), window * np.sin(wave)
    even -= window * even.sum(1, keepdims=True) / window.sum(1, keepdims=True)
    return tuple(
        (f / np.linalg.norm(f, axis=1, keepdims=True)).astype(np.float32)
        for f in (even, odd)
    )


def response(cells: Cells, picture_hw: np.ndarray) -> np.ndarray:
    """Drive [N] of one picture before its gain."""
    seen_p = (picture_hw.reshape(-1).astype(np.float32) - 120) / 50
    even, odd = cells.even_np @ seen_p, cells.odd_np @ seen_p
    share = cells.complexity
    energy = (1 - share) * np.maximum(even, 0) ** 2 + share * (even**2 + odd**2) / 2
    pool = ((cells.pool_qnp @ seen_p) ** 2).mean(0)
    return (energy / (4.0 + cells.strength * pool)) ** cells.power


def rates(cells: Cells, picture_hw: np.ndarray) -> np.ndarray:
    """Mean spikes [1, N] that a picture evokes."""
    return (cells.base + cells.gain * response(cells, picture_hw))[None]


def counts(rng: np.random.Generator, cells: Cells, rates_tn: np.ndarray) -> np.ndarray:
    """Spikes of one presentation: Poisson under a gain of mean 1, half of it shared."""
    half = np.sqrt(0.5)
    state = half * rng.standard_normal() + half * rng.standard_normal(len(cells.noise))
    gain = np.exp(cells.noise * state - cells.noise**2 / 2)
    return rng.poisson(rates_tn * gain).astype(np.float32)
