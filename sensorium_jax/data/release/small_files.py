"""Many small .npy files, written without numpy's cost for each, or linked."""

import io
import os
from functools import lru_cache
from pathlib import Path

import numpy as np


@lru_cache(4096)
def _head(dtype: str, shape: tuple[int, ...]) -> bytes:
    """The header that np.save writes of such an array in C order."""
    file = io.BytesIO()
    facts = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, facts)
    return file.getvalue()


def save(path: Path, array: np.ndarray, partial: Path) -> None:
    """The file that np.save writes, whole or not at all, as io.atomic.save_npy does."""
    array = np.asarray(array, order="C")
    dtype = array.dtype.str
    temporary = f"{partial}/.{path.parent.name}-{path.name}.{os.getpid()}"
    try:
        with _opened(temporary, partial) as file:
            file.write(_head(dtype, array.shape))
            file.write(array.data if array.size else b"")
        put(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _opened(temporary: str, partial: Path) -> io.BufferedWriter:
    try:
        return open(temporary, "wb")
    except FileNotFoundError:
        partial.mkdir(parents=True, exist_ok=True)
        return open(temporary, "wb")


def put(temporary: str, path: Path) -> None:
    """Give a whole file its final name."""
    if not os.path.isdir(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    os.replace(temporary, path)


def link(first: Path, path: Path, partial: Path) -> bool:
    """Make a file the same as another, which takes no space; False where it cannot be.

    Disks without hard links, and files with too many of them, take none.
    """
    temporary = f"{partial}/.{path.parent.name}-{path.name}.{os.getpid()}"
    try:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        os.link(first, temporary)
    except (OSError, NotImplementedError):
        return False
    put(temporary, path)
    # Two names of one file are left alone by a rename, which then does nothing.
    if os.path.lexists(temporary):
        os.unlink(temporary)
    return True
