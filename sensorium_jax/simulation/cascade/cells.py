"""Filters in space and time, a share of energy, a nonlinearity of the world's own.

A cell's drive is a striped or round filter through a gamma-shaped kernel; the energy of
a filter and its quarter-wave partner takes its place by the cell's complexity. Drives
have SD 1 on the world's own films. What a world makes of a drive is its own affair.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sensorium_jax.simulation.draws import generator

EXPONENTIAL, POWER = "exponential", "power"
THRESHOLD, SQUARED = "threshold", "squared"


class Law(NamedTuple):
    """What cells are drawn from; lengths are shares of the frame's short side."""

    height: int
    width: int
    size: tuple[float, float]  # SD of a field
    cycles: tuple[float, float]  # of the stripes per SD of the field
    round: float  # share of cells without stripes
    complex: float  # share of cells that add energies
    peak: tuple[float, float]  # frames until the kernel's peak
    undershoot: tuple[float, float]
    taps: int
    nonlinearity: str
    steepness: tuple[float, float]
    threshold: tuple[float, float]
    rate: tuple[float, float]  # median and log SD of mean responses per frame


class Cells(NamedTuple):
    """What N cells are made of; P = H * W pixels, L taps."""

    kind: np.ndarray
    center_n2: np.ndarray  # x, y in pixels
    even_np: np.ndarray
    odd_np: np.ndarray
    kernel_nl: np.ndarray  # the newest frame first
    complexity: np.ndarray
    steepness: np.ndarray
    threshold: np.ndarray
    run_gain: np.ndarray  # of the log rate by running
    mean: np.ndarray  # of the raw drive, found by calibration
    spread: np.ndarray
    gain: np.ndarray  # response per frame at drive's unit, found by calibration
    rate: np.ndarray  # mean response per frame that gain aims at


def draw(law: Law, world: str, seed: int, mouse: int, count: int) -> Cells:
    """Draw the cells of one mouse; nothing is calibrated yet."""
    rng = generator(seed, world, "cells", mouse)
    short = min(law.height, law.width)
    edge = 0.12 * short
    far = np.array([law.width, law.height]) - 1 - edge
    center_n2 = rng.uniform([edge, edge], far, (count, 2))
    size = rng.uniform(*law.size, count) * short
    plain = (rng.permutation(count) + 0.5) / count < law.round
    complexity = np.where((rng.random(count) < law.complex) & ~plain, 1.0, 0.0)
    even, odd = _fields(rng, law, center_n2, size, plain)
    t = np.arange(law.taps)[None] / rng.uniform(*law.peak, count)[:, None]
    late = rng.uniform(*law.undershoot, count)[:, None] * (t / 2) ** 3
    kernel = t**2 * np.exp(2 * (1 - t)) - late * np.exp(3 * (1 - t / 2))
    one = np.ones(count)
    median, scatter = law.rate
    return Cells(
        kind=np.where(plain, "round", np.where(complexity > 0, "complex", "simple")),
        center_n2=center_n2,
        even_np=even,
        odd_np=odd,
        kernel_nl=kernel / np.linalg.norm(kernel, axis=1, keepdims=True),
        complexity=complexity,
        steepness=rng.uniform(*law.steepness, count),
        threshold=rng.uniform(*law.threshold, count),
        run_gain=rng.normal(0.25, 0.15, count),
        mean=one * 0,
        spread=one,
        gain=one,
        rate=rng.lognormal(np.log(median), scatter, count),
    )


def _fields(rng, law, center_n2, size, plain):
    """Even and odd filters [N, P] of unit norm, made one by one."""
    y, x = np.mgrid[: law.height, : law.width].reshape(2, -1)
    even = np.empty((len(size), y.size), np.float32)
    odd = np.zeros_like(even)
    for i, ((cx, cy), sigma) in enumerate(zip(center_n2, size, strict=True)):
        angle, phase = rng.uniform(0, 2 * np.pi, 2)
        cycles, sign = rng.uniform(*law.cycles), rng.choice([-1, 1])
        radius = (x - cx) ** 2 + (y - cy) ** 2
        window = np.exp(-radius / (2 * sigma**2))
        if plain[i]:
            ring = np.exp(-radius / (2 * (2 * sigma) ** 2))
            pair = [sign * (window / window.sum() - 0.8 * ring / ring.sum())]
        else:
            across = np.cos(angle) * (x - cx) + np.sin(angle) * (y - cy)
            wave = 2 * np.pi * cycles * across / sigma + phase
            pair = [window * np.cos(wave), window * np.sin(wave)]
            pair = [f - window * f.sum() / window.sum() for f in pair]
        for out, f in zip((even, odd), pair, strict=False):
            out[i] = f / np.linalg.norm(f)
    return even, odd


def drive(cells: Cells, video_thw: np.ndarray) -> np.ndarray:
    """Drives [T, N]; the screen was grey before."""
    seen_tp = (video_thw.reshape(len(video_thw), -1).astype(np.float32) - 127) / 60
    even, odd = (
        _in_time(seen_tp @ f.T, cells.kernel_nl) for f in (cells.even_np, cells.odd_np)
    )
    share = cells.complexity
    raw = (1 - share) * even + share * np.sqrt(even**2 + odd**2)
    return (raw - cells.mean) / cells.spread


def _in_time(x_tn: np.ndarray, kernel_nl: np.ndarray) -> np.ndarray:
    out = np.zeros(x_tn.shape)
    for lag in range(min(kernel_nl.shape[1], len(x_tn))):
        out[lag:] += kernel_nl[None, :, lag] * x_tn[: len(x_tn) - lag]
    return out


def passed(law: Law, cells: Cells, drive_tn: np.ndarray) -> np.ndarray:
    """The nonlinearity of the world, [T, N]."""
    over = cells.steepness * (drive_tn - cells.threshold)
    if law.nonlinearity == EXPONENTIAL:
        return np.exp(np.minimum(over, 4.0))
    if law.nonlinearity == POWER:
        return np.maximum(over, 0) ** 1.5 + 0.05
    if law.nonlinearity == SQUARED:
        return np.logaddexp(0, over) ** 2
    return 1 / (1 + np.exp(-4 * over)) + 1e-4


def calibrated(law: Law, cells: Cells, films: Sequence[np.ndarray]) -> Cells:
    """The cells with drives of SD 1 on films, responding as often as they should."""
    raw = np.concatenate([drive(cells, film) for film in films])
    cells = cells._replace(mean=raw.mean(0), spread=np.maximum(raw.std(0), 1e-6))
    rate = np.concatenate([passed(law, cells, drive(cells, f)) for f in films]).mean(0)
    return cells._replace(gain=cells.rate / np.maximum(rate, 1e-9))


def rates(
    law: Law, cells: Cells, video_thw: np.ndarray, running_t: np.ndarray | None = None
) -> np.ndarray:
    """Mean events [T, N] of every frame."""
    out = cells.gain * passed(law, cells, drive(cells, video_thw))
    if running_t is None:
        return out
    return out * np.exp(cells.run_gain * np.tanh(running_t / 2)[:, None])
