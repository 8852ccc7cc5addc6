"""Figures of a trained run: its scores, how it learned, what it predicts and where.

All are as wide as the screen of a phone, so that their words stay legible there. Colors
differ in lightness too, and every kind of mark has a shape of its own.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH = 3.4  # inches: 326 pixels of a screen
INK, MUTED, RULE = "#1b1b1f", "#5c5f66", "#c9ccd2"
MODEL, LINEAR = "#0b62a4", "#a8400b"
OTHERS = (MODEL, LINEAR, "#00785a", "#7a4fa3", INK, "#8a6d00", "#b0306a", MUTED)
SHAPES = ("o", "D", "^", "s", "v", "P", "X", "*")
STYLE = {
    "font.size": 9,
    "font.family": ["DejaVu Sans"],
    "text.parse_math": False,  # names come from files: a dollar is a dollar
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "figure.dpi": 72,  # so that a pixel is a point, as in SVG
    "lines.linewidth": 1.2,
    "svg.fonttype": "none",
    "svg.image_inline": True,
}
APART = 0.17  # of the distance of two lines: the model above, the linear one below
Range = tuple[float, float]


class Scored(NamedTuple):
    """One line of a figure of scores: single-trial correlations."""

    label: str
    model: float
    interval: Range  # of resamples
    null: float
    linear: float | None
    linear_interval: Range | None
    ceiling: float | None


def scores(rows: Sequence[Scored]) -> Figure:
    """The model between null and ceiling, and the linear model, on a line per row."""
    figure = Figure(figsize=(WIDTH, 1.3 + 0.36 * len(rows)), layout="constrained")
    axis = figure.subplots()
    for y, row in enumerate(rows):
        if row.ceiling is not None:
            ends = (row.null, row.ceiling)
            axis.plot(ends, (y, y), color=RULE, lw=14, solid_capstyle="butt", zorder=1)
    for y, row in enumerate(rows):
        axis.plot(row.interval, [y - APART] * 2, color=MODEL, lw=1.8, zorder=2)
        if row.linear_interval is not None:
            axis.plot(row.linear_interval, [y + APART] * 2, color=LINEAR, zorder=2)
    model: dict[str, Any] = {"marker": "o", "color": MODEL, "ms": 5}
    linear: dict[str, Any] = {"marker": "D", "color": LINEAR, "ms": 4, "mfc": "none"}
    null: dict[str, Any] = {"marker": "|", "color": MUTED, "ms": 14}
    ceiling: dict[str, Any] = {"marker": "|", "color": INK, "ms": 14, "mew": 2.5}
    _marks(axis, "model, 95 %", [r.model for r in rows], -APART, model)
    _marks(axis, "linear model, 95 %", [r.linear for r in rows], APART, linear)
    _marks(axis, "null", [r.null for r in rows], 0, null)
    _marks(axis, "ceiling", [r.ceiling for r in rows], 0, ceiling)
    _lines_down(axis, [row.label for row in rows])
    axis.set_xlabel("single-trial correlation")
    figure.legend(loc="outside upper left", ncols=2)
    return figure


def _marks(
    axis: Axes,
    label: str,
    values: Sequence[float | None],
    shift: float,
    style: Mapping[str, Any],
) -> None:
    """A mark on every line whose value is known."""
    known = [(x, y + shift) for y, x in enumerate(values) if x is not None]
    if known:
        x, y = zip(*known, strict=True)
        options: dict[str, Any] = {"ls": "none", "zorder": 3, **style}
        axis.plot(x, y, label=label, **options)


def _lines_down(axis: Axes, labels: Sequence[str]) -> None:
    """Labels from the top down, and a line where nothing is predicted."""
    axis.set_yticks(range(len(labels)), labels)
    axis.set_ylim(len(labels) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)
    axis.locator_params(axis="x", nbins=5)
    low, high = axis.get_xlim()
    if low < 0 < high:
        axis.axvline(0, color=RULE, lw=1, zorder=0)


def side_by_side(
    labels: Sequence[str],
    models: Mapping[str, Sequence[tuple[float, Range | None] | None]],
    words: str,
) -> Figure:
    """Values of several models with their intervals, a line per label and model."""
    high = 1.0 + 0.17 * (len(models) + 1) * len(labels) + 0.22 * len(models)
    figure = Figure(figsize=(WIDTH, high), layout="constrained")
    axis = figure.subplots()
    for k, (name, values) in enumerate(models.items()):
        color, marker = OTHERS[k % len(OTHERS)], SHAPES[k % len(SHAPES)]
        shift = (k - (len(models) - 1) / 2) / (len(models) + 1)
        known = [(value, y + shift) for y, value in enumerate(values) if value]
        x, y = [value[0] for value, _ in known], [place for _, place in known]
        axis.plot(x, y, marker, color=color, ms=5, zorder=3, label=name)
        for (_, ends), place in known:
            if ends is not None:
                axis.plot(ends, (place, place), color=color, lw=1.2)
    for y in range(1, len(labels)):
        axis.axhline(y - 0.5, color=RULE, lw=0.6, zorder=0)
    _lines_down(axis, labels)
    axis.set_xlabel(words)
    figure.legend(loc="outside upper left", ncols=1)
    return figure


Series = tuple[Sequence[float], Sequence[float]]  # steps and values


def over_steps(panels: Mapping[str, Mapping[str, Series]]) -> Figure:
    """What changes over the steps of runs: a panel for each label, lines by name."""
    count = len(panels)
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    several = len(names) > 1
    high = 0.5 + 1.15 * count + 0.22 * len(names) * several
    figure = Figure(figsize=(WIDTH, high), layout="constrained")
    axes = figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
    handles = {}
    for axis, (label, lines) in zip(axes, panels.items(), strict=True):
        for name, (x, y) in lines.items():
            k = names.index(name)
            mark = SHAPES[k % len(SHAPES)] if len(x) < 25 else ""
            style: dict[str, Any] = {"color": OTHERS[k % len(OTHERS)], "marker": mark}
            (handles[name],) = axis.plot(x, y, ms=4, ls=_dashes(k), **style)
        axis.set_title(label)
        axis.locator_params(nbins=4)
    axes[-1].set_xlabel("step")
    if several:
        order = [handles[name] for name in names]
        figure.legend(order, names, loc="outside upper left", ncols=1)
    return figure


def _dashes(k: int) -> str:
    return ("-", "--", "-.", ":")[k % 4]


class Trace(NamedTuple):
    """One neuron over some trials laid end to end."""

    title: str
    recorded_t: np.ndarray
    predicted_t: np.ndarray
    starts: tuple[int, ...]  # frames at which trials begin


def traces(rows: Sequence[Trace], rate: float, unit: str) -> Figure:
    """Recorded and predicted responses, a panel for each neuron."""
    high = 0.8 + 0.8 * len(rows)
    figure = Figure(figsize=(WIDTH, high), layout="constrained")
    axes = figure.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
    for axis, row in zip(axes, rows, strict=True):
        _both(axis, row.recorded_t, row.predicted_t, rate)
        if unit != PICTURES:
            for start in row.starts[1:]:
                axis.axvline(start / rate, color=RULE, lw=1, zorder=0)
        axis.set_title(row.title)
    longest = max(len(row.recorded_t) for row in rows)
    axes[-1].set_xlim(0, longest / rate)
    axes[-1].set_xlabel(unit)
    figure.supylabel("response, in the judges' units", fontsize=9)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=2)
    return figure


PICTURES = "pictures"  # the unit of time where trials have one frame each


def _both(axis: Axes, recorded_t: np.ndarray, predicted_t: np.ndarray, rate) -> None:
    t = np.arange(len(recorded_t)) / rate
    axis.plot(t, recorded_t, color=MUTED, lw=0.9, label="recorded")
    axis.plot(t, predicted_t, color=MODEL, lw=1.5, label="predicted")
    axis.locator_params(nbins=3, axis="y")


def population(
    recorded_tn: np.ndarray, predicted_tn: np.ndarray, rate: float, unit: str
) -> Figure:
    """The mean of neurons, and each of them recorded and predicted."""
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    axes = figure.subplots(3, 1, sharex=True, height_ratios=[1, 1.3, 1.3])
    _both(axes[0], recorded_tn.mean(1), predicted_tn.mean(1), rate)
    axes[0].set_title("mean of the neurons")
    # A neuron that is silent here has no scale of its own.
    highs = [np.percentile(x_tn, 98, axis=0) for x_tn in (recorded_tn, predicted_tn)]
    high_n = np.maximum(np.maximum(*highs), 1e-6)
    extent = (0, len(recorded_tn) / rate, recorded_tn.shape[1] + 0.5, 0.5)
    for axis, x_tn, name in zip(
        axes[1:], (recorded_tn, predicted_tn), ("recorded", "predicted"), strict=True
    ):
        options = {"vmin": 0, "vmax": 1, "aspect": "auto", "interpolation": "none"}
        axis.imshow((x_tn / high_n).T, "viridis", extent=extent, **options)
        axis.set_title(name)
        axis.set_ylabel("neuron")
        axis.locator_params(axis="y", nbins=4, integer=True)
    axes[0].set_xlim(0, extent[1])
    axes[-1].set_xlabel(unit)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=2)
    return figure


def over_cortex(read_n2: np.ndarray, coordinates_n3: np.ndarray) -> Figure:
    """Neurons where they lie in cortex, colored by where their readouts read."""
    figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for k, (axis, name) in enumerate(zip(axes, ("left to right", "down"), strict=True)):
        options: dict[str, Any] = {"c": read_n2[:, k], "s": 7, "cmap": "viridis"}
        options |= {"vmin": -1, "vmax": 1, "linewidths": 0}
        dots = axis.scatter(*coordinates_n3[:, :2].T, **options)
        bar = figure.colorbar(dots, ax=axis, location="top", ticks=[-1, 0, 1])
        bar.set_label(f"reads at, {name}")
        bar.outline.set_visible(False)  # pyright: ignore
        axis.set_aspect("equal", adjustable="datalim")
        axis.set_xlabel("cortex x (µm)")
        axis.locator_params(nbins=3)
    axes[0].set_ylabel("cortex y (µm)")
    return figure


def over_screen(read_n2: np.ndarray) -> Figure:
    """Where readouts read, from the left (-1) to the right and from the top down."""
    figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
    axis = figure.subplots()
    axis.plot(*read_n2.T, ".", color=MODEL, ms=4)
    axis.set(xlim=(-1.05, 1.05), ylim=(1.05, -1.05))
    axis.set(xlabel="reads at, left to right", ylabel="reads at, down")
    axis.locator_params(nbins=5)
    return figure


def fields(
    maps_nhw: np.ndarray, titles: Sequence[str], colors: str = "RdBu_r"
) -> Figure:
    """Maps, each by its own largest value: fields are red above zero, blue below."""
    columns = 3
    lines = -(-len(titles) // columns)
    height, width = maps_nhw.shape[1:]
    each = min(WIDTH / columns * height / width, 1.4) + 0.35
    figure = Figure(figsize=(WIDTH, 0.1 + lines * each), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, field_hw, title in zip(axes, maps_nhw, titles, strict=False):
        top = max(float(np.abs(field_hw).max()), 1e-12)
        options: dict[str, Any] = {"vmin": -top, "vmax": top, "interpolation": "none"}
        axis.imshow(field_hw, colors, **options)
        axis.set_title(title, fontsize=8.5)
    return figure
