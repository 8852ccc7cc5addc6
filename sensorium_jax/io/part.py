"""The half-fetched file: its lock, the note beside it, and the final check."""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sensorium_jax.errors import UserError
from sensorium_jax.io import atomic
from sensorium_jax.io.served import Served


class Again(Exception):
    """This attempt failed; another may succeed. slow: what came counts for nothing."""

    def __init__(self, words: str, *, slow: bool = False):
        """Why it failed, in words."""
        super().__init__(words)
        self.slow = slow


@dataclass(frozen=True)
class Job:
    """A file wanted: from where, to where, and what is known of it."""

    url: str
    path: Path
    size: int | None
    sha256: str | None
    stall: float  # seconds
    title: str

    @property
    def part(self) -> Path:
        """Where bytes gather."""
        return self.path.with_name(self.path.name + ".part")

    @property
    def note(self) -> Path:
        """Where the server's words about the part are kept."""
        return self.path.with_name(self.path.name + ".part.json")


@contextlib.contextmanager
def locked(part: Path) -> Iterator[BinaryIO]:
    """The part file open for update, held by one process at a time."""
    with open(part, "ab") as lock:  # append creates it without cutting it
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(
                f"Another process is downloading {part.name}. Wait for it or end it."
            ) from error
        try:
            with open(part, "r+b") as file:
                yield file
        finally:
            if part.exists() and not part.stat().st_size:
                part.unlink()


def remember(job: Job, said: Served) -> None:
    """Note what the server said, so that a later run may resume."""
    atomic.write(job.note, json.dumps({"url": job.url, **said._asdict()}))


def recall(job: Job) -> Served | None:
    """What the server said when the part was begun, if it is of the same address."""
    try:
        note = json.loads(job.note.read_text())
        known = Served(note["size"], note["validator"], note["digests"])
        return known if note["url"] == job.url and known.size is not None else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def discard(job: Job, file: BinaryIO) -> None:
    """Forget what was fetched."""
    file.truncate(0)
    job.note.unlink(missing_ok=True)


def length(file: BinaryIO) -> int:
    """Bytes in an open file."""
    file.flush()
    return os.fstat(file.fileno()).st_size


def verify(job: Job, file: BinaryIO, said: Served, *, resumed: bool) -> None:
    """Compare the part with every length and checksum known."""
    have, want = length(file), said.size if job.size is None else job.size
    if want is not None and have != want:
        raise Again(f"the connection ended after {have} of {want} bytes")
    wanted = said.digests | ({"sha256": job.sha256.lower()} if job.sha256 else {})
    for name, expected in wanted.items():
        file.flush()
        with job.part.open("rb") as whole:
            digest = hashlib.file_digest(whole, name).hexdigest()
        if digest == expected:
            continue
        discard(job, file)
        words = f"the {name} is {digest}, expected {expected}"
        if resumed or want is None:  # an older part, or an unseen end, may be to blame
            raise Again(words)
        raise UserError(f"{job.url}: {words}. The file was not kept.")


def check_existing(job: Job) -> None:
    """Compare a file that is already there with what is known of it."""
    have = job.path.stat().st_size
    if job.size is not None and have != job.size:
        raise UserError(
            f"{job.path} has {have} bytes, expected {job.size}. Delete it and retry."
        )
    if job.sha256:
        with job.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != job.sha256.lower():
            raise UserError(
                f"{job.path} has sha256 {digest}, expected {job.sha256}. "
                "Delete it and retry."
            )
