"""A disk that cannot be written: noticed early, said once, in words."""

import errno
import logging
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax

from sensorium_jax.errors import UserError

FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO, errno.EROFS)


def disk_error(folder: Path, error: Exception) -> UserError:
    """What to say when a run cannot write."""
    steps = sorted(int(p.name) for p in folder.glob("[0-9]*") if p.name.isdigit())
    kept = f"The checkpoint of step {steps[-1]} is unharmed." if steps else ""
    reason = str(error).splitlines()[0]
    return UserError(
        f"The run could not write under {folder.parent}: {reason}. {kept} Free some "
        "space and run the same command again; it continues from there."
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

    A failed save is logged with its traceback by every thread that took part, and the
    storage library reports each callback that came too late.
    """
    log = logging.getLogger("absl")
    hooks = sys.excepthook, threading.excepthook

    def quiet(record: logging.LogRecord) -> bool:
        return record.levelno < logging.ERROR

    def main_hook(kind, value, trace):
        if not (kind is RuntimeError and "Event loop is closed" in str(value)):
            hooks[0](kind, value, trace)

    def thread_hook(args):
        if getattr(args.exc_value, "errno", None) not in FULL:
            hooks[1](args)

    log.addFilter(quiet)
    sys.excepthook, threading.excepthook = main_hook, thread_hook
    try:
        yield
    finally:
        log.removeFilter(quiet)
        sys.excepthook, threading.excepthook = hooks
