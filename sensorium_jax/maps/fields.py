"""Where each neuron's receptive field lies, how wide it is, and how sure that is.

Ridge maps of light and of local contrast are compared with what noise alone would give.
A field at a place, of a width and a strength, makes squared weights larger there by a
Gaussian; noise has weights of variance 1 once they are divided by their own error. So
the evidence for every place is a matrix product (as in automatic locality determination
of Park & Pillow 2011, with a grid in place of a search). Maps of light and of contrast
add their evidence up: simple cells speak by one, complex cells by the other. Where
cells lie in cortex tells more: a line fitted through the sure ones is the prior of all.
"""

from typing import NamedTuple

import numpy as np

from sensorium_jax.maps import ridge
from sensorium_jax.maps.reduce import Plan, cells
from sensorium_jax.maps.ridge import Spectrum

STRENGTH = 1.0  # of the ridge, in its units: worlds agree on it within a factor of 3
WIDTHS = 6  # from half a cell of the grid to a third of the frame
RATIOS = (1.0, 4.0, 16.0, 64.0)  # variance of weights at a field's center over noise's
FINER = 2  # places tried for each cell of the grid, along each side
NEAR = 1 / 18  # of the shorter side: as far as a start may lie from the truth
STRAY = 0.1  # share of cells that follow no map of the cortex
BLOCK = 500  # neurons at a time


class Fields(NamedTuple):
    """Receptive fields of one mouse; places in grid units, -1 to 1 over the frame.

    Grid units are those of the readouts: -1 is the middle of the first pixel of the
    given frame, 1 that of the last, x before y. A core that loses borders sees less.
    """

    center_n2: np.ndarray  # from maps and cortex together: where to begin
    spread_n2: np.ndarray  # SD of what is not known of it
    width_n: np.ndarray  # SD of the field in pixels of the frame
    confidence_n: np.ndarray  # probability that the center is right within NEAR
    evidence_n: np.ndarray  # log odds that there is any field, from maps alone
    mapped_n2: np.ndarray  # center from the neuron's own maps alone
    mapped_confidence_n: np.ndarray
    envelope_np: np.ndarray  # 0..1: how much of each light weight is more than noise
    cortex_n2: np.ndarray  # center from where the cell lies alone
    cortex_spread_2: np.ndarray  # SD of centers around that


def find(
    plan: Plan,
    light: Spectrum,
    contrast: Spectrum,
    coordinates_n3: np.ndarray | None = None,
) -> Fields:
    """The fields of one mouse; coordinates are micrometres in cortex, where known."""
    places = cells(plan, (FINER * plan.grid[0], FINER * plan.grid[1]))
    widths = tried_widths(plan)
    maps = (
        squares(plan, light, plan.grid, plan.bases, plan.frame[2]),
        squares(plan, contrast, plan.coarse, plan.contrast_bases, 1),
    )
    neurons = maps[0].power_np.shape[0]
    parts = []
    for start in range(0, neurons, BLOCK):
        rows = slice(start, start + BLOCK)
        some = [m._replace(power_np=m.power_np[rows]) for m in maps]
        parts.append(_evidence(plan, some, places, widths))
    by_place = np.concatenate([p.by_place for p in parts])
    best = np.concatenate([p.best for p in parts])
    alone = posterior(by_place, places, plan)
    error_n = (alone.spread_n2**2).mean(1)
    line = retinotopy(alone.center_n2, error_n, coordinates_n3, plan)
    prior_np = expected(line, places)
    both = posterior(by_place, places, plan, prior_np)
    to_grid = grid_units(plan.frame)
    return Fields(
        both.center_n2 * to_grid - 1,
        both.spread_n2 * to_grid,
        best[:, 1],
        both.near_n,
        alone.evidence_n,
        alone.center_n2 * to_grid - 1,
        alone.near_n,
        _envelopes(plan, both.center_n2, best[:, 1], best[:, 2]),
        line.center_n2 * to_grid - 1,
        line.spread * to_grid,
    )


