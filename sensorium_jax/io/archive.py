"""Zip archives from elsewhere: how many members, how many bytes, none on another.

A few bytes can describe a million members, or members that all point at the same
bytes and unpack to a thousand times the archive.
"""

import contextlib
import lzma
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from sensorium_jax.errors import UserError
from sensorium_jax.io import regular

MOST_DIRECTORY = 12 << 20  # bytes of the list of members; 28,000 members need 4 MB
MOST_MEMBERS = 200_000
END, END_SIZE = b"PK\5\6", 22
END64, LOCATOR = b"PK\6\6", b"PK\6\7"
# What the library raises for bytes of any kind, besides OSError and ValueError.
FAILURES = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    OverflowError,
    KeyError,
)


class BadArchive(UserError):
    """An archive that is broken or hostile, not one that merely does not fit."""


@contextlib.contextmanager
def opened(source: Path | str | BinaryIO, name: str) -> Iterator[zipfile.ZipFile]:
    """A zip archive, once its list of members is known to be of a sane length."""
    with contextlib.ExitStack() as stack:
        if isinstance(source, str | Path):
            source = stack.enter_context(regular.opened(source))
        size = _directory(source)
        if size > MOST_DIRECTORY:
            raise BadArchive(
                f"{name} was not opened: the list of its members has {size} bytes, "
                "more than any archive of recordings has. Do not trust it."
            )
        yield stack.enter_context(zipfile.ZipFile(source))


def _directory(file: BinaryIO) -> int:
    """Bytes of the list of members, as the end of the archive says; 0 if unknown."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - (1 << 16) - 200))
    tail = file.read()
    file.seek(0)
    at = len(tail) - END_SIZE  # without a comment; else the library looks for it
    if tail[max(at, 0) :][:4] != END or tail[-2:] != b"\0\0":
        at = tail.rfind(END)
    if at < 0 or len(tail) < at + END_SIZE:
        return 0
    if not tail[max(at - 20, 0) : at].startswith(LOCATOR):
        return struct.unpack_from("<I", tail, at + 12)[0]
    places = [p for p in (at - 76, tail.rfind(END64, 0, at)) if p >= 0]
    sizes = [
        struct.unpack_from("<Q", tail, p + 40)[0]
        for p in places
        if tail[p : p + 4] == END64
    ]
    # A record that lies further ahead than anybody puts it is not looked for.
    return max(sizes, default=MOST_DIRECTORY + 1)


def listed(
    archive: zipfile.ZipFile, name: str, size: int, *, most: int
) -> list[zipfile.ZipInfo]:
    """Every member, refused where they are doubled, overlap, or have `most` bytes.

    size: of the archive. What a member claims is believed only so far: who unpacks it
    counts.
    """
    members = archive.infolist()
    if len(members) > MOST_MEMBERS:
        raise _hostile(name, f"it has {len(members)} members")
    if wrong := overlap(members, size):
        raise _hostile(name, wrong)
    seen: set[str] = set()
    for member in members:
        if member.filename in seen:
            raise _hostile(name, f"its member {member.filename[:80]!r} occurs twice")
        seen.add(member.filename)
        if member.flag_bits & 1:
            raise _hostile(name, f"its member {member.filename[:80]!r} is encrypted")
    total = sum(m.file_size for m in members)
    if total > most:
        raise _hostile(
            name,
            f"it would unpack to {total / 1e6:.0f} MB from {size / 1e6:.2f} MB, "
            f"expected {most / 1e6:.0f} MB at most",
        )
    return members


def overlap(members: list[zipfile.ZipInfo], size: int) -> str:
    """What is wrong with where the members lie in an archive; nothing if all is well.

    Members that share bytes unpack to more than an archive of its size can hold.
    """
    end, before = 0, ""
    for member in sorted(members, key=lambda m: m.header_offset):
        name = member.filename[:80]
        if member.header_offset < 0:
            return f"its member {name!r} lies before its beginning"
        if member.header_offset < end:
            return f"its members {before!r} and {name!r} overlap"
        end, before = member.header_offset + 30 + member.compress_size, name
    return f"its member {before!r} reaches beyond its end" if end > size else ""


def _hostile(name: str, why: str) -> BadArchive:
    return BadArchive(
        f"{name} was not unpacked: {why}. It is not what this package or its users "
        "write; do not trust it, and fetch it again."
    )


def words(problem: BaseException) -> str:
    """What the library says, in one line."""
    lines = str(problem).splitlines()
    return lines[0][:160] if lines else type(problem).__name__
