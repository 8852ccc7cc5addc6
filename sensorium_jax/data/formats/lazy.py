"""Arrays in files of many kinds, time first, read in parts where the kind allows it.

.npy, HDF5, MATLAB 7.3 and zarr are read in parts; .npz, older .mat and .csv are held in
memory, up to a limit.
"""

import contextlib
import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax.data.formats import hdf5
from sensorium_jax.data.formats.foreign import MOST_MEMORY, check_claim
from sensorium_jax.errors import UserError, did_you_mean, need_extra
from sensorium_jax.findings import Fault
from sensorium_jax.io import archive as zips, npy, regular

SUFFIXES = (".npy", ".npz", ".mat", ".h5", ".hdf5", ".zarr", ".csv")
BLOCK = 32 << 20  # bytes of a file that are mapped at a time


class Lazy(NamedTuple):
    """An array in a file: read(first, stop) gives a part of its first axis, time."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[int, int], np.ndarray]

    def whole(self) -> np.ndarray:
        """All of it, in memory."""
        size = int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize
        if size > MOST_MEMORY:
            raise UserError(f"{self.name} has {size / 1e9:.1f} GB, too much to hold.")
        return self.read(0, self.shape[0]) if self.shape else self.read(0, 1)


def opened(
    path: Path, variable: str | None, stack: contextlib.ExitStack, time_axis: int = 0
) -> Lazy:
    """The array of a file; variable names it where the file holds several.

    What has to stay open goes onto the stack.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(
            f"{path} is of a kind that is not read. Expected one of "
            f"{', '.join(SUFFIXES)}."
        )
    if not path.exists():
        raise UserError(f"{path} does not exist. Check the path.")
    regular.check(path)
    if suffix == ".npy":
        return mapped(path, time_axis)
    if suffix == ".zarr":
        return _zarr(path, variable, time_axis)
    if suffix in (".h5", ".hdf5") or (suffix == ".mat" and _is_hdf5(path)):
        turned = suffix == ".mat"  # MATLAB writes its axes in reverse order
        return _hdf5(path, variable, stack, time_axis, turned=turned)
    load = {".npz": _npz, ".mat": _mat, ".csv": _csv}[suffix]
    values = np.moveaxis(load(path, variable), time_axis, 0)
    name = f"{path.name}:{variable}" if variable else path.name
    return Lazy(name, values.shape, values.dtype, lambda a, b: values[a:b])


