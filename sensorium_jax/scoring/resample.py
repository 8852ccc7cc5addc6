"""Correlations over any choice of trials, from sums that were taken once per trial.

A tier, a type of stimulus, a resampled set: each weighs the trials differently, and the
predictions themselves need not be kept. Everything here is float64 on the host.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from sensorium_jax.metrics.correlation import EPS, State

CHUNK = 2**24  # numbers of a product of weights and trials held at a time
FLAT = 3e-7  # spread relative to the mean that rounding alone explains


class Moments(NamedTuple):
    """Sums of each trial b and neuron; x is predicted, y recorded."""

    count_b: np.ndarray  # frames; [B, N] where neurons miss trials that others have
    mean_x_bn: np.ndarray
    mean_y_bn: np.ndarray
    square_x_bn: np.ndarray  # squared deviations from the trial's mean
    square_y_bn: np.ndarray
    product_bn: np.ndarray

    @classmethod
    def of(cls, state: State, trials: int, neurons: int) -> "Moments":
        """From a state whose mice are trials; the first ones only."""
        count, *pairs = state
        found = [
            np.asarray(p.high, np.float64) + np.asarray(p.low, np.float64)
            for p in pairs
        ]
        cut = (x[:trials, :neurons] for x in found)
        count = np.asarray(count, np.float64)[:trials]
        return cls(count[:, :neurons] if count.ndim > 1 else count, *cut)

    def take(self, chosen_b: np.ndarray) -> "Moments":
        """Those of some trials, by a mask or in a given order."""
        return Moments(*(x[chosen_b] for x in self))

    def beside(self, other: "Moments") -> "Moments":
        """The same, holding what is about the responses only once: other's."""
        return other._replace(
            mean_x_bn=self.mean_x_bn,
            square_x_bn=self.square_x_bn,
            product_bn=self.product_bn,
        )

    @classmethod
    def join(cls, parts: Iterable["Moments"]) -> "Moments":
        """The trials of several parts, one after the other."""
        return cls(*map(np.concatenate, zip(*parts, strict=True)))


def correlations(m: Moments, weights_wb: np.ndarray) -> np.ndarray:
    """Correlation [W, N] over all frames, each trial counted weights_wb times.

    Undefined neurons are NaN.
    """
    rows = max(1, CHUNK // max(m.mean_x_bn.size, 1))
    parts = [
        _correlations(m, weights_wb[i : i + rows])
        for i in range(0, len(weights_wb), rows)
    ]
    return np.concatenate(parts)


def _correlations(m: Moments, weights_wb: np.ndarray) -> np.ndarray:
    count, alike = m.count_b, m.count_b.ndim == 1  # neurons have the same trials
    share_wb = weights_wb * count if alike else weights_wb

    def over_trials(x_bn: np.ndarray) -> np.ndarray:
        """Sums [W, N] of what every frame of a trial has."""
        return share_wb @ (x_bn if alike else count * x_bn)

    n_wn = np.maximum(share_wb.sum(1)[:, None] if alike else share_wb @ count, 1)
    total = np.maximum(count.sum(0), 1)
    both = (m.mean_x_bn, m.mean_y_bn)
    bases = [(count @ x if alike else (count * x).sum(0)) / total for x in both]
    dx = m.mean_x_bn - bases[0]
    dy = m.mean_y_bn - bases[1]
    mx, my = over_trials(dx) / n_wn, over_trials(dy) / n_wn

    def spread(inside_bn, a_bn, b_bn, a_wn, b_wn):
        return (weights_wb @ inside_bn + over_trials(a_bn * b_bn)) / n_wn - a_wn * b_wn

    with np.errstate(invalid="ignore", divide="ignore"):
        x = np.sqrt(np.maximum(spread(m.square_x_bn, dx, dx, mx, mx), 0))
        y = np.sqrt(np.maximum(spread(m.square_y_bn, dy, dy, my, my), 0))
        found = spread(m.product_bn, dx, dy, mx, my) / (x + EPS) / (y + EPS)
        flat = (x <= FLAT * np.abs(bases[0] + mx)) | (y <= FLAT * np.abs(bases[1] + my))
    return np.where(flat | (x == 0) | (y == 0), np.nan, found)


def resamples(trials: int, draws: int, seed: tuple[int, ...]) -> np.ndarray:
    """How often each trial is drawn in each of so many resamples, [draws, trials]."""
    random = np.random.default_rng(seed)
    return random.multinomial(trials, np.full(trials, 1 / trials), draws).astype(float)


def interval(draws_w: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of a resampled number."""
    low, high = np.quantile(draws_w, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def two_sided(draws_w: np.ndarray) -> float:
    """How often resampled differences fall on the other side of 0; never quite 0."""
    count = len(draws_w)
    below, above = (draws_w <= 0).sum(), (draws_w >= 0).sum()
    return float(min(1.0, 2 * (min(below, above) + 1) / (count + 1)))
