"""Many small .npy files, read and written without numpy's cost for each.

numpy reads every header with Python's parser, which takes longer than the values of a
picture do. The headers of a recording are nearly all alike, so each is parsed once.
"""

import io
import math
import os
import threading
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

MAGIC = b"\x93NUMPY"
LEAD = 12  # bytes that say how long the header is
USUAL = 128  # bytes of most headers, lead and all
# Python 3.11's parser fails now and then if two threads are in it: "AST constructor
# recursion depth mismatch".
PARSER = threading.Lock()


class Header(NamedTuple):
    """What a file says of its array."""

    shape: tuple[int, ...]
    order: str  # "C" or "F"
    dtype: np.dtype
    begin: int  # byte of the first value

    @property
    def size(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize


@lru_cache(4096)
def _parsed(version: int, words: bytes, begin: int) -> Header:
    """A header from its bytes without the lead but for their count."""
    parse = np.lib.format.read_array_header_1_0
    parse = parse if version == 1 else np.lib.format.read_array_header_2_0
    with PARSER:
        shape, fortran, dtype = parse(io.BytesIO(words))
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded")
    return Header(shape, "F" if fortran else "C", dtype, begin)


def _of(content: bytes) -> Header | int:
    """The header of a file from its first bytes, or how many more must be read."""
    if content[:6] != MAGIC or len(content) < LEAD or content[6] not in (1, 2):
        raise ValueError("the magic string is not correct; expected a .npy file")
    wide = 2 if content[6] == 1 else 4
    begin = 8 + wide + int.from_bytes(content[8 : 8 + wide], "little")
    if len(content) < begin:
        return begin
    return _parsed(content[6], content[8:begin], begin)


def header(path: str | Path) -> Header:
    """What a file says of its array; ValueError where it is no such file."""
    with open(path, "rb", buffering=0) as file:
        content = file.read(USUAL)
        found = _of(content)
        if isinstance(found, int):
            content += file.read(found - len(content))
            found = _of(content)
        if isinstance(found, int):
            raise ValueError("the file ends within its header")
        if os.fstat(file.fileno()).st_size < found.begin + found.size:
            raise ValueError(
                f"the file is shorter than its {found.size} bytes of values"
            )
    return found


def read(path: str | Path) -> np.ndarray:
    """The array of a file, in memory and read-only; errors are those of header."""
    with open(path, "rb", buffering=0) as file:
        content = file.readall()
    found = _of(content)
    if isinstance(found, int) or len(content) < found.begin + found.size:
        raise ValueError(f"the file is cut short after {len(content)} bytes")
    count = math.prod(found.shape)
    flat = np.frombuffer(content, found.dtype, count, found.begin)
    return flat.reshape(found.shape, order=found.order)  # pyright: ignore


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
