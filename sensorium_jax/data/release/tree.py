"""What both releases share: the facts of one session's folder, read with care."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax.data.session import (
    MISSING,
    MODALITIES,
    MOST_TRIAL,
    RESPONSES,
    STATISTICS,
    VIDEO,
)
from sensorium_jax.errors import UserError
from sensorium_jax.findings import Fault
from sensorium_jax.io import names, npy

SMALL = 65_536  # bytes; larger statistics stay on disk until they are used
NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")  # the <i> of <i>.npy, in one form only
MOST_FACT = 64 << 20  # bytes; larger columns stay on disk
MOST_COLUMN = 256 << 20  # bytes of a column
TIERS = "meta/trials/tiers.npy"  # written last: without it nothing is a session
SOURCES = ("all", "stimulus_frame")  # of statistics; the first that is there counts
NEEDED = STATISTICS[:2]  # without these there is no normalization


class Facts(NamedTuple):
    """All that a session's folder says, but for the trials themselves."""

    folders: dict[str, Path]  # modality -> folder of <i>.npy; only those that are there
    tiers: np.ndarray
    files: np.ndarray  # the <i> of each row of tiers
    units: dict[str, np.ndarray]
    columns: dict[str, np.ndarray]


def open_npy(path: Path) -> np.ndarray:
    """A memory map of one file; only its header is read yet."""
    if not path.exists():
        raise UserError(
            f"{path} is missing. Expected one file per trial in every folder of data/; "
            "fetch the recording again, or run: sensorium check."
        )
    values = _sound(path, npy.mapped(path))
    if values.nbytes > MOST_TRIAL:
        raise UserError(
            f"{path} holds {values.nbytes / 1e9:.1f} GB. Expected at most "
            f"{MOST_TRIAL / 1e9:.1f} GB; cut the recording into shorter trials."
        )
    return values


def npy_shape(path: Path) -> tuple[int, ...]:
    """The shape of the array of one file, from its header."""
    return _sound(path, npy.header(path)).shape


def _sound(path: Path, result: Any) -> Any:
    """What was read, or an error that says why it could not be."""
    if not isinstance(result, Fault):
        return result
    raise UserError(
        f"{path} cannot be read ({result.finding}). Expected a .npy file; it may be "
        "cut short: fetch the recording again, or run: sensorium check."
    )


def read_npy(path: Path) -> np.ndarray:
    """One small file, in memory."""
    values = npy.small(path)
    return np.array(open_npy(path)) if isinstance(values, Fault) else values


def fact(path: Path) -> np.ndarray:
    """A small array, in memory, bytes as text; a large one stays on disk."""
    values = open_npy(path)
    if values.nbytes > MOST_FACT:
        return values
    try:
        if values.dtype.kind == "U" and not npy.is_text(values):
            raise ValueError("numbers that stand for no letter")
        return values.astype(str) if values.dtype.kind == "S" else np.array(values)
    except ValueError as error:
        raise UserError(
            f"{path} holds text that cannot be read ({error}). Expected plain text."
        ) from None


def _tiers(path: Path) -> np.ndarray:
    tiers = fact(path)
    if tiers.dtype.kind != "U" or tiers.ndim != 1 or tiers.nbytes > MOST_FACT:
        raise UserError(
            f"{path} holds {tiers.dtype} of shape {tiers.shape}. Expected text, the "
            "tier of each trial."
        )
    for name in np.unique(tiers).tolist():
        if not name.isprintable() or len(name) > names.LONGEST:
            raise UserError(
                f"{path} names a tier {name!r:.80}. Expected at most {names.LONGEST} "
                "letters without control characters; write the tiers again."
            )
    return tiers


