"""Mean, std, min, max and median of many files, one file in memory at a time."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from sensorium_jax.data.release.tree import npy_shape, open_npy, read_npy

ROWS = 8192  # neurons at a time; more would need memory for nine whole trials
MEDIAN_FILES = 9  # the median needs its values together; evenly spaced files stand in


def layout_moments(
    train: Sequence[Path],
    every: Sequence[Path],
    layout: str,
    *,
    stimulus: bool,
    time_last: bool,
    missing: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Statistics of one modality over its training files, in a release's shapes.

    "per_neuron" gives one number for a video and one per row else; "per_frame" gives
    rows and frames, up to the longest of every trial, as the 2023 release does. A frame
    that one training trial alone reaches has no spread of its own, by which the
    official chain would end that trial: it takes the statistics of the whole row.

    missing, bool [training files, rows], leaves rows of files out. A row that misses
    all of them has zeros.
    """
    if layout == "per_neuron" or not time_last:
        kind = "scalar" if stimulus else "row"
        return moments(train, kind, time_last=time_last, missing=missing)
    shapes = [npy_shape(f) for f in every]
    frames = max(s[-1] for s in shapes)
    if not stimulus:
        return moments(train, "frame", frames=frames, missing=missing)
    # One grey level statistic, in the shape that the release gives it: per pixel and
    # frame would be noise on a short recording, and zero where a pixel never changes.
    full = (*shapes[0][:-1], frames)
    scalars = moments(train, "scalar")
    return {k: np.full(full, v, np.float32) for k, v in scalars.items()}


