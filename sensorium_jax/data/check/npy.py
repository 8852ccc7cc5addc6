"""Whether a .npy file is sound, whatever its bytes are."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax.findings import Fault, error

AGAIN = "fetch or write the recording again"


class Header(NamedTuple):
    """What a sound .npy file says of its array."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool


def header(path: Path) -> Header | Fault:
    """Read a .npy header, and compare it with the size of the file."""
    try:
        size = os.stat(path).st_size
        if not size:
            return error(path, "empty file", AGAIN)
        with open(path, "rb") as file:
            magic = file.read(8)
            if magic[:6] != b"\x93NUMPY":
                return _not_npy(path, magic + file.read(60))
            file.seek(0)
            shape, fortran, dtype = _parse(file)
            begin = file.tell()
    except OSError as problem:
        return error(path, f"cannot be opened: {problem.strerror}", _remedy(problem))
    except Exception as problem:  # the parser meets arbitrary bytes
        words = str(problem).splitlines()[0][:80] if str(problem) else ""
        return error(path, f"broken .npy header ({words})", AGAIN)
    if dtype.hasobject:
        return error(
            path,
            "pickled Python objects (dtype object)",
            "save it as plain numbers or text: np.save(file, array.astype(...))",
        )
    want = begin + int(np.prod(shape, dtype=object)) * dtype.itemsize
    if size < want:
        return error(path, f"truncated: {size} of {want} bytes", AGAIN)
    return Header(shape, dtype, fortran)


def _parse(file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f"format version {version}, which only structured arrays need")


def _not_npy(path: Path, begins: bytes) -> Fault:
    if begins[:2] == b"PK":
        return error(path, "a zip or .npz archive, not .npy", "unpack it")
    text = begins.decode("ascii", "ignore")
    if "git-lfs" in text or "annex/objects" in text:
        return error(
            path,
            "a pointer to the file, not the file",
            "fetch its content: git annex get",
        )
    if begins.isascii():
        first = (text.splitlines() or [""])[0][:40]
        return error(path, f"a text file, not .npy; begins {first!r}", AGAIN)
    return error(path, "not a .npy file", AGAIN)


def _remedy(problem: OSError) -> str:
    if isinstance(problem, PermissionError):
        return "make it readable: chmod u+r"
    if isinstance(problem, FileNotFoundError):
        return AGAIN
    return "put the file itself in its place"


def load(path: Path) -> np.ndarray | Fault:
    """A whole array, or why there is none."""
    head = header(path)
    if isinstance(head, Fault):
        return head
    try:
        return np.load(path)
    except (OSError, ValueError, EOFError, MemoryError) as problem:
        return error(path, f"cannot be read: {problem}"[:120], AGAIN)


def not_numbers(path: Path, dtype: np.dtype) -> Fault | None:
    """The fault of an array that should hold real numbers and does not."""
    if dtype.kind in "fiu":
        return None
    what = "complex numbers" if dtype.kind == "c" else "no real numbers"
    return error(
        path,
        f"wrong dtype: {what} ({dtype})",
        "save it as float32: np.save(file, array.astype(np.float32))",
    )


def folder_files(folder: Path) -> Iterator[Path]:
    """What lies in a folder, sorted; nothing where it cannot be listed."""
    try:
        yield from sorted(folder.iterdir())
    except OSError:
        return
