"""Figures of many runs: loss and score over steps, and scores by what was varied."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

Curve = tuple[Sequence[float], Sequence[float]]  # steps, and a number at each
MOST = 20  # names that a legend can hold


def learning(runs: Mapping[str, Mapping[str, Curve]]) -> Figure:
    """A line for each run in one panel per number of the log, such as loss and score.

    runs has the curves of each run by what they are of.
    """
    kinds = list(dict.fromkeys(kind for curves in runs.values() for kind in curves))
    figure = Figure(figsize=(1 + 4 * max(len(kinds), 1), 3.2), layout="constrained")
    axes = figure.subplots(1, max(len(kinds), 1), squeeze=False)[0]
    for axis, kind in zip(axes, kinds, strict=False):
        for i, (name, curves) in enumerate(runs.items()):
            steps, values = curves.get(kind, ((), ()))
            marks = "o-" if len(steps) < 20 else "-"
            axis.plot(steps, values, marks, ms=3, lw=1, label=name, color=f"C{i % 10}")
        axis.set_xlabel("step")
        axis.locator_params(axis="x", integer=True)
        axis.set_ylabel(kind)
    if len(runs) <= MOST:
        axes[-1].legend(
            frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1, 1)
        )
    return figure


def scores(lines: Mapping[str, Sequence[Mapping[str, Any]]], name: str) -> Figure:
    """A line of scores for each folder of runs, by the values of what was varied.

    A point has value, score, and the ends of its interval, low and high, or None.
    """
    figure = Figure(figsize=(4.6, 3.2), layout="constrained")
    axis = figure.subplots()
    values = [point["value"] for points in lines.values() for point in points]
    numbers = all(isinstance(v, (int, float)) for v in values)
    shown = list(dict.fromkeys(map(str, values)))
    for i, (folder, points) in enumerate(lines.items()):
        at = [p["value"] if numbers else shown.index(str(p["value"])) for p in points]
        score = [p["score"] for p in points]
        axis.plot(at, score, "o-", ms=4, lw=1, label=folder or name, color=f"C{i % 10}")
        for x, p in zip(at, points, strict=True):
            if p["low"] is not None:
                axis.plot([x, x], [p["low"], p["high"]], lw=1, color=f"C{i % 10}")
    if numbers and values and 0 < 10 * min(values) <= max(values):
        axis.set_xscale("log")
    if numbers and len(shown) < 8:
        axis.set_xticks(sorted(set(values)), [f"{v:g}" for v in sorted(set(values))])
        axis.minorticks_off()
    elif not numbers:
        axis.set_xticks(range(len(shown)), [s[:24] for s in shown], fontsize=7)
    axis.set_xlabel(name)
    axis.set_ylabel("score")
    if len(lines) <= MOST:
        axis.legend(frameon=False, fontsize=8)
    return figure
