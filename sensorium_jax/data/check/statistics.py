"""Faults of the statistics that normalize inputs and responses."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from sensorium_jax.data.check.trials import Scan
from sensorium_jax.data.release.tree import NEEDED, SOURCES
from sensorium_jax.data.session import RESPONSES, STATISTICS, VIDEO
from sensorium_jax.findings import Fault, error, most_common, warning
from sensorium_jax.io.npy import folder_files, load, not_numbers
from sensorium_jax.rules import OWN, TRAIN

RECOMPUTE = "compute the statistics anew from the training trials"
TRIALS = 256  # training trials that are looked at where a std is zero


def read(scan: Scan, faults: list[Fault]) -> dict[str, dict[str, np.ndarray]]:
    """Statistics of each modality that are sound files of numbers."""
    statistics: dict[str, dict[str, np.ndarray]] = {}
    for what in scan.places:
        place = scan.folder / "meta/statistics" / scan.names[what]
        sources = [place / s for s in SOURCES if (place / s).is_dir()]
        if not sources:
            faults.append(error(place / SOURCES[0], "missing statistics", RECOMPUTE))
            continue
        statistics[what] = _read(sources[0], faults)
        for other in sources[1:]:
            for path in folder_files(other):
                values = load(path) if path.suffix == ".npy" else None
                if isinstance(values, Fault):
                    faults.append(values._replace(level="warning"))
    return statistics


def _read(source: Path, faults: list[Fault]) -> dict[str, np.ndarray]:
    statistics = {}
    for key in STATISTICS:
        path = source / f"{key}.npy"
        if not path.exists():
            if key in NEEDED:
                faults.append(error(path, "missing statistics", RECOMPUTE))
            continue
        values = load(path)
        if not isinstance(values, Fault):
            values = not_numbers(path, values.dtype) or values
        if isinstance(values, Fault):
            faults.append(values)
        else:
            statistics[key] = values
    return statistics


def scale(statistics: dict[str, dict[str, np.ndarray]]) -> float:
    """Mean std of responses, the yardstick of what counts as negative."""
    std = statistics.get(RESPONSES, {}).get("std")
    if std is None:
        return 1.0
    std = std[np.isfinite(std) & (std > 0)]
    return float(std.mean()) if std.size else 1.0


def faults(
    scan: Scan,
    statistics: dict[str, dict[str, np.ndarray]],
    tiers: dict[int, str],
    ends: dict[int, int],
) -> Iterator[Fault]:
    """Faults of shape and value; ends holds the valid frames of each trial."""
    train = [i for i in scan.numbers if tiers.get(i) == TRAIN]
    longest = max(ends.values(), default=0)
    reached = sorted(ends.get(i, 0) for i in train)
    trained = reached[-1] if train else longest
    shared = reached[-2] if len(train) > 1 else trained  # of two trials or more
    for what, arrays in statistics.items():
        shape = _data_shape(scan, what)
        if shape is None:
            continue
        for key, values in arrays.items():
            path = _path(scan, what, key)
            spread = _spread(values, shape, what, timed=scan.timed)
            if spread is None:
                yield error(
                    path,
                    f"statistics of another shape: {values.shape}, the data {shape}",
                    RECOMPUTE,
                )
                continue
            timed = scan.timed and spread.shape[-1] > 1
            if timed and spread.shape[-1] > shape[-1]:
                yield warning(
                    path,
                    f"{spread.shape[-1]} frames, the longest trial has {shape[-1]}",
                    f"fine if trials were left out; else {RECOMPUTE}",
                )
            used = spread[..., :trained] if timed else spread
            alone = spread[..., shared:trained] if timed else spread[..., :0]
            if key in NEEDED:
                later = spread[..., trained:longest] if timed else spread[..., :0]
                yield from _finite(path, key, used, later)
            if key == "std" and alone.size and not alone.any():
                yield _of_one_trial(scan, what, path, alone.shape[-1])
                used = spread[..., :shared]
            if key == "std":
                yield from _positive(scan, what, path, spread, used, train)


def _path(scan: Scan, what: str, key: str) -> Path:
    place = scan.folder / "meta/statistics" / scan.names[what]
    source = next(s for s in SOURCES if (place / s).is_dir())
    return place / source / f"{key}.npy"


def _data_shape(scan: Scan, what: str) -> tuple[int, ...] | None:
    """Usual shape of a modality's files, with the longest time of any."""
    shapes = [h.shape for h in scan.headers[what].values() if h.shape]
    if not scan.timed or not shapes:
        return most_common(shapes)
    usual = most_common(s[:-1] for s in shapes) or ()
    longest = max(h.shape[-1] for w in scan.headers.values() for h in w.values())
    same = [s[-1] for s in shapes if s[:-1] == usual]
    return (*usual, min(max(same), longest))


