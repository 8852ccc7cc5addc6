"""Figures of scores: between null and ceiling, by type of stimulus, by compute."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from matplotlib.figure import Figure


class Row(Protocol):
    """What is drawn of a row of scores."""

    @property
    def single_trial(self) -> float:
        """Correlation with single trials."""
        ...

    @property
    def single_trial_interval(self) -> tuple[float, float]:
        """Where resamples of the trials lie."""
        ...

    @property
    def null(self) -> float:
        """Correlation of the best constant."""
        ...

    @property
    def linear(self) -> float | None:
        """Correlation of the linear model, where it is fitted."""
        ...

    @property
    def ceiling(self) -> float | None:
        """The highest correlation that a model could have."""
        ...

    @property
    def ceiling_from(self) -> str | None:
        """Where the ceiling is known from."""
        ...

    @property
    def fraction_of_ceiling(self) -> float | None:
        """The first by the ceiling."""
        ...


def bars(rows: Mapping[str, Row]) -> Figure:
    """Single-trial correlation with its interval, each between null and ceiling.

    Where the linear model is fitted, it stands there too.
    """
    figure = Figure(figsize=(2.4 + 0.9 * len(rows), 3), layout="constrained")
    axis = figure.subplots()
    every, at = list(rows.values()), np.arange(len(rows))
    heights = np.array([row.single_trial for row in every])
    between = np.array([row.single_trial_interval for row in every]).T
    error = np.abs(between - heights[None])
    axis.bar(at, heights, yerr=error, color="0.7", capsize=3)
    words = {"truth": "true rates", "repeats": "repeats"}
    origin = words.get(str(every[0].ceiling_from), "")
    tops = [np.nan if row.ceiling is None else row.ceiling for row in every]
    nulls = [row.null for row in every]
    ends = (at - 0.45, at + 0.45)
    if np.isfinite(tops).any():
        label = f"ceiling from {origin}"
        axis.hlines(tops, *ends, "k", linestyles="dashed", label=label)
    label = "null: each neuron's mean"
    axis.hlines(nulls, *ends, "k", linestyles="dotted", label=label)
    lines = [np.nan if row.linear is None else row.linear for row in every]
    if np.isfinite(lines).any():
        label = "linear model"
        axis.hlines(lines, *ends, "tab:red", linestyles="dashdot", label=label)
    axis.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    axis.set_xticks(at, [name.replace("_", " ") for name in rows])
    axis.tick_params(axis="x", rotation=30)
    axis.set_ylabel("single-trial correlation")
    axis.axhline(0, color="k", lw=0.5)
    return figure


def kinds(models: Mapping[str, Mapping[str, Row]]) -> Figure:
    """Fraction of the ceiling by type of stimulus, a line per model."""
    names = list(dict.fromkeys(kind for rows in models.values() for kind in rows))
    figure = Figure(figsize=(2.5 + 0.8 * len(names), 3), layout="constrained")
    axis = figure.subplots()
    for model, rows in models.items():
        values = [_fraction(rows.get(name)) for name in names]
        axis.plot(range(len(names)), values, "o-", ms=4, lw=1, label=model)
    ticks = [name.replace("_", " ") for name in names]
    axis.set_xticks(range(len(ticks)), ticks, rotation=30, ha="right")
    axis.set_ylabel("fraction of the ceiling")
    axis.legend(frameon=False, fontsize=8)
    return figure


def _fraction(row: Row | None) -> float:
    fraction = None if row is None else row.fraction_of_ceiling
    return np.nan if fraction is None else fraction


def compute(models: Mapping[str, tuple[float | None, Row]]) -> Figure:
    """What a model scores against the seconds that its training steps took."""
    figure = Figure(figsize=(4, 3), layout="constrained")
    axis = figure.subplots()
    known = {name: (s, row) for name, (s, row) in models.items() if s}
    for name, (seconds, row) in known.items():
        at: Any = (seconds, row.single_trial)
        axis.plot(*at, "o", color="k", ms=4)
        axis.annotate(name, at, xytext=(4, 3), textcoords="offset points", fontsize=8)
    if known:
        axis.set_xscale("log")
        nulls = [row.null for _, row in known.values()]
        axis.axhline(float(np.mean(nulls)), color="k", ls=":", lw=1, label="null")
        axis.legend(frameon=False, fontsize=8)
    axis.set_xlabel("seconds of training steps")
    axis.set_ylabel("single-trial correlation")
    return figure
