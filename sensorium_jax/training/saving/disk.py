"""A disk that cannot be written: noticed early, said once, in words."""

import errno
import logging
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax

from sensorium_jax.checkpoints import digests
from sensorium_jax.checkpoints.layout import numbered
from sensorium_jax.errors import DiskError

ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)  # more space would help
FULL = (*ROOM, errno.EIO, errno.EROFS)
OPENED = (errno.EMFILE, errno.ENFILE)  # too many files
# The storage library wraps what the system refused into a ValueError.
FILLED = re.compile(
    r"OS error (28|27|122)\b|No space left|File too large|quota exceeded", re.IGNORECASE
)
REFUSED = re.compile(
    r"OS error (5|30)\b|Input/output error|Read-only file system", re.IGNORECASE
)


def of_the_disk(error: Exception) -> bool:
    """Whether the system refused, and not a fault in what was to be saved.

    Python counts a wait that was too long, and a peer that is gone, as OSError too.
    """
    if isinstance(error, OSError):
        return not isinstance(error, (TimeoutError, ConnectionError))
    wrapped = any(p.search(str(error)) for p in (FILLED, REFUSED))
    return isinstance(error, ValueError) and wrapped


def disk_error(folder: Path, error: Exception) -> DiskError:
    """What to say when a run cannot write."""
    steps = numbered(folder)
    kept = f"The checkpoint of step {max(steps)} is unharmed." if steps else ""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    number = error.errno if isinstance(error, OSError) else None
    full = number in ROOM or FILLED.search(reason) is not None
    remedy = "Free some space" if full else "See to the disk and its permissions"
    return DiskError(
        f"The run could not write under {folder.parent}: {reason}. {kept} {remedy} and "
        "run the same command again; it continues from there."
    )


def check_space(folder: Path, state: object) -> None:
    """Refuse to begin a checkpoint for which there is no room."""
    need = sum(x.nbytes for x in jax.tree.leaves(state)) + 2**20
    free = shutil.disk_usage(folder).free
    if free < need:
        short = OSError(
            errno.ENOSPC,
            f"No space left: a checkpoint takes {need / 1e6:.0f} MB, "
            f"{free / 1e6:.0f} MB are free",
        )
        raise disk_error(folder, short)


@contextmanager
def one_voice() -> Iterator[None]:
    """Keep background threads from printing the failures that are raised as well.

    A failed save is logged with its traceback by every thread and task that took part,
    and the storage library reports each callback that came too late. These go on after
    the error has been raised, so the quiet stays when a DiskError leaves the context.
    """
    logs = [logging.getLogger(name) for name in ("absl", "asyncio")]
    hooks = sys.unraisablehook, threading.excepthook

    def quiet(record: logging.LogRecord) -> bool:
        return record.levelno < logging.ERROR

    def callback_hook(args):
        if not digests.is_left_behind(args):
            hooks[0](args)

    def thread_hook(args):
        if getattr(args.exc_value, "errno", None) not in (*FULL, *OPENED):
            hooks[1](args)

    sys.unraisablehook, threading.excepthook = callback_hook, thread_hook
    for log in logs:
        log.addFilter(quiet)
    stay = False
    try:
        yield
    except DiskError:
        stay = True
        digests.hush_left_behind()
        raise
    finally:
        if not stay:
            sys.unraisablehook, threading.excepthook = hooks
            for log in logs:
                log.removeFilter(quiet)