def mapped(path: Path, time_axis: int = 0) -> Lazy:
    """A .npy file, of which only the parts asked for are mapped, and not for long."""
    header = npy.header(path)
    if isinstance(header, Fault):
        raise UserError(
            f"{path}: {header.finding}. Expected an array; {header.remedy}."
        )
    shape, dtype = header.shape, header.dtype
    if not shape:
        raise UserError(f"{path} holds one number. Expected an array.")
    if time_axis in (0, -len(shape)):
        return Lazy(path.name, shape, dtype, lambda a, b: _copy(path, slice(a, b)))
    axis = _axis(time_axis, shape, path.name)
    turned = (shape[axis], *shape[:axis], *shape[axis + 1 :])

    def read(first: int, stop: int) -> np.ndarray:
        # Mapped pages count as memory until they are released, hence the blocks.
        out = np.empty((stop - first, *turned[1:]), dtype)
        row = int(np.prod(shape[1:])) * dtype.itemsize
        step = max(1, BLOCK // max(row, 1))
        for begin in range(0, shape[0], step):
            rows = slice(begin, begin + step)
            where = [rows, *(slice(None),) * (len(shape) - 1)]
            where[axis] = slice(first, stop)
            # Time goes to the front, and what was the first axis comes second.
            out[:, rows] = np.moveaxis(_copy(path, tuple(where)), axis, 0)
        return out

    return Lazy(path.name, turned, dtype, read)


def _copy(path: Path, where: Any) -> np.ndarray:
    return np.array(np.load(path, mmap_mode="r")[where])


def _axis(time_axis: int, shape: tuple[int, ...], name: str) -> int:
    if not -len(shape) <= time_axis < len(shape):
        raise UserError(f"{name} has shape {shape}, but time_axis is {time_axis}.")
    return time_axis % len(shape)


def _is_hdf5(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(19) == b"MATLAB 7.3 MAT-file"


def _hdf5(
    path: Path,
    variable: str | None,
    stack: contextlib.ExitStack,
    time_axis: int,
    *,
    turned: bool,
) -> Lazy:
    file = stack.enter_context(hdf5.opened(str(path)))
    names = [n for n in file if not n.startswith("#")]
    variable = variable or _single(names, path)
    dataset = hdf5.checked(hdf5.get(file, variable), variable)
    shape = dataset.shape[::-1] if turned else dataset.shape
    axis = _axis(time_axis, shape, f"{path.name}:{variable}")
    stored = len(shape) - 1 - axis if turned else axis
    rest = tuple(n for i, n in enumerate(shape) if i != axis)

    def read(first: int, stop: int) -> np.ndarray:
        where = [slice(None)] * len(shape)
        where[stored] = slice(first, stop)
        part = dataset[tuple(where)]
        return np.moveaxis(part.transpose() if turned else part, axis, 0)

    return Lazy(f"{path.name}:{variable}", (shape[axis], *rest), dataset.dtype, read)


def _zarr(path: Path, variable: str | None, time_axis: int) -> Lazy:
    import tensorstore

    place = path / variable if variable else path
    if variable and (Path(variable).is_absolute() or ".." in Path(variable).parts):
        raise UserError(f"'{variable}' leads out of {path}. Name an array inside it.")
    driver = "zarr3" if (place / "zarr.json").exists() else "zarr"
    spec = {"driver": driver, "kvstore": {"driver": "file", "path": f"{place}/"}}
    try:
        for file in place.rglob("*"):
            regular.check(file)
        store = tensorstore.open(spec, read=True, open=True).result()
    except ValueError as error:
        arrays = sorted(p.parent.relative_to(path) for p in path.rglob(".zarray"))
        arrays += sorted(p.parent.relative_to(path) for p in path.rglob("zarr.json"))
        names = [str(a) for a in arrays if str(a) != "."]
        known = f" Arrays in it: {', '.join(names[:8])}." if names else ""
        words = (str(error).splitlines() or [""])[0][:120]
        raise UserError(f"{place} cannot be read as zarr ({words}).{known}") from None
    shape, dtype = tuple(store.shape), np.dtype(store.dtype.numpy_dtype)
    stored = sum(p.stat().st_size for p in place.rglob("*") if p.is_file())
    check_claim(int(np.prod(shape, dtype=object)) * dtype.itemsize, stored, str(place))
    axis = _axis(time_axis, shape, str(place))
    rest = tuple(n for i, n in enumerate(shape) if i != axis)

    def read(first: int, stop: int) -> np.ndarray:
        where = [slice(None)] * len(shape)
        where[axis] = slice(first, stop)
        try:
            part = np.asarray(store[tuple(where)].read().result())
        except ValueError as error:
            words = (str(error).splitlines() or [""])[0][:160]
            raise UserError(f"{place} is damaged: {words}. Write it again.") from None
        return np.moveaxis(part, axis, 0)

    return Lazy(place.name, (shape[axis], *rest), dtype, read)


def _npz(path: Path, variable: str | None) -> np.ndarray:
    try:
        with zips.opened(path, str(path)) as archive:
            members = {m.filename.removesuffix(".npy"): m for m in archive.infolist()}
            variable = variable or _single(list(members), path)
            if variable not in members:
                raise _no_variable(variable, list(members), path)
            member = members[variable]
            if member.flag_bits & 1:
                raise UserError(f"{path} is encrypted. Save it without a password.")
            _check_held(member.file_size, member.compress_size, f"{path}:{variable}")
            with archive.open(member) as file:
                # Its own header may claim more than the archive says it holds.
                array = npy.whole(file, member.file_size, f"{path}:{variable}")
        return array
    except UserError:
        raise
    except (*zips.FAILURES, OSError, ValueError) as error:
        raise UserError(
            f"{path} is no whole .npz file ({zips.words(error)}). Save it again."
        ) from None


def _mat(path: Path, variable: str | None) -> np.ndarray:
    try:
        from scipy import io as scipy_io
    except ImportError:
        raise need_extra("scipy", "formats", "Reading MATLAB files") from None
    try:
        known = {name: (shape, kind) for name, shape, kind in scipy_io.whosmat(path)}
        variable = variable or _single(list(known), path)
        if variable not in known:
            raise _no_variable(variable, list(known), path)
        shape, kind = known[variable]
        bytes_each = {"double": 8, "int64": 8, "uint64": 8}.get(kind, 4)
        claimed = int(np.prod(shape, dtype=object)) * bytes_each
        _check_held(claimed, path.stat().st_size, f"{path}:{variable}")
        values = scipy_io.loadmat(path, variable_names=[variable])[variable]
    except UserError:
        raise
    except Exception as error:  # the parser meets arbitrary bytes
        words = (str(error).splitlines() or [""])[0][:100]
        raise UserError(f"{path} is no whole MATLAB file ({words}).") from None
    if values.dtype.kind not in "biufU":
        raise UserError(
            f"{path}:{variable} is a MATLAB {kind}. Expected an array of numbers; save "
            "the field itself as a variable."
        )
    return values


def _check_held(claimed: int, stored: int, name: str) -> None:
    check_claim(claimed, stored, name)
    if claimed > MOST_MEMORY:
        raise UserError(
            f"{name} has {claimed / 1e9:.1f} GB and would have to be held in memory. "
            "Save it as .npy, HDF5 (MATLAB: save -v7.3) or zarr, which are read in "
            "parts."
        )


def _csv(path: Path, variable: str | None) -> np.ndarray:
    columns = table(path)
    if variable:
        if variable not in columns:
            raise _no_variable(variable, list(columns), path)
        return columns[variable]
    try:
        return np.stack([c.astype(np.float64) for c in columns.values()], axis=1)
    except ValueError:
        raise UserError(
            f"{path} has columns that are no numbers. Name one: {', '.join(columns)}."
        ) from None


def table(path: Path) -> dict[str, np.ndarray]:
    """The columns of a .csv file whose first line names them; numbers where all are."""
    if regular.check(path) > MOST_MEMORY // 8:
        raise UserError(f"{path} is too long for a table. Save it as .npy or .npz.")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = [r for r in csv.reader(file) if r]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is no .csv file ({error}).") from None
    if not rows or len({len(r) for r in rows}) != 1:
        raise UserError(
            f"{path} is no table. Expected a line of names, then lines of as many "
            "values."
        )
    if all(map(_is_number, rows[0])):
        rows.insert(0, [str(i) for i in range(len(rows[0]))])
    columns = {}
    for name, *values in zip(*rows, strict=True):
        words = np.array(values, str)
        numbers = all(map(_is_number, values))
        columns[name.strip()] = words.astype(np.float64) if numbers else words
    return columns


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _single(names: list[str], path: Path) -> str:
    if len(names) == 1:
        return names[0]
    raise UserError(
        f"{path} holds {len(names)} variables: {', '.join(names[:12])}. Say which one, "
        "as variable: NAME."
    )


def _no_variable(variable: str, names: list[str], path: Path) -> UserError:
    return UserError(
        f"{path} has no variable '{variable}'. {did_you_mean(variable, names)}It "
        f"holds: {', '.join(names[:12]) or 'nothing'}."
    )
