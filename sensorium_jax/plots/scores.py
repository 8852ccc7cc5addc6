"""Figures of scores: between null and ceiling, by type of stimulus, by compute."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from matplotlib.figure import Figure

from sensorium_jax.text import short

SHAPES = ("o", "D", "^", "s", "v", "P", "X", "*")


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
    figure = Figure(figsize=(6, 1.1 + 0.34 * len(rows)), layout="constrained")
    axis = figure.subplots()
    every, at = list(rows.values()), np.arange(len(rows))
    widths = np.array([row.single_trial for row in every])
    between = np.array([row.single_trial_interval for row in every]).T
    error = np.abs(between - widths[None])
    axis.barh(at, widths, xerr=error, color="0.7", capsize=3, label="model, 95 %")
    words = {"truth": "true rates", "repeats": "repeats"}
    origin = words.get(str(every[0].ceiling_from), "")
    tops = [np.nan if row.ceiling is None else row.ceiling for row in every]
    lines = [np.nan if row.linear is None else row.linear for row in every]
    ends = (at - 0.45, at + 0.45)
    for values, label, color, style in (
        ([row.null for row in every], "null: each neuron's mean", "k", "dotted"),
        (lines, "linear model", "tab:red", "dashdot"),
        (tops, f"ceiling from {origin}", "k", "dashed"),
    ):
        if np.isfinite(values).any():
            options: dict[str, Any] = {"linestyles": style, "label": label}
            axis.vlines(values, *ends, color, **options)
    axis.set_yticks(at, list(short(rows, 24).values()))
    axis.invert_yaxis()
    axis.set_xlabel("single-trial correlation")
    axis.axvline(0, color="k", lw=0.5)
    figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=8)
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
    figure = Figure(figsize=(5.6, 3), layout="constrained")
    axis = figure.subplots()
    known = {name: (s, row) for name, (s, row) in models.items() if s}
    labels = short(known, 24)
    for k, (name, (seconds, row)) in enumerate(known.items()):
        style: dict[str, Any] = {"marker": SHAPES[k % len(SHAPES)], "ls": "none"}
        style["color"] = f"C{k % 10}"
        axis.plot([seconds], [row.single_trial], ms=5, label=labels[name], **style)
    if known:
        axis.set_xscale("log")
        nulls = [row.null for _, row in known.values()]
        axis.axhline(float(np.mean(nulls)), color="k", ls=":", lw=1, label="null")
        axis.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    axis.set_xlabel("seconds of training steps")
    axis.set_ylabel("single-trial correlation")
    return figure
