"""suite2p's folders of .npy files: plane0/{F,Fneu,spks,iscell,stat,ops}.npy.

Traces are [rois, time]. stat.npy and ops.npy are pickles; they are read by the inert
reader of io/pickled_numpy.py, which runs nothing of what they ask for.
https://suite2p.readthedocs.io
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sensorium_jax.data.formats import clocks, files, lazy
from sensorium_jax.data.formats.foreign import (
    Choices,
    Foreign,
    Listed,
    Series,
    safe_name,
)
from sensorium_jax.data.session import RESPONSES
from sensorium_jax.errors import UserError, unknown
from sensorium_jax.io import pickled_numpy
from sensorium_jax.io.pickled import Refused

SPKS, F = "spks", "F"
UNREAD: dict[str, str] = {}  # every flag says something of suite2p
PLANE_IDS = 1_000_000  # a unit's id is its plane times this, plus its number


def is_source(folder: Path) -> bool:
    """Whether a folder is suite2p's, or one plane of it."""
    return bool(planes(folder))


def planes(folder: Path) -> list[Path]:
    """The folders of planes, in order."""
    if (folder / "F.npy").exists() or (folder / "spks.npy").exists():
        return [folder]
    for place in (folder, folder / "suite2p"):
        if place.is_dir():
            named = {p: re.fullmatch(r"plane(\d+)", p.name) for p in place.iterdir()}
            some = [(int(m[1]), p) for p, m in named.items() if m and p.is_dir()]
            if some:
                return [p for _, p in sorted(some)]
    return []


@contextlib.contextmanager
def opened(source: str, choices: Choices) -> Iterator[Foreign]:
    """Responses of the cells; film and other signals from files that flags name."""
    with contextlib.ExitStack() as stack:
        folder = Path(source)
        series, ids_n, places, notes = responses(
            folder,
            signal=choices.response or SPKS,
            neuropil=choices.neuropil,
            times=files.flag_times(choices.response_times, stack),
        )
        if not choices.stimulus:
            raise UserError(
                "suite2p knows nothing of what was shown. Give --stimulus FILE (.npy, "
                ".npz, .mp4, a folder of pictures) and --stimulus-times FILE, in "
                "seconds on the clock of the microscope's frames."
            )
        yield Foreign(
            name=_name(folder),
            form="suite2p",
            film=files.flag_film(choices, stack),
            signals={RESPONSES: series, **files.flag_signals(choices, stack)},
            table=files.flag_table(choices),
            ids_n=ids_n,
            coordinates_n3=places,
            notes=notes,
        )


def listed(source: str) -> list[Listed]:
    """The traces of every plane."""
    lines = []
    for plane in planes(Path(source)):
        rate = _rate(plane)
        for name, use in ((SPKS, RESPONSES), (F, RESPONSES), ("Fneu", "neuropil")):
            if (plane / f"{name}.npy").exists():
                array = lazy.mapped(plane / f"{name}.npy", time_axis=1)
                path = f"{plane.name}/{name}.npy"
                lines.append(Listed(path, "traces", array.shape, rate, "a.u.", use))
    return lines


def responses(
    folder: Path, *, signal: str, neuropil: float, times: np.ndarray | None
) -> tuple[tuple[Series, ...], np.ndarray, np.ndarray | None, tuple[str, ...]]:
    """Traces of the cells of all planes, their ids, their places, and notes.

    times: seconds of every frame of the microscope, of all planes; without them frames
    follow each other at the rate in ops.npy from 0 s on.
    """
    if signal not in (SPKS, F):
        raise unknown("signal of suite2p", signal, (SPKS, F))
    every = planes(folder)
    if not every:
        raise UserError(
            f"{folder} holds no plane0 and no F.npy, as suite2p writes them."
        )
    series, ids, places, notes = [], [], [], []
    for plane in every:
        traces = _traces(plane, signal, neuropil)
        cells = _cells(plane, traces.shape[1])
        number = re.fullmatch(r"plane(\d+)", plane.name)
        depth = int(number[1]) if number else 0
        ids.append(cells + depth * PLANE_IDS)
        places.append(_places(plane, traces.shape[1], depth))
        if len(cells):
            series.append(_series(plane, traces, cells, times))
        notes.append(f"{plane.name}: {len(cells)} of {traces.shape[1]} ROIs are cells")
        places[-1] = None if places[-1] is None else places[-1][cells]
    if not series:
        raise UserError(f"{folder}: iscell.npy calls none of the ROIs a cell.")
    if len(every) > 1:
        notes.append("planes count as simultaneous; they may be up to a sample apart")
    known = all(p is not None for p in places)
    if known:
        notes.append("coordinates are stat.npy's med: x, y in pixels, z the plane")
    where = np.concatenate(places) if known else None  # type: ignore[arg-type]
    return tuple(series), np.concatenate(ids), where, tuple(notes)


