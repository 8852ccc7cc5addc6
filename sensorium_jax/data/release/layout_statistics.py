"""Mean, std, min, max and median of many files, one file in memory at a time."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

ROWS = 8192  # neurons at a time; more would need memory for nine whole trials
MEDIAN_FILES = 9  # the median needs its values together; evenly spaced files stand in


def layout_moments(
    train: Sequence[Path],
    every: Sequence[Path],
    layout: str,
    *,
    stimulus: bool,
    time_last: bool,
) -> dict[str, np.ndarray]:
    """Statistics of one modality over its training files, in a release's shapes.

    "per_neuron" gives one number for a video and one per row else; "per_frame" gives
    rows and frames, up to the longest of every trial, as the 2023 release does. A frame
    that one training trial alone reaches has no spread of its own, by which the
    official chain would end that trial: it takes the statistics of the whole row.
    """
    if layout == "per_neuron" or not time_last:
        kind = "scalar" if stimulus else "row"
        return moments(train, kind, time_last=time_last)
    shapes = [np.load(f, mmap_mode="r").shape for f in every]
    frames = max(s[-1] for s in shapes)
    if not stimulus:
        return moments(train, "frame", frames=frames)
    # One grey level statistic, in the shape that the release gives it: per pixel and
    # frame would be noise on a short recording, and zero where a pixel never changes.
    full = (*shapes[0][:-1], frames)
    scalars = moments(train, "scalar")
    return {k: np.full(full, v, np.float32) for k, v in scalars.items()}


def moments(
    files: Sequence[Path], kind: str, *, time_last: bool = True, frames: int = 0
) -> dict[str, np.ndarray]:
    """Statistics over trials, NaN left out, in the files' own axis order (float32).

    kind "scalar": one number; "row": per row over time and trials, [rows, 1], or
    [rows] where files have no time; "frame": per row and frame over trials [rows, t].
    """
    count = np.load(files[0], mmap_mode="r").shape[0]
    if kind != "row" or count <= ROWS:
        return _moments(files, kind, slice(None), time_last=time_last, frames=frames)
    parts = [
        _moments(files, kind, slice(b, b + ROWS), time_last=time_last, frames=frames)
        for b in range(0, count, ROWS)
    ]
    return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}


def _moments(
    files: Sequence[Path], kind: str, part: slice, *, time_last: bool, frames: int
) -> dict[str, np.ndarray]:
    first = np.load(files[0], mmap_mode="r")[part].shape
    rows, cols = ((), ()) if kind == "scalar" else (first[:1], (1,) * time_last)
    if kind == "frame":
        cols = (frames,)
    axes = {"scalar": None, "row": -1 if time_last else (), "frame": ()}[kind]
    total, square, count = (np.zeros(rows + cols) for _ in range(3))
    low, high = np.full(rows + cols, np.inf), np.full(rows + cols, -np.inf)
    keep = axes == -1
    for file in files:
        x = _load(file, part).astype(np.float64, copy=False)
        there = ~np.isnan(x)
        seen = (..., slice(x.shape[-1])) if kind == "frame" else ...
        zero = np.where(there, x, 0.0)
        total[seen] += zero.sum(axes, keepdims=keep)
        square[seen] += (zero * zero).sum(axes, keepdims=keep)
        count[seen] += there.sum(axes, keepdims=keep)
        bottom = np.where(there, x, np.inf).min(axes, keepdims=keep)
        top = np.where(there, x, -np.inf).max(axes, keepdims=keep)
        low[seen] = np.minimum(low[seen], bottom)
        high[seen] = np.maximum(high[seen], top)
    count = np.where(count > 0, count, np.nan)
    mean = total / count
    std = np.sqrt(np.maximum(square / count - mean * mean, 0.0))
    statistics = {"mean": mean, "std": std, "min": low, "max": high}
    statistics["median"] = _median(files, kind, part, frames, time_last=time_last)
    if kind == "frame":
        alone = count == 1
        whole = _over_frames(total, square, count, statistics)
        statistics = {k: np.where(alone, whole[k], v) for k, v in statistics.items()}
    gap = np.isnan(count)
    return {
        k: np.where(gap, np.nan, v).astype(np.float32) for k, v in statistics.items()
    }


def _over_frames(
    total: np.ndarray,
    square: np.ndarray,
    count: np.ndarray,
    statistics: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Statistics of each row over all its frames, [rows, 1], from those of each."""
    sums = (np.nansum(x, -1, keepdims=True) for x in (total, square, count))
    total, square, count = sums
    mean = total / count
    return {
        "mean": mean,
        "std": np.sqrt(np.maximum(square / count - mean * mean, 0.0)),
        "min": statistics["min"].min(-1, keepdims=True),
        "max": statistics["max"].max(-1, keepdims=True),
        "median": np.nanmedian(statistics["median"], -1, keepdims=True),
    }


def _load(file: Path, part: slice) -> np.ndarray:
    """Some rows of a file, in memory."""
    if part == slice(None):
        return np.load(file)
    return np.array(np.load(file, mmap_mode="r")[part])


def _median(
    files: Sequence[Path], kind: str, part: slice, frames: int, *, time_last: bool
) -> np.ndarray:
    some = np.unique(np.linspace(0, len(files) - 1, MEDIAN_FILES).astype(int))
    trials = [_load(files[i], part).astype(np.float32, copy=False) for i in some]
    if kind == "scalar":
        return np.asarray(
            np.nanmedian(np.concatenate([x.ravel()[::7] for x in trials]))
        )
    if kind == "row":
        joined = np.concatenate(trials, -1) if time_last else np.stack(trials, -1)
        return np.nanmedian(joined, axis=-1, keepdims=time_last)
    full = np.full((len(trials), len(trials[0]), frames), np.nan, np.float32)
    for row, x in zip(full, trials, strict=True):
        row[:, : x.shape[-1]] = x
    empty = np.isnan(full).all(0)
    return np.where(empty, np.nan, np.nanmedian(np.where(empty, 0.0, full), axis=0))