def gather(folder: Path, stimulus: str, links: Mapping[str, str]) -> Facts:
    """Read a session's facts; `stimulus` is the folder of its videos or images.

    links name the folders that modalities lie in, where these differ from their names.
    """
    folders = {}
    for what in MODALITIES:
        name = stimulus if what == VIDEO else what
        place = folder / "data" / links.get(name, name)
        if place.is_dir() and any(place.iterdir()):
            folders[what] = place
    for what in (VIDEO, RESPONSES):
        if what not in folders:
            name = stimulus if what == VIDEO else what
            raise UserError(
                f"{folder / 'data' / name} is missing or empty. A session needs "
                f"data/{stimulus} and data/responses with one .npy per trial; unpack "
                "the whole archive of this mouse again."
            )
    path = folder / TIERS
    if not path.exists():
        raise UserError(
            f"{path} is missing, so the trials have no tiers. A session needs one tier "
            "per trial; a session still being written gets it at the end."
        )
    tiers = _tiers(path)
    files = _numbers(folders[VIDEO])
    labelled = _numbers(folders[RESPONSES])
    if not len(files):
        raise UserError(
            f"{folders[VIDEO]} holds no <i>.npy. Expected one file for each trial, "
            "numbered from 0; unpack the whole archive of this mouse again."
        )
    if not np.array_equal(files, labelled):
        odd = np.setxor1d(files, labelled)
        raise UserError(
            f"{folder}: {len(files)} files in {folders[VIDEO].name} but "
            f"{len(labelled)} in responses; they differ in trial {odd[0]}. "
            "Expected the same numbers in both; fetch the recording again."
        )
    columns = _columns(folder / "meta/trials")
    rows, files = _rows(folder, len(tiers), files)
    if len(columns.get(MISSING, tiers)) != len(tiers):
        raise UserError(
            f"{folder}/meta/trials/{MISSING}.npy has {len(columns[MISSING])} rows, "
            f"expected {len(tiers)} as tiers.npy. It says whose responses are missing; "
            "write it anew, or rename it if it says something else."
        )
    columns = {k: v[rows] for k, v in columns.items() if len(v) == len(tiers)}
    del columns["tiers"]
    return Facts(
        folders, tiers[rows], files, _columns(folder / "meta/neurons"), columns
    )