def moments(
    files: Sequence[Path],
    kind: str,
    *,
    time_last: bool = True,
    frames: int = 0,
    missing: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Statistics over trials in the files' own axis order (float32).

    NaN and what is missing, bool [files, rows], are left out.

    kind "scalar": one number; "row": per row over time and trials, [rows, 1], or
    [rows] where files have no time; "frame": per row and frame over trials [rows, t].
    """
    count = npy_shape(files[0])[0]
    whole = kind != "row" or count <= ROWS
    rows = (
        [slice(None)] if whole else [slice(b, b + ROWS) for b in range(0, count, ROWS)]
    )
    parts = [
        _moments(files, kind, part, missing, time_last=time_last, frames=frames)
        for part in rows
    ]
    if whole:
        return parts[0]
    return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}


def _moments(
    files: Sequence[Path],
    kind: str,
    part: slice,
    missing: np.ndarray | None,
    *,
    time_last: bool,
    frames: int,
) -> dict[str, np.ndarray]:
    count = len(range(npy_shape(files[0])[0])[part])
    rows, cols = ((), ()) if kind == "scalar" else ((count,), (1,) * time_last)
    if kind == "frame":
        cols = (frames,)
    axes = {"scalar": None, "row": -1 if time_last else (), "frame": ()}[kind]
    total, square, count = (np.zeros(rows + cols) for _ in range(3))
    low, high = np.full(rows + cols, np.inf), np.full(rows + cols, -np.inf)
    keep, reach = axes == -1, 0
    for i, file, times in _each(files, missing):
        x = _load(file, part).astype(np.float64, copy=False)
        there, reach = ~np.isnan(x), max(reach, x.shape[-1])
        if missing is not None:
            there[missing[i, part]] = False
        seen = (..., slice(x.shape[-1])) if kind == "frame" else ...
        zero = np.where(there, x, 0.0)
        total[seen] += times * zero.sum(axes, keepdims=keep)
        square[seen] += times * (zero * zero).sum(axes, keepdims=keep)
        count[seen] += times * there.sum(axes, keepdims=keep)
        bottom = np.where(there, x, np.inf).min(axes, keepdims=keep)
        top = np.where(there, x, -np.inf).max(axes, keepdims=keep)
        low[seen] = np.minimum(low[seen], bottom)
        high[seen] = np.maximum(high[seen], top)
    count = np.where(count > 0, count, np.nan)
    mean = total / count
    std = np.sqrt(np.maximum(square / count - mean * mean, 0.0))
    statistics = {"mean": mean, "std": std, "min": low, "max": high}
    spread = {"time_last": time_last}
    statistics["median"] = _median(files, kind, part, frames, missing, **spread)
    gap = np.isnan(count)
    never = np.zeros_like(gap)
    if missing is not None:
        never[missing[:, part].all(0)] = True
        gap &= ~never
    if kind == "frame":
        alone = count == 1
        if missing is not None:  # a frame that a row reaches only where it is missing
            short = gap & (np.arange(frames) < reach)
            alone, gap = alone | short, gap & ~short
        whole = _over_frames(total, square, count, statistics)
        statistics = {k: np.where(alone, whole[k], v) for k, v in statistics.items()}
    gaps = {k: np.where(gap, np.nan, v) for k, v in statistics.items()}
    return {k: np.where(never, 0.0, v).astype(np.float32) for k, v in gaps.items()}


def _each(
    files: Sequence[Path], missing: np.ndarray | None
) -> Iterator[tuple[int, Path, int]]:
    """Files with their place, and how often each counts.

    A file with several names, as of a video that is shown again, is read once.
    """
    if missing is not None:
        yield from ((i, file, 1) for i, file in enumerate(files))
        return
    told = [os.stat(file) for file in files]
    nodes = [(s.st_dev, s.st_ino) for s in told]
    times = Counter(nodes)
    for i, (file, node) in enumerate(zip(files, nodes, strict=True)):
        if node in times:
            yield i, file, times.pop(node)


def _over_frames(
    total: np.ndarray,
    square: np.ndarray,
    count: np.ndarray,
    statistics: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Statistics of each row over all its frames, [rows, 1], from those of each."""
    sums = (np.nansum(x, -1, keepdims=True) for x in (total, square, count))
    total, square, count = sums
    count = np.where(count > 0, count, np.nan)
    mean = total / count
    return {
        "mean": mean,
        "std": np.sqrt(np.maximum(square / count - mean * mean, 0.0)),
        "min": statistics["min"].min(-1, keepdims=True),
        "max": statistics["max"].max(-1, keepdims=True),
        "median": _nanmedian(statistics["median"], -1, keepdims=True),
    }


def _load(file: Path, part: slice) -> np.ndarray:
    """Some rows of a file, in memory."""
    if part == slice(None):
        return read_npy(file)
    return np.array(open_npy(file)[part])


def _nanmedian(x: np.ndarray, axis: int, *, keepdims: bool = False) -> np.ndarray:
    """The median of what is no NaN; NaN where nothing else is."""
    empty = np.isnan(x).all(axis, keepdims=True)
    median = np.nanmedian(np.where(empty, 0.0, x), axis, keepdims=True)
    median = np.where(empty, np.nan, median)
    return median if keepdims else np.squeeze(median, axis)


def _evenly(files: np.ndarray) -> np.ndarray:
    """A few of these files, evenly spaced."""
    return files[np.unique(np.linspace(0, len(files) - 1, MEDIAN_FILES).astype(int))]


def _median(
    files: Sequence[Path],
    kind: str,
    part: slice,
    frames: int,
    missing: np.ndarray | None,
    *,
    time_last: bool,
) -> np.ndarray:
    some = _evenly(np.arange(len(files)))
    trials = [_load(files[i], part).astype(np.float32, copy=False) for i in some]
    if missing is not None:
        trials = [np.array(x) for x in trials]
        for x, i in zip(trials, some, strict=True):
            x[missing[i, part]] = np.nan
        _fill_in(trials, files, part, missing, some)
    if kind == "scalar":
        return np.asarray(
            np.nanmedian(np.concatenate([x.ravel()[::7] for x in trials]))
        )
    if kind == "row":
        joined = np.concatenate(trials, -1) if time_last else np.stack(trials, -1)
        return _nanmedian(joined, -1, keepdims=time_last)
    full = np.full((len(trials), len(trials[0]), frames), np.nan, np.float32)
    for row, x in zip(full, trials, strict=True):
        row[:, : x.shape[-1]] = x
    return _nanmedian(full, 0)


def _fill_in(
    trials: list[np.ndarray],
    files: Sequence[Path],
    part: slice,
    missing: np.ndarray,
    some: np.ndarray,
) -> None:
    """Give rows that miss every one of some files their values of other files."""
    mine = missing[:, part]
    for row in np.flatnonzero(mine[some].all(0) & ~mine.all(0)):
        for x, i in zip(trials, _evenly(np.flatnonzero(~mine[:, row])), strict=False):
            values = open_npy(files[i])[part][row]
            # Other files may be longer; the median takes no harm from fewer frames.
            last = min(np.size(values), x.shape[-1]) if x.ndim > 1 else None
            x[row] = values if last is None else np.resize(values[:last], x.shape[-1])