def _spread(
    x: np.ndarray, shape: tuple[int, ...], what: str, *, timed: bool
) -> np.ndarray | None:
    """Statistics with the axes of the data, of size 1 or equal; None if they misfit."""
    if x.size == 1:
        return x.reshape((1,) * len(shape))
    if what != VIDEO and x.ndim == 1 and len(x) == shape[0]:
        return x.reshape(-1, 1) if timed else x
    if what == VIDEO and len(shape) > 2 + timed and x.shape == shape[:1]:
        return x.reshape(-1, *(1,) * (len(shape) - 1))  # one number per channel
    if timed and what == VIDEO and x.shape in (shape[:-1], shape[-3:-1]):
        x = x[..., None]
    if x.ndim > len(shape):
        return None
    x = x.reshape((1,) * (len(shape) - x.ndim) + x.shape)
    rows = shape[:-1] if timed else shape
    fits = all(n in (1, m) for n, m in zip(x.shape, rows, strict=False))
    time = not timed or x.shape[-1] == 1 or x.shape[-1] >= shape[-1]
    return x if fits and time else None


def _finite(
    path: Path, key: str, used: np.ndarray, later: np.ndarray
) -> Iterator[Fault]:
    bad = int((~np.isfinite(used)).sum())
    if bad:
        kind = "NaN" if np.isnan(used).any() else "infinite"
        yield error(path, f"{kind} {key} in {bad} of {used.size} values", RECOMPUTE)
    elif later.size and not np.isfinite(later).all():
        yield warning(
            path,
            f"NaN {key} at frames that only trials outside training reach",
            "those frames are scaled by the smallest std",
        )


def _of_one_trial(scan: Scan, what: str, path: Path, frames: int) -> Fault:
    """The std at the last frames, where one training trial has nothing beside it."""
    remedy = "nothing is divided there"
    if what == RESPONSES:
        remedy = "those frames are scaled by the smallest std"
    elif scan.rules.name != OWN:
        remedy = "trials end before them, as the official loader cuts them"
    return warning(
        path,
        f"zero std at {frames} frames that only one training trial reaches",
        f"{remedy}; or {RECOMPUTE}",
    )


def _positive(
    scan: Scan,
    what: str,
    path: Path,
    spread: np.ndarray,
    used: np.ndarray,
    train: Sequence[int],
) -> Iterator[Fault]:
    if (spread < 0).any():
        yield error(
            path, f"negative std in {int((spread < 0).sum())} values", RECOMPUTE
        )
    zero = used == 0
    if not zero.any():
        return
    low, high = _extremes(scan, what, spread.shape, train)
    moving = zero & (high > low)[..., : used.shape[-1]]
    if moving.any():
        yield error(
            path,
            f"zero std in {int(moving.sum())} of {used.size} values that do vary",
            RECOMPUTE,
        )
    else:
        yield warning(
            path,
            f"zero std in {int(zero.sum())} of {used.size} values that never change",
            "nothing is divided there; leave out what carries no signal",
        )


def _extremes(
    scan: Scan, what: str, shape: tuple[int, ...], train: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest value of the training trials for each cell of statistics."""
    low, high = np.full(shape, np.inf), np.full(shape, -np.inf)
    some = (
        np.unique(np.linspace(0, len(train) - 1, TRIALS).astype(int)) if train else ()
    )
    for number in (train[i] for i in some):
        known = scan.headers[what].get(number)
        if known is None or len(known.shape) != len(shape):
            continue
        try:
            data = np.load(scan.file(what, number))
        except (OSError, ValueError):
            continue
        if what == RESPONSES and number in scan.missing:
            data = data.astype(np.float64)
            data[scan.missing[number]] = np.nan
        axes = tuple(i for i, n in enumerate(shape) if n == 1 and data.shape[i] > 1)
        part = (..., slice(data.shape[-1] if shape[-1] > 1 else 1))
        if any(m != n != 1 for m, n in zip(data.shape[:-1], shape[:-1], strict=True)):
            continue
        for extreme, best in ((np.fmin, low), (np.fmax, high)):
            values = extreme.reduce(data, axes, keepdims=True) if axes else data
            values = values[..., : shape[-1]]
            best[part] = extreme(best[part], values)
    return low, high
