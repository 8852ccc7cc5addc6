"""From frames to the few numbers that maps are made of: pixels, contrasts, lags.

A frame is averaged down to a grid of at most a few hundred pixels; beside it stands a
coarser grid of local contrast, the standard deviation around a blurred frame, which is
what complex cells respond to. Both are seen through a few bumps in time.
"""

import math
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.errors import UserError

Array = Any
PIXELS, CONTRASTS = 600, 150  # most pixels of the two grids, channels counted in
BASES, CONTRAST_BASES = 8, 4  # most bumps in time
FEWEST = 6  # bumps that are kept when pixels must go
FEATURES = 1280  # most pixels times bumps: covariances grow with its square
AROUND = 1 / 9  # of the shorter side: SD of what a cell's light is compared with
SECONDS = 0.8  # that a response looks back
CHUNK = 64  # frames that pass through one matrix of bumps
EXACT = jax.lax.Precision.HIGHEST


class Plan(NamedTuple):
    """How frames are reduced; every number is fixed before the first batch."""

    frame: tuple[int, int, int]  # rows, columns, channels as given
    grid: tuple[int, int]
    coarse: tuple[int, int]
    taps: int  # frames that a bump may reach back, the present one included
    bases: int
    contrast_bases: int
    signals: int  # behavior and pupil, as further columns; 0 without

    @property
    def pixels(self) -> int:
        """Numbers of one reduced frame."""
        return self.grid[0] * self.grid[1] * self.frame[2]

    @property
    def light(self) -> int:
        """Columns of the linear features: bumps times pixels, then signals."""
        return self.bases * self.pixels + self.signals

    @property
    def contrast(self) -> int:
        """Columns of the contrast features."""
        return self.contrast_bases * self.coarse[0] * self.coarse[1]


def plan_of(told: Any) -> Plan:
    """The plan that a card tells of; anything else is refused."""
    try:
        frame, grid, coarse, *rest = told
        plan = Plan(tuple(frame), tuple(grid), tuple(coarse), *rest)
        numbers = [*plan.frame, *plan.grid, *plan.coarse, *rest]
        fits = (len(plan.frame), len(plan.grid), len(plan.coarse)) == (3, 2, 2)
        fits = fits and all(type(n) is int and 0 <= n < 2**20 for n in numbers)
        fits = fits and 1 <= plan.bases <= plan.taps and min(numbers[:7]) > 0
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise UserError(
            f"The card says of the linear part {str(told)[:200]}, which no version has "
            "written. Copy the folder again."
        )
    return plan


