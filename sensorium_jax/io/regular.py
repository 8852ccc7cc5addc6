"""Opens regular files only: a pipe or a device would block, or never end."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from sensorium_jax.errors import UserError

KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def kind(mode: int) -> str:
    """What a path is that is neither a file nor a folder, in words; else nothing."""
    return next((words for test, words in KINDS if test(mode)), "")


def check(path: str | Path) -> int:
    """The bytes of a file, for readers that open it by its name; refuses what is none.

    Links are followed. What is missing or may not be read is the reader's to tell.
    """
    try:
        info = os.stat(path)
    except OSError:
        return 0
    if odd := kind(info.st_mode):
        raise UserError(
            f"{path} is {odd}, expected a file. Nothing was read of it; remove it, or "
            "put the file itself in its place."
        )
    return info.st_size


def opened(path: str | Path) -> BinaryIO:
    """A regular file, open for reading."""
    check(path)
    # Even if the path became a pipe since, opening it does not wait for a writer.
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise IsADirectoryError(f"{path} is no file")
    return file


def content(path: str | Path, most: int) -> bytes:
    """All bytes of a small file; refuses more than `most`."""
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(most + 1) if size <= most else b""
    if size > most or len(data) > most:
        raise UserError(
            f"{path} has {size} bytes, expected {most} at most. It is not a file of "
            "its kind; fetch or write it again."
        )
    return data
