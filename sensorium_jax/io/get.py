"""Attempts at one file until it is whole: ask for what is missing, compare, append."""

import errno
import http.client
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, BinaryIO

from sensorium_jax.errors import UserError
from sensorium_jax.io import atomic, web
from sensorium_jax.io.part import (
    Again,
    Job,
    check_existing,
    discard,
    length,
    locked,
    recall,
    remember,
    verify,
)
from sensorium_jax.io.served import (
    AGENT,
    Served,
    check_address,
    check_host,
    content_range,
    refusal,
    served,
    words,
)
from sensorium_jax.progress import bar

CHUNK = 1 << 20
OVERLAP = 1 << 16  # bytes asked for again on resuming, and compared
DEAD_RATE = 100  # bytes per second; a server slower than this has stalled
MAX_PAUSE = 60.0
MOST_UNKNOWN = 64 << 30  # bytes of a body whose length nobody says
SPARE = 256 << 20  # bytes after which such a body is held against the disk again
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def fetch_file(
    url: str,
    path: str | Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    title: str = "",
    attempts: int = 8,
    stall: float = 60.0,
    pause: float = 1.0,
) -> Path:
    """Download url to path, resuming what an earlier call left; return path.

    `size` in bytes and `sha256` in hex are checked where given, besides what the server
    says. `attempts` failures in a row without a new byte end it, with pauses of `pause`
    seconds doubled each time; `stall` seconds without data is a failure.
    """
    check_address(url)
    path = Path(path)
    job = Job(url, path, size, sha256, stall, title or path.name)
    if path.exists():
        check_existing(job)
        return path
    check_host(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(job.part) as file:
        _persist(job, file, attempts, pause)
        file.flush()
        atomic.put(job.part, path, durable=True)
        job.note.unlink(missing_ok=True)
    return path


def _persist(job: Job, file: BinaryIO, attempts: int, pause: float) -> None:
    best, failures = length(file), 0
    while True:
        try:
            return _attempt(job, file)
        except Again as again:
            have = length(file)
            # A server that sends a byte now and then would else be asked for ever.
            failures = 0 if have > best and not again.slow else failures + 1
            best = max(best, have)
            if failures >= attempts:
                raise UserError(
                    f"Gave up on {job.url} after {attempts} attempts without progress: "
                    f"{again}. {have} bytes are kept in {job.part.name}; run the same "
                    "command again to go on from there."
                ) from again
            time.sleep(min(pause * 2**failures, MAX_PAUSE))


def _attempt(job: Job, file: BinaryIO) -> None:
    """One connection, and the check of the whole."""
    said = recall(job)
    if said is None:
        file.truncate(0)
    start = max(0, length(file) - OVERLAP)
    headers = AGENT | {"Accept-Encoding": "identity"}
    if start and said:
        headers["Range"] = f"bytes={start}-"
        if said.validator:
            headers["If-Range"] = said.validator
    request = urllib.request.Request(job.url, headers=headers)
    try:
        with web.opened(request, job.stall) as response:
            said = _receive(job, file, response, said, start)
    except urllib.error.HTTPError as error:
        with error:
            _on_status(job, file, error.code)
    except (OSError, http.client.HTTPException) as error:
        if getattr(error, "errno", None) in DISK_FULL:
            raise UserError(
                f"The disk of {job.path.parent} is full. Free some space and run the "
                "same command again to go on."
            ) from error
        if isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError):
            raise UserError(f"{job.url}: {words(error)}.") from error
        raise Again(words(error)) from error
    assert said is not None
    verify(job, file, said, resumed=start > 0)


def _receive(
    job: Job, file: BinaryIO, response: Any, said: Served | None, start: int
) -> Served:
    """Take the body of one response in; return what is now known of the whole file."""
    now = served(response)
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise UserError(f"{job.url} is sent compressed, so it cannot be checked.")
    if response.status == 206:
        where = content_range(response)
        if not said or where is None or where[0] != start or where[1] != said.size:
            discard(job, file)
            raise Again("the file changed on the server")
        now = Served(said.size, said.validator, said.digests | now.digests)
    else:
        start = 0
        if said is None or (said.size, said.validator) != (now.size, now.validator):
            file.truncate(0)  # else a server without ranges: compare, then go on
        now = _whole_size(job, file, response, now)
    need = (now.size or 0) - length(file)
    atomic.need_space(job.path.parent, need, f"for {job.path.name}")
    remember(job, now)
    _copy(job, file, response, start, now.size)
    return now


def _whole_size(job: Job, file: BinaryIO, response: Any, now: Served) -> Served:
    if now.size is None and response.headers.get("Transfer-Encoding") != "chunked":
        if job.size is None and job.sha256 is None:
            raise UserError(
                f"{job.url} is served without a length, so a broken transfer would "
                "look like a whole file. Use another mirror."
            )
        return now._replace(size=job.size)
    if job.size is not None and now.size is not None and job.size != now.size:
        discard(job, file)
        raise UserError(
            f"{job.url} has {now.size} bytes, expected {job.size}: not the same file."
        )
    return now


def _copy(
    job: Job, file: BinaryIO, response: Any, start: int, size: int | None
) -> None:
    """Write the body from byte start on, comparing what is already there."""
    known, here = length(file), start
    file.seek(here)
    mark, since, unasked = time.monotonic(), 0, 0
    with (
        bar(job.title, size, unit="B") as progress,
        web.watched(response.hang_up, 2 * job.stall, "a piece") as watch,
    ):
        progress.add(start)
        while block := response.read1(CHUNK):
            watch.again()
            same = min(len(block), max(known - here, 0))
            if same and file.read(same) != block[:same]:
                discard(job, file)
                raise Again("the bytes already here are not those of the server")
            if size is not None and here + len(block) > size:
                discard(job, file)
                raise Again("the server sent more bytes than it announced")
            file.seek(here + same)
            file.write(block[same:])
            here += len(block)
            if size is None and here > unasked:
                atomic.need_space(job.path.parent, SPARE, "to go on")
                if here > MOST_UNKNOWN:
                    raise UserError(
                        f"{job.url} says no length and has sent {here / 1e9:.0f} GB "
                        "without an end. Use another mirror."
                    )
                unasked = here + SPARE
            file.seek(here)
            progress.add(len(block))
            since += len(block)
            if time.monotonic() - mark > job.stall:
                if since < DEAD_RATE * job.stall:
                    raise Again(f"only {since} bytes in {job.stall:.0f} s", slow=True)
                mark, since = time.monotonic(), 0


def _on_status(job: Job, file: BinaryIO, code: int) -> None:
    if code == 416:  # what is here is longer than the file on the server
        discard(job, file)
        raise Again("the file changed on the server")
    if code in web.BUSY:
        raise Again(f"the server answered {code}")
    raise refusal(job.url, code)