def _traces(plane: Path, signal: str, neuropil: float) -> lazy.Lazy:
    """[time, rois] of spks, or of F less a share of Fneu."""
    main = lazy.mapped(plane / f"{signal}.npy", time_axis=1)
    if len(main.shape) != 2 or main.dtype.kind not in "fiu":
        raise UserError(
            f"{plane / signal}.npy has shape {main.shape[::-1]} and type {main.dtype}. "
            "Expected numbers [rois, time]."
        )
    if signal == SPKS or not neuropil:
        return main
    other = lazy.mapped(plane / "Fneu.npy", time_axis=1)
    if other.shape != main.shape:
        raise UserError(
            f"{plane}: F.npy has shape {main.shape[::-1]}, Fneu.npy "
            f"{other.shape[::-1]}. Expected the same; run suite2p again, or "
            "give --neuropil 0."
        )
    return main._replace(
        name=f"{main.name}-{neuropil:g}*Fneu.npy",
        read=lambda a, b: main.read(a, b) - np.float32(neuropil) * other.read(a, b),
    )


def _cells(plane: Path, rois: int) -> np.ndarray:
    """Numbers of the ROIs that are cells."""
    is_cell = lazy.mapped(plane / "iscell.npy").whole()
    if (
        is_cell.ndim not in (1, 2)
        or len(is_cell) != rois
        or is_cell.dtype.kind not in "fiub"
    ):
        raise UserError(
            f"{plane / 'iscell.npy'} has shape {is_cell.shape}, but there are {rois} "
            "ROIs. Expected one row for each; run suite2p again."
        )
    return np.flatnonzero(is_cell.reshape(rois, -1)[:, 0] > 0)


def _series(
    plane: Path, traces: lazy.Lazy, cells: np.ndarray, times: np.ndarray | None
) -> Series:
    name = f"{plane.name}/{traces.name}"
    if times is None:
        rate = _rate(plane)
        if rate is None:
            raise UserError(
                f"{plane / 'ops.npy'} says no frame rate (fs). Give --response-times "
                "FILE, the times of the microscope's frames in seconds."
            )
        clock = clocks.steady(traces.shape[0], rate, name=name)
    else:
        clock = clocks.timed(times, name)
        if clock.count != traces.shape[0]:
            raise UserError(
                f"{name} has {traces.shape[0]} frames, but there are {clock.count} "
                "times in --response-times. Expected one for each."
            )
    read = traces.read
    if len(cells) < traces.shape[1]:
        read = lambda a, b: traces.read(a, b)[:, cells]  # noqa: E731
    return Series(name, clock, len(cells), read, "a.u.")


def _objects(path: Path) -> Any:
    return pickled_numpy.read(path) if path.exists() else None


def _number(value: Any, path: Path) -> np.ndarray:
    try:
        return pickled_numpy.array(value)
    except Refused as error:
        raise UserError(f"{path} was not read: {error}") from None


def _rate(plane: Path) -> float | None:
    """Frames per second of a plane, as ops.npy has it."""
    path = plane / "ops.npy"
    ops = _objects(path)
    rate = ops.get("fs") if isinstance(ops, dict) else None
    return None if rate is None else float(_number(rate, path).reshape(-1)[0])


def _places(plane: Path, rois: int, depth: int) -> np.ndarray | None:
    """Middles [rois, 3]: x, y in pixels and the plane."""
    path = plane / "stat.npy"
    stat = _objects(path)
    if stat is None:
        return None
    if not isinstance(stat, list) or len(stat) != rois:
        count = len(stat) if isinstance(stat, list) else "no list of"
        raise UserError(f"{path} describes {count} ROIs, but the traces have {rois}.")
    places = np.full((rois, 3), depth, np.float32)
    for i, roi in enumerate(stat):
        middle = _number(roi.get("med", []) if isinstance(roi, dict) else [], path)
        if middle.shape != (2,) or middle.dtype.kind not in "fiu":
            raise UserError(
                f"{path}: ROI {i} has no middle (med) of two numbers. Run suite2p "
                "again, or delete the file if places do not matter."
            )
        places[i, :2] = middle[::-1]  # suite2p has y first
        if "iplane" in roi:
            places[i, 2] = float(_number(roi["iplane"], path).reshape(-1)[0])
    return places


def _name(folder: Path) -> str:
    """The first folder's name upward that is not one of suite2p's own."""
    for place in (folder.resolve(), *folder.resolve().parents):
        if not re.fullmatch(r"plane\d+|combined|suite2p", place.name):
            return safe_name(place.name)
    return safe_name("")
