"""One writer at a time for a folder; the lock ends with its process."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sensorium_jax.errors import UserError
from sensorium_jax.io import regular

LOCK = ".lock"
# Some network disks have no locks; a run there goes on as if it were alone.
WITHOUT = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


@contextmanager
def only_writer(folder: str | Path, who: str, name: str = LOCK) -> Iterator[Any]:
    """Hold a folder for as long as the block lasts, or say who (a word) holds it.

    The folder is made if need be. The open file is given: a child process that inherits
    it holds the folder as long as it lives, also when we are gone. The file of the lock
    is gone afterwards; one that a kill left behind holds nothing.
    """
    path = Path(folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    file = _locked(path)
    if file is None:
        raise UserError(
            f"Another {who} is writing to {folder}. Wait until it ends, or choose "
            "another folder."
        )
    try:
        yield file
    finally:
        path.unlink(missing_ok=True)
        file.close()


def is_held(folder: str | Path, name: str = LOCK) -> bool:
    """Whether a process of this machine holds a folder; takes no lock to find out.

    To try the lock would refuse it to a writer that begins at that moment.
    """
    path = Path(folder) / name
    try:
        inode = path.stat().st_ino
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return False
    return any(f":{inode} " in line for line in lines)


def _opened(path: Path) -> Any:
    """The file of a lock; folders of somebody else may have a pipe or a link there."""
    if path.is_symlink():
        raise UserError(f"{path} is a link, expected a file. Remove it.")
    regular.check(path)
    # Even if it became another since, it is not waited for, and not followed.
    flags = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW
    return os.fdopen(os.open(path, flags, 0o666), "a")


def _locked(path: Path) -> Any:
    """The open file of a lock that is ours, or None where another process has it."""
    while True:
        file = _opened(path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        except OSError as error:
            if error.errno in WITHOUT:
                return file
            file.close()
            raise
        # Its holder may have removed the file between our opening and locking it.
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()