def grid_units(frame: tuple[int, int, int]) -> np.ndarray:
    """What one pixel to the right and one down are in grid units."""
    height, width, _ = frame
    return 2 / np.maximum(np.array([width, height]) - 1, 1)


def tried_widths(plan: Plan) -> np.ndarray:
    """SDs of fields in pixels that are compared."""
    height, width, _ = plan.frame
    cell = np.sqrt(height * width / (plan.grid[0] * plan.grid[1]))
    short = min(height, width)
    return np.geomspace(min(0.5 * cell, short / 6), short / 3, WIDTHS)


class Squares(NamedTuple):
    """Squared weights over their error's variance, added up over lags."""

    power_np: np.ndarray
    terms: int  # how many squares are added
    rank: float  # share of them that vary on their own
    places: np.ndarray  # [P, 2] pixels


def squares(
    plan: Plan, s: Spectrum, grid: tuple[int, int], bases: int, channels: int
) -> Squares:
    """The map of every neuron, in units in which noise has mean `terms`.

    Most of a map is noise, which tells how large noise really is: slow noise is larger
    than independent noise of the same variance would be.
    """
    cells_, features = grid[0] * grid[1], grid[0] * grid[1] * bases * channels
    variance_d, rank = ridge.noise(s, STRENGTH)
    w = ridge.weights(s, STRENGTH)[:features]
    c = s.centered
    error = variance_d[:features, None] * np.maximum(c.yy_n, 1e-12)
    power = (w**2 / np.maximum(error, 1e-30)).reshape(bases, channels, cells_, -1)
    power_pn = power.sum((0, 1))
    terms = bases * channels
    usual = terms * (1 - 2 / (9 * terms)) ** 3  # median of a chi-squared
    larger_n = np.maximum(np.median(power_pn, axis=0) / usual, 1.0)
    return Squares((power_pn / larger_n).T, terms, rank, cells(plan, grid))


class _Places(NamedTuple):
    by_place: np.ndarray  # log likelihood ratio of a field at each place, [N, places]
    best: np.ndarray  # [N, 3]: its log likelihood, width and ratio of light


def _evidence(plan, maps, places, widths) -> _Places:
    neurons = maps[0].power_np.shape[0]
    total = np.zeros((neurons, len(places), len(widths)), np.float32)
    ratio = np.zeros((neurons, len(places), len(widths)), np.int8)
    for kind, m in enumerate(maps):
        apart = ((places[:, None] - m.places[None]) ** 2).sum(-1)
        for i, width in enumerate(widths):
            gauss = np.exp(-apart / (2 * width**2))
            each = np.stack([_ratio(m, gauss, r) for r in RATIOS], -1)
            top = np.maximum(each.max(-1), 0)
            mean = np.log(np.exp(each - top[..., None]).mean(-1) + 1e-30) + top
            # A neuron may well have a field in one of the two maps only.
            total[:, :, i] += np.logaddexp(mean, 0) - np.log(2)
            if kind == 0:
                ratio[:, :, i] = each.argmax(-1)
    flat = total.reshape(neurons, -1)
    at, width = np.unravel_index(flat.argmax(1), total.shape[1:])
    rows = np.arange(neurons)
    strongest = np.array(RATIOS)[ratio[rows, at, width]]
    best = np.stack([flat.max(1), widths[width], strongest], 1)
    top = total.max(2)
    by_place = top + np.log(np.exp(total - top[..., None]).mean(2))
    return _Places(by_place, best)


def _ratio(m: Squares, gauss: np.ndarray, ratio: float) -> np.ndarray:
    """Log likelihood ratio of fields of one shape at every place, [N, places]."""
    more = ratio * gauss
    gain = (0.5 * more / (1 + more)).astype(np.float32)
    cost = 0.5 * m.terms * np.log1p(more).sum(1)
    return m.rank * (m.power_np.astype(np.float32) @ gain.T - cost[None])


class Posterior(NamedTuple):
    """Where fields may be, in pixels."""

    center_n2: np.ndarray
    spread_n2: np.ndarray
    near_n: np.ndarray  # probability of less than NEAR from the center
    evidence_n: np.ndarray


