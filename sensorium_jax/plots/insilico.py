"""Pages of what experiments on twins found, a few neurons on each."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from matplotlib.figure import Figure

NEURONS = 10  # on a page
STEPS = 8  # frames of a film, or pictures of a ring, that are drawn


class Shown(Protocol):
    """What is drawn of a result; see insilico.record.Result."""

    @property
    def experiment(self) -> str:
        """Which experiment it is."""
        ...

    @property
    def about(self) -> Mapping[str, Any]:
        """How it was asked."""
        ...

    @property
    def neurons(self) -> np.ndarray:
        """Numbers of the neurons."""
        ...

    @property
    def arrays(self) -> Mapping[str, np.ndarray]:
        """Arrays of all neurons."""
        ...

    @property
    def shared(self) -> Mapping[str, np.ndarray]:
        """What neurons have in common."""
        ...


def page(result: Shown) -> Figure:
    """The page of any experiment."""
    draw = PAGES[result.experiment]
    if not len(result.neurons):
        figure = Figure(figsize=(4, 1), layout="constrained")
        figure.suptitle(f"{result.experiment}: no neuron answered", fontsize=9)
        return figure
    figure = draw(result)
    mouse = result.about.get("mouse", "")
    figure.suptitle(f"{result.experiment} of {mouse}", fontsize=9)
    return figure


def tuning(result: Shown) -> Figure:
    """A row of curves for each neuron, and grey's rate as a line."""
    names = [k for k in result.arrays if k.endswith("_curve")]
    some = _some(result)
    shape = (len(some), len(names))
    figure = Figure(figsize=(1.7 * len(names), 1.2 * len(some)), layout="constrained")
    axes = figure.subplots(*shape, squeeze=False)
    for i, row in zip(some, axes, strict=True):
        for axis, name in zip(row, names, strict=True):
            _curve(axis, result, name, i)
        row[0].set_ylabel(f"neuron {result.neurons[i]}", fontsize=7)
    for axis, name in zip(axes[0], names, strict=True):
        title = name.removesuffix("_curve").replace("_", " x ")
        axis.set_title(title, fontsize=7)
    return figure


def _curve(axis, result: Shown, name: str, i: int) -> None:
    y = result.arrays[name][i]
    axis.tick_params(labelsize=5)
    plain = name.removesuffix("_curve")
    if y.ndim == 2 and plain == "plaid":
        axis.imshow(y, "viridis", origin="lower", aspect="auto")
        axis.set(xticks=[], yticks=[])
        return
    x = result.shared["size" if plain == "size_contrast" else plain]
    lines = y if y.ndim == 2 else y[None]
    for k, line in enumerate(lines):
        shade = 0.7 * (1 - (k + 1) / len(lines))
        axis.plot(x, line, ".-", color=str(shade), lw=0.8, ms=2)
    blank = result.arrays.get("blank")
    if blank is not None:
        axis.axhline(float(blank[i]), color="C1", lw=0.6)
    axis.set_ylim(bottom=min(0.0, float(y.min())))


def fields(result: Shown) -> Figure:
    """The linear field at its strongest frame, its course, and the fitted Gaussian."""
    some = _some(result)
    figure = Figure(figsize=(7, 1.3 * len(some)), layout="constrained")
    axes = figure.subplots(len(some), 3, squeeze=False)
    for i, row in zip(some, axes, strict=True):
        field = result.arrays["field"][i]
        best = int((field**2).sum((1, 2)).argmax())
        _map(row[0], field[best])
        row[0].set_ylabel(f"neuron {result.neurons[i]}", fontsize=7)
        row[1].imshow(result.arrays["envelope"][i], "magma")
        names = ("x", "y", "sigma_long", "sigma_short", "turn")
        _ellipse(row[1], *(float(result.arrays[k][i]) for k in names))
        row[1].set(xticks=[], yticks=[])
        row[2].plot(np.sqrt((field**2).sum((1, 2))), ".-", lw=0.8, ms=2)
        row[2].tick_params(labelsize=5)
    for axis, title in zip(axes[0], ("field", "map and fit", "frames"), strict=True):
        axis.set_title(title, fontsize=7)
    return figure


def _ellipse(axis, x, y, long, short, turn) -> None:
    t = np.linspace(0, 2 * np.pi, 60)
    u, v = 2 * long * np.cos(t), 2 * short * np.sin(t)
    cos, sin = np.cos(turn), np.sin(turn)
    axis.plot(x + cos * u - sin * v, y + sin * u + cos * v, "c", lw=0.8)


def _map(axis, image: np.ndarray) -> None:
    top = max(float(np.abs(image).max()), 1e-12)
    axis.imshow(image, "RdBu_r", vmin=-top, vmax=top)
    axis.set(xticks=[], yticks=[])


def _some(result: Shown) -> range:
    return range(min(len(result.neurons), NEURONS))


PAGES = {"tune": tuning, "rf": fields}