def choose(
    frame: tuple[int, int, int],
    *,
    hertz: float = 30.0,
    signals: int = 0,
    still: bool = False,
    features: int = FEATURES,
) -> Plan:
    """A plan for frames [H, W, C] at so many per second; still: pictures without time.

    features bounds time and memory: bumps, down to FEWEST, then pixels go first.
    """
    if min(frame) < 1 or features < 1 or hertz <= 0:
        raise UserError(
            f"Frames of {frame} at {hertz} per second cannot be reduced to {features} "
            "features; expected numbers above zero."
        )
    taps = 1 if still else max(1, round(SECONDS * hertz))
    bases, room = min(BASES, taps), min(PIXELS, features)
    cells = math.prod(fitted(frame, room // frame[2]))
    while bases > FEWEST and bases * cells * frame[2] > features:
        bases -= 1
    grid = fitted(frame, min(room, features // bases) // frame[2])
    coarse = fitted(frame, min(CONTRASTS, features))
    return Plan(frame, grid, coarse, taps, bases, min(CONTRAST_BASES, taps), signals)


def fitted(frame: tuple[int, int, int], most: int) -> tuple[int, int]:
    """The finest grid of at most so many cells with the frame's shape."""
    height, width, _ = frame
    shrink = max(1.0, math.sqrt(height * width / max(most, 1)))
    while True:
        rows, columns = max(1, round(height / shrink)), max(1, round(width / shrink))
        if rows * columns <= max(most, 1):
            return rows, columns
        shrink *= 1.01


@cache
def pooling(cells: int, size: int) -> np.ndarray:
    """Weights [cells, size] that average equal shares of a line of pixels."""
    edges = np.linspace(0, size, cells + 1)
    low, high = edges[:-1, None], edges[1:, None]
    at = np.arange(size)[None]
    share = np.clip(np.minimum(high, at + 1) - np.maximum(low, at), 0, None)
    return (share / share.sum(1, keepdims=True)).astype(np.float32)


@cache
def blurring(size: int, sigma: float) -> np.ndarray:
    """Weights [size, size] of a Gaussian blur that sum to 1 at the edges too."""
    at = np.arange(size)
    weight = np.exp(-((at[:, None] - at) ** 2) / (2 * sigma**2))
    return (weight / weight.sum(1, keepdims=True)).astype(np.float32)


@cache
def bumps(taps: int, bases: int) -> np.ndarray:
    """Orthonormal raised cosines in log time, [bases, taps], newest frame first."""
    if bases == taps:
        return np.eye(taps, dtype=np.float32)
    shift = taps / 8
    time = np.log(np.arange(taps) + shift)
    centers = np.linspace(time[0], time[-1], bases)
    apart = (time[None] - centers[:, None]) / (centers[1] - centers[0])
    raw = np.where(np.abs(apart) < 2, 0.5 + 0.5 * np.cos(np.pi * apart / 2), 0.0)
    basis, turn = np.linalg.qr(raw.T)
    return (basis * np.sign(np.diag(turn))).T.astype(np.float32)


@cache
def sliding(taps: int, bases: int, frames: int) -> np.ndarray:
    """Weights [t, l, s] from s = taps - 1 + frames inputs to frames outputs."""
    basis = bumps(taps, bases)
    weight = np.zeros((frames, bases, taps - 1 + frames), np.float32)
    for t in range(frames):
        weight[t, :, t : t + taps] = basis[:, ::-1]
    return weight


def pixels(plan: Plan, video: Array) -> jax.Array:
    """The frame averaged down to the grid: [..., H, W, C] to [..., C * cells]."""
    small = _pooled(_planes(video), plan.grid)
    return small.reshape(*small.shape[:-3], plan.pixels)


def contrasts(plan: Plan, video: Array) -> jax.Array:
    """Local contrast on the coarse grid, channels together: [..., cells].

    The root of a cell's variance and of its distance from the cells around, squared.
    """
    planes, (height, width) = _planes(video), plan.coarse
    mean = _pooled(planes, plan.coarse)
    square = _pooled(planes * planes, plan.coarse)
    sigma = AROUND * min(height, width)
    around = _mapped(mean, blurring(height, sigma), blurring(width, sigma))
    energy = jnp.sum(square - 2 * mean * around + around**2, -3)
    return jnp.sqrt(jnp.maximum(energy, 0) + 1e-6).reshape(*energy.shape[:-2], -1)


def _planes(video: Array) -> jax.Array:
    """Channels before rows, which costs nothing where there is one."""
    return jnp.moveaxis(jnp.asarray(video), -1, -3)


def _pooled(planes: Array, grid: tuple[int, int]) -> jax.Array:
    height, width = planes.shape[-2:]
    if grid == (height, width):
        return planes
    return _mapped(planes, pooling(grid[0], height), pooling(grid[1], width))


def _mapped(planes: Array, rows: np.ndarray, columns: np.ndarray) -> jax.Array:
    """A linear map along columns, then rows, both as one large matrix product."""
    out = jnp.matmul(planes, columns.T, precision=EXACT)
    out = jnp.matmul(jnp.swapaxes(out, -1, -2), rows.T, precision=EXACT)
    return jnp.swapaxes(out, -1, -2)


def in_time(x: Array, taps: int, bases: int) -> jax.Array:
    """Bumps of [..., taps - 1 + t, P] at its last t frames: [..., t, bases * P]."""
    if taps == 1:
        return jnp.asarray(x)
    lead, frames = x.shape[:-2], x.shape[-2] - taps + 1
    size = min(max(CHUNK, taps - 1), frames)
    parts = -(-frames // size)
    edges = [(0, 0)] * len(lead) + [(0, parts * size - frames), (0, 0)]
    before, x = x[..., : taps - 1, :], jnp.pad(x[..., taps - 1 :, :], edges)
    blocks = x.reshape(*lead, parts, size, x.shape[-1])
    # What came before each block: the end of the one before, or of what was given.
    ends = [before[..., None, :, :]]
    if parts > 1:
        ends.append(blocks[..., :-1, size - taps + 1 :, :])
    seen = jnp.concatenate([jnp.concatenate(ends, -3), blocks], -2)
    weight = sliding(taps, bases, size)
    y = jnp.einsum("tls,...isp->...itlp", weight, seen, precision=EXACT)
    return y.reshape(*lead, parts * size, -1)[..., :frames, :]


def light(plan: Plan, video: Array, signals: Array) -> jax.Array:
    """Linear features [..., T, D] of whole clips, before which nothing was shown."""
    x = pixels(plan, video)
    x = jnp.concatenate([jnp.zeros((*x.shape[:-2], plan.taps - 1, plan.pixels)), x], -2)
    return jnp.concatenate([in_time(x, plan.taps, plan.bases), signals], -1)


def cells(plan: Plan, grid: tuple[int, int]) -> np.ndarray:
    """Middles of a grid's cells (x, y) in pixels of the frame, [cells, 2]."""
    height, width, _ = plan.frame
    y = (np.arange(grid[0]) + 0.5) * height / grid[0] - 0.5
    x = (np.arange(grid[1]) + 0.5) * width / grid[1] - 0.5
    rows, columns = np.meshgrid(y, x, indexing="ij")
    return np.stack([columns.ravel(), rows.ravel()], -1)
