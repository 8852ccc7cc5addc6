"""Whether a .npy file is sound, whatever its bytes are."""

import io
import math
import os
import sys
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from sensorium_jax.errors import UserError
from sensorium_jax.findings import Fault, error
from sensorium_jax.io import archive, regular

AGAIN = "fetch or write the recording again"
# numpy reads a header with Python's parser, which fails now and then in Python 3.11 if
# two threads are in it: "AST constructor recursion depth mismatch".
HEADER = threading.Lock()
LONGEST = 1 << 48  # entries along one axis; more would overflow when multiplied
LONGEST_HEADER = 10_000  # bytes, which is numpy's own limit
MOST_HELD = 1 << 30  # bytes of facts and statistics
OBJECTS = "pickled Python objects (dtype object)"


class Header(NamedTuple):
    """What a sound .npy file says of its array."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    begin: int = 0  # byte of the first value


def header(path: Path) -> Header | Fault:
    """Read a .npy header, and compare it with the size of the file."""
    return _with_header(path, lambda head, file: head)


def small(path: Path) -> np.ndarray | Fault:
    """A whole array in one read, read-only: for the many small files of recordings."""
    return _with_header(path, _values)


def _with_header(path: Path, use: Callable[[Header, BinaryIO], Any]) -> Any:
    """What `use` makes of a sound header and its file, open at the values; or why not.

    Opening and reading fail in many ways, and the parser meets arbitrary bytes.
    """
    try:
        odd = regular.kind(os.stat(path).st_mode)
        if odd:
            return error(path, f"{odd}, not a file", "put the file itself there")
        with regular.opened(path) as file:
            head = _sound(path, file)
            return head if isinstance(head, Fault) else use(head, file)
    except OSError as problem:
        return error(path, f"cannot be opened: {problem.strerror}", _remedy(problem))
    except Exception as problem:
        words = str(problem).splitlines()[0][:80] if str(problem) else ""
        return error(path, f"broken .npy header ({words})", AGAIN)


def _sound(path: Path, file: BinaryIO) -> Header | Fault:
    size = os.fstat(file.fileno()).st_size
    if not size:
        return error(path, "empty file", AGAIN)
    magic = file.read(8)
    if magic[:6] != b"\x93NUMPY":
        return _not_npy(path, magic + file.read(60))
    file.seek(0)
    shape, fortran, dtype = _parse(file)
    begin = file.tell()
    if dtype.hasobject:
        return error(
            path,
            OBJECTS,
            "save it as plain numbers or text: np.save(file, array.astype(...))",
        )
    if any(not 0 <= n < LONGEST for n in shape) or not dtype.itemsize:
        return error(path, f"impossible shape {shape} of {dtype}"[:120], AGAIN)
    want = begin + math.prod(shape) * dtype.itemsize
    if size < want:
        return error(path, f"truncated: {size} of {want} bytes", AGAIN)
    return Header(shape, dtype, fortran, begin)


def _values(head: Header, file: BinaryIO) -> np.ndarray:
    count = math.prod(head.shape)
    content = file.read(count * head.dtype.itemsize)
    flat = np.frombuffer(content, head.dtype, count)
    return flat.reshape(head.shape, order="F" if head.fortran else "C")


def _parse(file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"format version {version}, which only structured arrays need")
    lead = file.read(2 if version == (1, 0) else 4)
    length = int.from_bytes(lead, "little")
    if length > LONGEST_HEADER:
        raise ValueError(f"a header of {length} bytes")
    return _parsed(version, lead + file.read(length))


@lru_cache(4096)
def _parsed(
    version: tuple[int, int], words: bytes
) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Headers of a recording are nearly all alike, so each is parsed once."""
    with HEADER:
        if version == (1, 0):
            return np.lib.format.read_array_header_1_0(io.BytesIO(words))
        return np.lib.format.read_array_header_2_0(io.BytesIO(words))


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


def mapped(path: Path) -> np.ndarray | Fault:
    """A memory map of a sound file, or why there is none; only the header is read."""
    head = header(path)
    if isinstance(head, Fault):
        return head
    order = "F" if head.fortran else "C"
    try:
        if not math.prod(head.shape):  # nothing that could be mapped
            return np.zeros(head.shape, head.dtype, order)
        return np.memmap(path, head.dtype, "r", head.begin, head.shape, order)
    except (OSError, ValueError, OverflowError, MemoryError) as problem:
        return error(path, f"cannot be read: {problem}"[:120], AGAIN)


def load(path: Path) -> np.ndarray | Fault:
    """A whole array, or why there is none."""
    array = mapped(path)
    if isinstance(array, Fault):
        return array
    if array.nbytes > MOST_HELD:
        words = f"{array.nbytes / 1e9:.1f} GB, too much for such a file"
        return error(path, words, AGAIN)
    if array.dtype.kind == "U" and not is_text(array):
        return error(path, "numbers that stand for no letter where text belongs", AGAIN)
    return np.array(array)


def is_text(array: np.ndarray) -> bool:
    """Whether every number of an array of text stands for a letter."""
    kind = np.dtype(array.dtype.byteorder.replace("|", "=") + "u4")
    numbers = np.ascontiguousarray(array).view(kind)
    return int(numbers.max(initial=0)) <= sys.maxunicode


def whole(file: Any, size: int, name: str) -> np.ndarray:
    """An array out of an archive, whose member has so many bytes as the archive says.

    Its own header may claim more.
    """
    try:
        shape, fortran, dtype = _parse(file)
    except Exception as problem:  # the parser meets arbitrary bytes
        raise UserError(
            f"{name} is no array ({str(problem)[:80]}). Save it again."
        ) from None
    if dtype.hasobject:
        raise UserError(
            f"{name} holds Python objects, which are not read. Save plain numbers: "
            "np.savez(file, name=array.astype(...))."
        )
    if any(not 0 <= n < LONGEST for n in shape) or not dtype.itemsize:
        raise UserError(f"{name} has the shape {shape!r:.80}. Save it again.")
    claimed = math.prod(shape) * dtype.itemsize
    if claimed > size:
        raise UserError(f"{name} claims {claimed} bytes, has {size}. Save it again.")
    content = file.read(claimed)
    array = np.frombuffer(content, dtype, count=math.prod(shape))
    return array.reshape(shape, order="F" if fortran else "C")


def archive_of(path: Path, most: int = MOST_HELD) -> dict[str, np.ndarray]:
    """Every array of an .npz file by name, of `most` bytes together."""
    with regular.opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        return _members(file, size, str(path), most)


def members(content: bytes, where: str, most: int) -> dict[str, np.ndarray]:
    """Every array of the bytes of an .npz file by name, of `most` bytes together."""
    return _members(io.BytesIO(content), len(content), where, most)


def _members(
    source: BinaryIO, size: int, where: str, most: int
) -> dict[str, np.ndarray]:
    try:
        with archive.opened(source, where) as opened:
            listed = archive.listed(opened, where, size, most=most)
            arrays = {}
            for member in listed:
                name = member.filename.removesuffix(".npy")
                with opened.open(member) as file:
                    arrays[name] = whole(file, member.file_size, f"{where}:{name:.80}")
            return arrays
    except (*archive.FAILURES, OSError, ValueError) as problem:
        if isinstance(problem, UserError):
            raise
        raise UserError(
            f"{where} is no whole .npz file ({problem}). {AGAIN.capitalize()}."
        ) from None


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
