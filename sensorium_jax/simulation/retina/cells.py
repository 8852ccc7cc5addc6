"""Ganglion cells: subunits with center and surround, rectified, pooled, adapting.

A subunit sees a difference of Gaussians through a biphasic kernel and passes what is
positive; a cell adds its subunits up, divides by a slow average of that sum, and fires
above a threshold (Hochstein & Shapley 1976; Real et al. 2017). ON-OFF cells pool
subunits of both signs, so that a linear map of theirs is nearly empty.
"""

from typing import NamedTuple

import numpy as np

from sensorium_jax.simulation.draws import generator

TAPS = 14  # frames of the temporal kernels
SUBUNITS = 9
MEMORY = 24.0  # frames of the gain's memory
MOST, TRIES = 5.0, 6  # spikes per frame that a cell can fire, and tries to fire one
# name, share, sign, center (pixels), peak and undershoot of the kernel (frames)
TYPES = (
    ("off_transient", 0.25, -1, 1.5, 1.9, 0.9),
    ("on_transient", 0.2, 1, 1.6, 2.3, 0.8),
    ("off_sustained", 0.2, -1, 1.1, 2.8, 0.35),
    ("on_sustained", 0.2, 1, 1.2, 3.2, 0.3),
    ("on_off", 0.15, 0, 1.4, 2.0, 0.7),
)


class Cells(NamedTuple):
    """What N cells are made of; S subunits each, P = H * W pixels, L taps."""

    kind: np.ndarray
    center_n2: np.ndarray  # x, y in pixels
    field_nsp: np.ndarray
    kernel_nl: np.ndarray  # the newest frame first
    pool_ns: np.ndarray  # weights of the subunits
    adapt: np.ndarray  # strength of the gain's memory
    threshold: np.ndarray
    sharpness: np.ndarray
    gain: np.ndarray  # spikes per frame, found by calibration


def draw(seed: int, mouse: int, count: int, height: int, width: int) -> Cells:
    """Draw the cells of one retina; gains are still ones."""
    rng = generator(seed, "retina", mouse)
    edges = np.cumsum([share for _, share, *_ in TYPES])
    rank = (rng.permutation(count) + 0.5) / count
    which = np.searchsorted(edges / edges[-1], rank)
    kind = np.array([t[0] for t in TYPES])[which]
    sign, size, peak, under = (
        np.array([t[i] for t in TYPES])[which] for i in (2, 3, 4, 5)
    )
    center_n2 = rng.uniform([1.5, 1.5], [width - 2.5, height - 2.5], (count, 2))
    size = size * rng.uniform(0.85, 1.15, count)
    peak = peak * rng.uniform(0.85, 1.15, count)
    angle = rng.uniform(0, 2 * np.pi, (count, SUBUNITS))
    radius = size[:, None] * np.sqrt(rng.uniform(0, 1.6, (count, SUBUNITS)))
    offset = radius[..., None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    fields = _fields(center_n2[:, None] + offset, 0.55 * size, height, width)
    signs = np.where(
        sign[:, None] == 0, rng.choice([-1, 1], radius.shape), sign[:, None]
    )
    t = np.arange(TAPS)[None] / peak[:, None]
    bump = t**3 * np.exp(3 * (1 - t))
    late = (t / 1.9) ** 4 * np.exp(4 * (1 - t / 1.9))
    kernel = bump - under[:, None] / 1.9 * late
    pool = np.exp(-(radius**2) / (2 * size[:, None] ** 2))
    pool /= pool.sum(1, keepdims=True)
    return Cells(
        kind=kind,
        center_n2=center_n2 + np.einsum("ns,nsx->nx", pool, offset),
        field_nsp=(signs[..., None] * fields).astype(np.float32),
        kernel_nl=kernel / np.linalg.norm(kernel, axis=1, keepdims=True),
        pool_ns=pool,
        adapt=rng.uniform(0.3, 1.6, count),
        threshold=rng.uniform(0.2, 1.0, count),
        sharpness=rng.uniform(1.2, 2.2, count),
        gain=np.ones(count),
    )


def _fields(at_ns2, sigma_n, height, width):
    """Differences of Gaussians [N, S, P] that sum to a tenth of their center."""
    y, x = np.mgrid[:height, :width].reshape(2, 1, 1, -1)
    square = (x - at_ns2[..., :1]) ** 2 + (y - at_ns2[..., 1:]) ** 2
    sigma = sigma_n[:, None, None]
    center = np.exp(-square / (2 * sigma**2))
    ring = np.exp(-square / (2 * (3 * sigma) ** 2))
    center, ring = (g / g.sum(-1, keepdims=True) for g in (center, ring))
    return center - 0.9 * ring


def drive(cells: Cells, video_thw: np.ndarray) -> np.ndarray:
    """Adapted sum of the subunits, [T, N]; the screen was grey before."""
    frames = len(video_thw)
    seen_tp = (video_thw.reshape(frames, -1).astype(np.float32) - 127) / 60
    n, s, p = cells.field_nsp.shape
    raw_tns = (seen_tp @ cells.field_nsp.reshape(n * s, p).T).reshape(frames, n, s)
    passed = np.zeros((frames, n, s), np.float32)
    for lag in range(TAPS):
        share = cells.kernel_nl[None, :, lag, None].astype(np.float32)
        passed[lag:] += share * raw_tns[: frames - lag]
    pooled_tn = np.einsum("tns,ns->tn", np.maximum(passed, 0), cells.pool_ns)
    keep, memory, out = np.exp(-1 / MEMORY), np.full(n, 0.15), np.empty((frames, n))
    for t, now in enumerate(pooled_tn):
        out[t] = now / (0.15 + cells.adapt * memory)
        memory = keep * memory + (1 - keep) * now
    return out


def rates(cells: Cells, video_thw: np.ndarray) -> np.ndarray:
    """Mean spikes per frame [T, N] of a film, below MOST."""
    over = cells.sharpness * (drive(cells, video_thw) - cells.threshold)
    fired = np.logaddexp(0, 2 * over) / 2
    return MOST * np.tanh(cells.gain * fired**1.5 / MOST)


def spikes(rng: np.random.Generator, rates_tn: np.ndarray) -> np.ndarray:
    """Counts with less scatter than Poisson's, as a refractory cell's have."""
    return rng.binomial(TRIES, rates_tn / TRIES).astype(np.float32)