def _rows(folder: Path, tiers: int, files: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which row of the trial table each file is; numbers may have gaps.

    Row i describes file i; where the table has just one row for each file and the
    numbers go beyond it, the rows follow the files' order.
    """
    if files[-1] < tiers:
        return files, files
    if len(files) == tiers:
        return np.arange(tiers), files
    raise UserError(
        f"{folder} has trial files up to number {files[-1]}, {len(files)} in all, but "
        f"{TIERS} has {tiers} rows. Expected one row per file number; "
        "fetch the recording again."
    )


def _numbers(folder: Path) -> np.ndarray:
    """The <i> of every <i>.npy, sorted; the names of release files, nothing else."""
    stems = (p.stem for p in folder.iterdir() if p.suffix == ".npy")
    return np.sort(np.array([int(n) for n in stems if NUMBER.fullmatch(n)], np.int64))


def _columns(folder: Path) -> dict[str, np.ndarray]:
    """Every array of a folder that has rows; pickled ones are left out."""
    columns = {}
    for path in sorted(folder.glob("*.npy")) if folder.is_dir() else ():
        if not names.is_inside(path.stem):
            raise UserError(
                f"{folder} holds a file with the name {path.name!r:.80}. Expected a "
                "name without control characters; rename it."
            )
        try:
            values = fact(path)
        except UserError as error:
            if npy.OBJECTS in str(error) and path.stem != "tiers":
                continue
            raise
        if values.nbytes > MOST_COLUMN:
            raise UserError(
                f"{path} holds {values.nbytes / 1e9:.1f} GB. Expected a column of "
                f"facts, of at most {MOST_COLUMN / 1e9:.1f} GB; keep it elsewhere."
            )
        if values.ndim:
            columns[path.stem] = values
    return columns


def stored_statistics(folder: Path, name: str) -> dict[str, np.ndarray]:
    """The statistics arrays of one modality as stored; large ones as memory maps."""
    place = folder / "meta/statistics" / name
    source = next((place / s for s in SOURCES if (place / s).is_dir()), None)
    if source is None:
        raise UserError(
            f"{place / SOURCES[0]} is missing. Inputs and responses are normalized "
            "with the statistics there (mean.npy, std.npy); fetch the recording again, "
            "or write it with sensorium_jax.data.release.write, which computes them."
        )
    statistics = {}
    for key in STATISTICS:
        if key in NEEDED or (source / f"{key}.npy").exists():
            values = open_npy(source / f"{key}.npy")
            if values.dtype.kind not in "fiu" or not values.size:
                raise UserError(
                    f"{source / key}.npy holds {values.dtype} of shape {values.shape}. "
                    "Expected numbers; restore meta/statistics."
                )
            statistics[key] = np.array(values) if values.nbytes <= SMALL else values
    return statistics


def first_trial(facts: Facts) -> dict[str, np.ndarray]:
    """Every modality of the first trial, whose files hold numbers."""
    first = {w: open_npy(p / f"{facts.files[0]}.npy") for w, p in facts.folders.items()}
    rank = first[RESPONSES].ndim
    for what, x in first.items():
        odd = what != VIDEO and (x.ndim != rank or not x.ndim)
        if odd or not x.size or x.dtype.kind not in "biuf":
            raise UserError(
                f"{facts.folders[what] / str(facts.files[0])}.npy holds {x.dtype} of "
                f"shape {x.shape}. Expected numbers, with time last in films; no axis "
                "may be empty. Fetch or write the recording again."
            )
    return first


def same_files(folder: Path, files: np.ndarray) -> np.ndarray:
    """A number for each file of a folder, equal where two names are of one file."""
    told = [os.stat(folder / f"{file}.npy") for file in files]
    numbers: dict[tuple[int, int], int] = {}
    return np.array(
        [
            # A disk that does not number its files tells nothing.
            numbers.setdefault((s.st_dev, s.st_ino), i)
            if s.st_nlink > 1 and s.st_ino
            else i
            for i, s in enumerate(told)
        ],
        np.int64,
    )


def misfit(folder: Path, what: str, shape: tuple, expected: str) -> UserError:
    """The error for statistics that do not fit the trials."""
    return UserError(
        f"{folder}: the statistics of {what} have shape {shape}, but the trials need "
        f"{expected}. They belong to another recording; restore meta/statistics."
    )


def units(
    facts: Facts, folder: Path, neurons: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Unit ids (0.. where there are none) and coordinates, one row per neuron."""
    for name, values in facts.units.items():
        if name in ("unit_ids", "cell_motor_coordinates") and len(values) != neurons:
            raise UserError(
                f"{folder / 'meta/neurons' / name}.npy has {len(values)} rows, but the "
                f"responses have {neurons} neurons. Expected one row per neuron."
            )
    ids = facts.units.get("unit_ids", np.arange(neurons))
    if ids.dtype.kind not in "iuf" or ids.ndim != 1:
        raise UserError(
            f"{folder / 'meta/neurons'}/unit_ids.npy holds {ids.dtype} of shape "
            f"{ids.shape}. Expected one whole number per neuron."
        )
    if not np.isfinite(ids).all():
        raise UserError(
            f"{folder / 'meta/neurons'}/unit_ids.npy holds NaN or infinity. Expected "
            "one whole number per neuron."
        )
    ids = ids.astype(np.int64)
    coordinates = facts.units.get("cell_motor_coordinates")
    if coordinates is None:
        return ids, None
    if coordinates.dtype.kind not in "iuf" or coordinates.ndim != 2:
        raise UserError(
            f"{folder / 'meta/neurons'}/cell_motor_coordinates.npy holds "
            f"{coordinates.dtype} of shape {coordinates.shape}. Expected (neurons, 3)."
        )
    width = min(coordinates.shape[1], 3)
    coordinates_n3 = np.zeros((neurons, 3), np.float32)
    coordinates_n3[:, :width] = coordinates[:, :width]
    return ids, coordinates_n3


def check_part(where: Path, part: np.ndarray, out: np.ndarray) -> None:
    """Refuse a file whose shape or kind differs from the session's first."""
    if part.shape != out.shape:
        raise UserError(
            f"{where} gives {part.shape} (time first), expected {out.shape} as in "
            "the session's first trial. The file belongs to another recording."
        )
    if not np.can_cast(part.dtype, out.dtype, "same_kind"):
        raise UserError(
            f"{where} holds {part.dtype}, but the session's first video "
            f"{out.dtype}. Expected one kind for all; write them alike."
        )