def posterior(
    by_place: np.ndarray, places: np.ndarray, plan: Plan, prior_np=None
) -> Posterior:
    """Mean and spread over places; the prior is even where none is given."""
    if prior_np is None:
        prior_np = np.full_like(by_place, -np.log(len(places)))
    log_np = by_place + prior_np
    top = log_np.max(1, keepdims=True)
    share_np = np.exp(log_np - top)
    total = share_np.sum(1, keepdims=True)
    share_np = share_np / total
    # Around the likeliest place first, so that two far humps have no middle.
    near = NEAR * min(plan.frame[:2])
    center = places[log_np.argmax(1)]
    for reach in (3 * near, 2 * near):
        close = ((places[None] - center[:, None]) ** 2).sum(-1) <= max(reach, 1.0) ** 2
        part = share_np * close
        center = part @ places / np.maximum(part.sum(1, keepdims=True), 1e-12)
    away = (places[None] - center[:, None]) ** 2
    spread = np.sqrt(np.einsum("np,npx->nx", share_np, away))
    inside = (share_np * (away.sum(-1) <= max(near, 1.0) ** 2)).sum(1)
    return Posterior(center, spread, inside, (np.log(total) + top)[:, 0])


class Retinotopy(NamedTuple):
    """Where fields are to be expected from where cells lie, in pixels."""

    center_n2: np.ndarray
    spread: float  # SD of fields around that


def retinotopy(
    center_n2: np.ndarray,
    error_n: np.ndarray,
    coordinates_n3: np.ndarray | None,
    plan: Plan,
) -> Retinotopy:
    """A line through the centers of fields; error_n are their variances in pixels.

    Without coordinates it is the cloud of all cells. Cells far from the line count
    less and less (Cauchy weights).
    """
    n, short = len(center_n2), min(plan.frame[:2])
    at = np.ones((n, 1))
    if coordinates_n3 is not None and np.ptp(coordinates_n3[:, :2], axis=0).any():
        flat = np.asarray(coordinates_n3, float)[:, :2]
        scale = np.maximum(flat.std(0), 1e-9)
        at = np.column_stack([at, (flat - flat.mean(0)) / scale])
    error_n = error_n + (0.02 * short) ** 2
    scatter, line = (short / 3.0) ** 2, np.zeros((at.shape[1], 2))
    weight_n = 1 / error_n
    for _ in range(20):
        heavy = at * weight_n[:, None]
        small = 1e-6 * weight_n.sum() * np.eye(at.shape[1])
        line = np.linalg.solve(heavy.T @ at + small, heavy.T @ center_n2)
        away_n = ((center_n2 - at @ line) ** 2).mean(1)
        scatter = np.average(np.minimum(away_n, 9 * scatter), weights=1 / error_n)
        scatter = max(float(scatter), (0.02 * short) ** 2)
        expected_n = error_n + scatter
        weight_n = 1 / expected_n / (1 + away_n / expected_n / 2)
    return Retinotopy(at @ line, float(np.sqrt(scatter)))


def expected(line: Retinotopy, places: np.ndarray) -> np.ndarray:
    """Log prior [N, places]; a share of cells may lie anywhere."""
    apart = ((places[None] - line.center_n2[:, None]) ** 2).sum(-1)
    log_np = -apart / (2 * line.spread**2)
    log_np -= log_np.max(1, keepdims=True)
    log_np -= np.log(np.exp(log_np).sum(1, keepdims=True))
    return np.logaddexp(log_np + np.log(1 - STRAY), np.log(STRAY / len(places)))


def _envelopes(plan: Plan, center_n2, width_n, ratio_n) -> np.ndarray:
    """What share of a light weight a field explains, [N, cells of the grid]."""
    at = cells(plan, plan.grid)
    apart = ((center_n2[:, None] - at[None]) ** 2).sum(-1)
    more = ratio_n[:, None] * np.exp(-apart / (2 * width_n[:, None] ** 2))
    return (more / (1 + more)).astype(np.float32)
