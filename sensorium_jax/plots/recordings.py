"""A page of what a recording holds: frames, activity, repeats, reliability."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

RELIABLE = 0.1  # from which on a neuron counts as driven by the stimulus


class Shown(NamedTuple):
    """What the page is drawn from; a few trials laid end to end, t frames in all."""

    title: str
    rate: float  # frames in one of `unit`
    unit: str  # of time: "seconds", "frames" where the rate is unknown, or "pictures"
    clips: Mapping[str, np.ndarray]  # name -> frames [k, h, w] or [k, h, w, c]
    responses_tn: np.ndarray  # of some neurons
    change_t: np.ndarray  # mean change of a pixel since the frame before
    behavior_tk: np.ndarray
    pupil_t2: np.ndarray
    starts: tuple[int, ...]  # frames at which trials begin
    repeats_rtn: np.ndarray  # one film shown R times, its most reliable neurons
    reliability_n: np.ndarray  # of every neuron; NaN where it is not known


def page(shown: Shown) -> Figure:
    """Everything on one page."""
    figure = Figure(figsize=(10, 11), layout="constrained")
    figure.suptitle(shown.title, fontsize=10)
    rows: Any = figure.subfigures(3, 1, height_ratios=[0.9, 2, 1])
    top, middle, bottom = rows
    _clips(top, shown.clips)
    _activity(middle, shown)
    left, right = bottom.subfigures(1, 2, width_ratios=[1.5, 1])
    _repeats(left, shown)
    _reliability(right.subplots(), shown.reliability_n)
    return figure


def _clips(part, clips: Mapping[str, np.ndarray]) -> None:
    """A row of frames for each clip."""
    width = max(len(frames) for frames in clips.values())
    axes = part.subplots(len(clips), width, squeeze=False)
    for row, (name, frames) in zip(axes, clips.items(), strict=True):
        for axis in row:
            axis.set(xticks=[], yticks=[], frame_on=False)
        for axis, frame in zip(row, frames, strict=False):
            image = picture(frame)
            black, white = greys(image)
            axis.imshow(image, "gray", vmin=black, vmax=white)
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=7)


def greys(image: np.ndarray) -> tuple[float, float]:
    """What is black and what is white, in the units that a film seems to be in."""
    low, high = float(image.min()), float(image.max())
    return (0.0, 255.0 if high > 1 else 1.0) if low >= 0 else (low, high)


def picture(frame: np.ndarray) -> np.ndarray:
    """A frame as a picture: one channel as grey, three as color, two as their mean."""
    frame = np.asarray(frame, np.float32)
    if frame.ndim == 3 and frame.shape[-1] == 3:
        return (frame / 255 if frame.max() > 1 else frame).clip(0, 1)
    return frame.mean(-1) if frame.ndim == 3 else frame


def _activity(part, shown: Shown) -> None:
    """Rasters with the stimulus below, marks where a trial begins."""
    behaves = shown.behavior_tk.shape[1] + shown.pupil_t2.shape[1] > 0
    heights = [3, 0.6, 1.0] if behaves else [3, 0.6]
    axes = part.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    x_tn, rate = shown.responses_tn, shown.rate
    high_n = np.maximum(np.percentile(x_tn, 98, axis=0), 1e-6)
    extent = (0, len(x_tn) / rate, x_tn.shape[1], 0)
    image = (x_tn / high_n).T
    axes[0].imshow(image, "Greys", aspect="auto", vmin=0, vmax=1, extent=extent)
    axes[0].set_ylabel(f"{x_tn.shape[1]} neurons")
    t = np.arange(len(x_tn)) / rate
    axes[1].plot(t, shown.change_t, "k", lw=0.6)
    axes[1].set_ylabel("change\nof film", fontsize=7)
    if behaves:
        names = [f"behavior {k}" for k in range(shown.behavior_tk.shape[1])]
        names += ["pupil x", "pupil y"][: shown.pupil_t2.shape[1]]
        columns = np.hstack([shown.behavior_tk, shown.pupil_t2])
        for i, (name, x_t) in enumerate(zip(names, columns.T, strict=True)):
            spread = max(float(np.ptp(x_t)), 1e-9)
            axes[2].plot(t, (x_t - x_t.min()) / spread + 1.2 * i, lw=0.8, label=name)
        axes[2].legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5))
        axes[2].set_yticks([])
    for axis in axes:
        for start in shown.starts:
            axis.axvline(start / rate, color="C3", lw=0.8)
    axes[-1].set_xlabel(shown.unit)


def _repeats(part, shown: Shown) -> None:
    """The same film again and again: a row per repeat, and the mean below."""
    x_rtn, rate = shown.repeats_rtn, shown.rate
    if len(x_rtn) < 2:
        axis = part.subplots()
        axis.axis("off")
        words = "no stimulus is repeated,\nso nothing tells signal from noise"
        axis.text(0.5, 0.5, words, ha="center", va="center", fontsize=8)
        return
    axes = part.subplots(2, x_rtn.shape[2], squeeze=False, sharex=True)
    for n in range(x_rtn.shape[2]):
        x_rt = x_rtn[:, :, n]
        high = max(float(np.percentile(x_rt, 99)), 1e-6)
        extent = (0, x_rt.shape[1] / rate, len(x_rt), 0)
        rows: Axes = axes[0, n]
        rows.imshow(x_rt, "Greys", aspect="auto", vmin=0, vmax=high, extent=extent)
        t = (np.arange(x_rt.shape[1]) + 0.5) / rate
        style = "o" if x_rt.shape[1] == 1 else "-"
        axes[1, n].plot(t, x_rt.T, style, color="0.75", lw=0.4, ms=2)
        axes[1, n].plot(t, x_rt.mean(0), f"k{style}", lw=1, ms=3)
        if shown.unit != "pictures":
            axes[1, n].set_xlabel(shown.unit, fontsize=7)
    axes[0, 0].set_ylabel("repeat")
    for row in axes[0]:
        row.locator_params(axis="y", integer=True)
    words = "one stimulus again and again, the most reliable neurons"
    part.suptitle(words, fontsize=8)


def _reliability(axis: Axes, reliability_n: np.ndarray) -> None:
    """How well single trials agree with the mean of the others, of every neuron."""
    known = reliability_n[np.isfinite(reliability_n)]
    if not known.size:
        axis.axis("off")
        return
    axis.hist(known, int(np.clip(known.size // 3, 8, 40)), color="0.4")
    axis.axvline(0, color="k", lw=0.5)
    axis.axvline(float(np.median(known)), color="C1", label="median")
    share = (known > RELIABLE).mean()
    axis.set_title(f"{share:.0%} of {len(known)} above {RELIABLE}", fontsize=8)
    axis.set_xlabel("correlation of a trial\nwith the mean of the other repeats")
    axis.set_ylabel("neurons")
    axis.locator_params(axis="x", nbins=6)
    axis.locator_params(axis="y", integer=True)
    axis.legend(fontsize=7, frameon=False)
