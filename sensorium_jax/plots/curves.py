"""Figures of how runs learn: loss and score of many runs over their steps."""

from collections.abc import Mapping, Sequence

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
