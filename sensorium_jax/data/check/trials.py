"""Faults of the trial files that their names and headers show."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sensorium_jax.data import config
from sensorium_jax.data.release.tree import NUMBER
from sensorium_jax.data.session import (
    BEHAVIOR,
    MODALITIES,
    MOST_TRIAL,
    PUPIL,
    RESPONSES,
    VIDEO,
)
from sensorium_jax.findings import Fault, error, most_common, warning
from sensorium_jax.io.npy import (
    AGAIN,
    Header,
    folder_files,
    header,
    not_numbers,
)
from sensorium_jax.rules import Rules

TIME_LAST = "store time last: np.moveaxis(array, 0, -1)"


class Scan(NamedTuple):
    """One session as its folders and headers show it; only sound files."""

    folder: Path
    rules: Rules
    places: dict[str, Path]  # modality -> folder, of those that are there
    names: dict[str, str]  # modality -> its folder's name in this release
    headers: dict[str, dict[int, Header]]  # modality -> file number -> header
    numbers: tuple[int, ...]  # of every trial that any modality has
    keeps_negative: bool = False  # negative responses were stored on purpose
    # Neurons [n] that miss a trial, by file number, of trials that any miss.
    missing: Mapping[int, np.ndarray] = {}

    @property
    def timed(self) -> bool:
        """Whether files have an axis of time, their last."""
        return self.rules.films

    def file(self, what: str, number: int) -> Path:
        """Where one modality of one trial lies."""
        return self.places[what] / f"{number}.npy"


def scan(
    folder: Path,
    rules: Rules,
    names: dict[str, str],
    linked: dict[str, str],
    sick: set[str],
) -> tuple[Scan, list[Fault]]:
    """List and open every trial file; files known to be sick are not opened.

    names and linked are a modality's name, and the folder of data/ it lies in.
    """
    faults: list[Fault] = []
    places, listed = {}, {}
    for what in MODALITIES:
        place = folder / "data" / linked[what]
        if place.exists() and str(place) not in sick:
            if not place.is_dir():
                faults.append(error(place, "a file where a folder belongs", AGAIN))
                continue
            places[what] = place
            listed[what] = _numbers(place, faults)
    every = sorted(set().union(*listed.values()))
    headers: dict[str, dict[int, Header]] = {what: {} for what in places}
    for what, place in places.items():
        for number in every:
            path = place / f"{number}.npy"
            if number not in listed[what]:
                faults.append(_missing(path, what, listed))
            elif str(path) not in sick:
                head = header(path)
                if isinstance(head, Header):
                    wrong = not_numbers(path, head.dtype) or _too_large(path, head)
                    head = wrong or head
                if isinstance(head, Fault):
                    faults.append(head)
                else:
                    headers[what][number] = head
    keeps = config.keeps_negative(folder)
    return Scan(folder, rules, places, names, headers, tuple(every), keeps), faults


def _too_large(path: Path, head: Header) -> Fault | None:
    size = math.prod(head.shape) * head.dtype.itemsize
    if size <= MOST_TRIAL:
        return None
    words = f"{size / 1e9:.1f} GB, more than the {MOST_TRIAL / 1e9:.1f} GB of a trial"
    return error(path, words, "cut the recording into shorter trials")


def _numbers(place: Path, faults: list[Fault]) -> set[int]:
    numbers, odd = set(), []
    for path in folder_files(place):
        if path.suffix != ".npy" or path.name.startswith("."):
            continue
        if NUMBER.fullmatch(path.stem):
            numbers.add(int(path.stem))
        else:
            odd.append(path)
    faults.extend(
        warning(path, "not a trial number, so never read", "rename or remove it")
        for path in odd
    )
    return numbers


def _missing(path: Path, what: str, listed: dict[str, set[int]]) -> Fault:
    number = int(path.stem)
    others = [w for w in listed if number in listed[w]]
    return error(
        path, f"missing trial file; trial {number} has {', '.join(others)}", AGAIN
    )


def absent(scan: Scan, elsewhere: set[str]) -> Iterator[Fault]:
    """Modality folders that should be there; elsewhere holds what other mice have."""
    for what in MODALITIES:
        place = scan.folder / "data" / scan.names[what]
        if what in scan.places:
            if not scan.headers[what] and not any(folder_files(place)):
                yield error(place, "no trial files in the folder", AGAIN)
            continue
        if place.exists():
            continue
        if what in (VIDEO, RESPONSES):
            yield error(place, "missing folder", AGAIN)
        elif (scan.folder / "meta/statistics" / scan.names[what]).exists():
            yield error(
                place,
                "missing folder, though there are statistics of it",
                f"{AGAIN}, or remove meta/statistics/{scan.names[what]} to do without",
            )
        elif what in elsewhere:
            yield warning(
                place,
                "missing folder, though other mice have it",
                "this mouse gets zeros; select mice alike to avoid it",
            )


def neurons(scan: Scan, unit_ids: int | None) -> int | None:
    """Number of neurons: of unit_ids, if any file agrees, else what most files say."""
    shapes = [h.shape for h in scan.headers.get(RESPONSES, {}).values() if h.shape]
    usual = most_common(s[0] for s in shapes)
    # Files of another size, or all of them time first, do not overrule the unit ids.
    agrees = any(unit_ids in (s[0], s[-1]) for s in shapes)
    return unit_ids if agrees else usual


def shapes(scan: Scan, count: int | None) -> tuple[list[Fault], set[tuple[str, int]]]:
    """Faults of shape and kind, and which files they make useless."""
    faults, bad = [], set()
    usual = {w: _usual(scan, w) for w in scan.headers}
    for number in scan.numbers:
        frames = _frames(scan, number, count)
        for what, known in scan.headers.items():
            head = known.get(number)
            if head is None:
                continue
            wrong = _shape(scan, what, head, usual[what], count, frames)
            if wrong:
                faults.append(error(scan.file(what, number), *wrong))
                bad.add((what, number))
    return faults, bad


def _usual(scan: Scan, what: str) -> tuple[tuple[int, ...] | None, str | None]:
    """Shape (without time) and kind of dtype that most files of a modality have."""
    known = scan.headers[what].values()
    cut = -1 if scan.timed else None
    kind = most_common("f" if h.dtype.kind == "f" else h.dtype.name for h in known)
    return most_common(h.shape[:cut] for h in known), kind


def _frames(scan: Scan, number: int, count: int | None) -> int | None:
    """Padded frames of a trial: what most of its float files say."""
    if not scan.timed:
        return None
    sizes = []
    for what in (RESPONSES, BEHAVIOR, PUPIL, VIDEO):
        head = scan.headers.get(what, {}).get(number)
        if head is None or len(head.shape) < 2 or head.dtype.kind != "f":
            continue
        rows = {RESPONSES: count, PUPIL: 2}.get(what)
        flipped = rows is not None and head.shape[0] != rows == head.shape[-1]
        sizes.append(head.shape[0] if flipped else head.shape[-1])
    return most_common(sizes)


def _shape(
    scan: Scan,
    what: str,
    head: Header,
    usual: tuple[tuple[int, ...] | None, str | None],
    count: int | None,
    frames: int | None,
) -> tuple[str, str] | None:
    """Finding and remedy for one file, if its shape or kind is wrong."""
    shape, timed = head.shape, scan.timed
    ranks = (
        ((3, 4) if timed else (2, 3)) if what == VIDEO else ((2,) if timed else (1,))
    )
    if len(shape) not in ranks:
        form = _form(what, count, timed=timed)
        return f"shape {shape}, expected {form}", AGAIN
    if 0 in shape:
        return f"shape {shape} holds nothing", AGAIN
    if timed and _time_first(what, shape, count, frames):
        return f"time first: shape {shape}, expected {frames} frames last", TIME_LAST
    rows = shape[:-1] if timed else shape
    want = {RESPONSES: (count,), PUPIL: (2,)}.get(what, usual[0])
    if rows != want and None not in (want or (None,)):
        return _rows_differ(what, rows, want or ())
    if timed and frames is not None and shape[-1] != frames:
        spare = head.dtype.kind in "iu" and shape[-1] < frames
        if not spare:  # whole-number videos hold no NaN and end without padding
            return (
                f"wrong length: {shape[-1]} frames, the trial has {frames}",
                "cut or pad (with NaN) every array of a trial to the same frames",
            )
    kind = "f" if head.dtype.kind == "f" else head.dtype.name
    if kind != usual[1]:
        most = "floating point" if usual[1] == "f" else usual[1]
        return (
            f"wrong dtype: {head.dtype}, the session's others are {most}",
            "save every file of a folder with one kind of number",
        )
    return None


def _time_first(
    what: str, shape: tuple[int, ...], count: int | None, frames: int | None
) -> bool:
    if what == RESPONSES:
        return count is not None and shape[0] != count and shape[1] == count
    if what in (BEHAVIOR, PUPIL) and shape[0] > shape[1] and shape[1] <= 4:
        return frames is None or shape[0] == frames or what == PUPIL
    return frames is not None and shape[-1] != frames and shape[0] == frames


def _rows_differ(
    what: str, rows: tuple[int, ...], want: tuple[int, ...]
) -> tuple[str, str]:
    if what == RESPONSES:
        return (
            f"wrong neuron count: {rows[0]} rows, the session has {want[0]} neurons",
            "write one row per neuron, in the order of unit_ids",
        )
    if what == VIDEO:
        return f"wrong frame size: {rows}, expected {want}", AGAIN
    return f"wrong row count: {rows[0]}, expected {want[0]}", AGAIN


def _form(what: str, count: int | None, *, timed: bool) -> str:
    time = ", frames" if timed else ""
    if what == VIDEO:
        return f"([channels, ]height, width{time})"
    return f"({count if what == RESPONSES and count else 'rows'}{time or ','})"
