"""Figures of a simulated cortex: what was shown, what answered, how well it can."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure


def movie_strips(
    clips: Mapping[str, np.ndarray], *, frames: int = 10, every: int = 12
) -> Figure:
    """One row of frames per clip [T, H, W], every so many frames."""
    figure = Figure(figsize=(frames * 0.9, len(clips) * 0.62), layout="constrained")
    axes = figure.subplots(len(clips), frames, squeeze=False)
    for row, (name, video_thw) in zip(axes, clips.items(), strict=True):
        for i, axis in enumerate(row):
            axis.imshow(
                video_thw[min(i * every, len(video_thw) - 1)],
                "gray",
                vmin=0,
                vmax=255,
            )
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(
            name.replace("_", "\n"), rotation=0, ha="right", va="center", fontsize=7
        )
    return figure


def trial(
    rates_tn: np.ndarray,
    responses_tn: np.ndarray,
    dilation_t: np.ndarray,
    running_t: np.ndarray,
    *,
    fps: float = 30.0,
) -> Figure:
    """True rates above one noisy recording of them, with what the animal did."""
    figure = Figure(figsize=(7, 5), layout="constrained")
    tops = figure.subplots(3, 1, sharex=True, height_ratios=[3, 3, 1])
    seconds = len(rates_tn) / fps
    # A neuron that is silent in the recording has no scale of its own.
    highs = [np.percentile(x_tn, 98, axis=0) for x_tn in (rates_tn, responses_tn)]
    unit_n = np.maximum(np.maximum(*highs), 1e-6)
    for axis, x_tn, name in (
        (tops[0], rates_tn, "true rates"),
        (tops[1], responses_tn, "one recording"),
    ):
        extent = (0, seconds, x_tn.shape[1], 0)
        axis.imshow(
            (x_tn / unit_n).T, "Greys", aspect="auto", vmin=0, vmax=1, extent=extent
        )
        axis.set_ylabel(f"{name}\nneuron")
    t = np.arange(len(dilation_t)) / fps
    tops[2].plot(t, running_t, label="running")
    tops[2].plot(t, dilation_t / 10, label="pupil size / 10")
    above: Any = {"loc": "lower right", "bbox_to_anchor": (1, 0.95)}
    tops[2].legend(fontsize=7, ncols=2, frameon=False, **above)
    tops[2].set_xlabel("seconds")
    return figure


def ceilings(target_n: np.ndarray, realised_n: np.ndarray) -> Figure:
    """Single-trial ceilings aimed at and measured, and their spread."""
    figure = Figure(figsize=(6.4, 2.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([0, 0.8], [0, 0.8], color="0.7", lw=1)
    left.plot(target_n, realised_n, ".", ms=3, alpha=0.5)
    left.set(xlabel="ceiling aimed at", ylabel="ceiling measured", aspect="equal")
    right.hist(realised_n, 30, color="0.4")
    for share in (10, 50, 90):
        value = np.percentile(realised_n, share)
        right.axvline(value, color="C1")
        top = right.get_xaxis_transform()  # y from 0 to 1, whatever the counts are
        right.text(value, 1.01, f"{share} %", ha="center", fontsize=7, transform=top)
    right.set(xlabel="ceiling", ylabel="neurons")
    return figure


def maps(
    coordinates_n3: np.ndarray,
    center_n2: np.ndarray,
    kinds_n: Sequence[str] | np.ndarray,
    *,
    frame: tuple[int, int] = (36, 64),
) -> Figure:
    """Cells in cortex colored by where they look, and fields on the screen by type."""
    figure = Figure(figsize=(7, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.3])
    dots = left.scatter(
        *coordinates_n3[:, :2].T, c=center_n2[:, 0], s=9, cmap="viridis"
    )
    figure.colorbar(dots, ax=left, label="field x, pixels", shrink=0.8)
    left.set(xlabel="cortex x, µm", ylabel="cortex y, µm", aspect="equal")
    for kind in np.unique(kinds_n):
        some = np.asarray(kinds_n) == kind
        right.plot(*center_n2[some].T, ".", ms=5, label=str(kind).replace("_", " "))
    right.set(xlim=(0, frame[1]), ylim=(frame[0], 0), aspect="equal")
    right.set(xlabel="screen x, pixels", ylabel="screen y, pixels")
    right.legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


def fields(even_nhw: np.ndarray, odd_nhw: np.ndarray, names: Sequence[str]) -> Figure:
    """Pairs of spatial filters [N, H, W], one column each."""
    count = len(names)
    figure = Figure(figsize=(1.1 * count, 1.6), layout="constrained")
    axes = figure.subplots(2, count, squeeze=False)
    for column, name in enumerate(names):
        for row, field_hw in enumerate((even_nhw[column], odd_nhw[column])):
            top = max(float(np.abs(field_hw).max()), 1e-9)
            axes[row, column].imshow(field_hw, "RdBu_r", vmin=-top, vmax=top)
            axes[row, column].set(xticks=[], yticks=[])
        axes[0, column].set_title(name.replace("_", " "), fontsize=7)
    return figure
