"""SIGTERM as a request to stop at the next good moment."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass
class Stopper:
    """Set by SIGTERM; a training loop then saves and returns."""

    asked: bool = False

    def __call__(self, number: int, frame: Any) -> None:
        """Remember the signal."""
        self.asked = True


@contextmanager
def stop_on_sigterm() -> Iterator[Stopper]:
    """Turn SIGTERM into a request to stop (only the main thread may catch signals).

    Inside another such context this is that one, so that a command can begin to listen
    before it imports what takes seconds.
    """
    outer = signal.getsignal(signal.SIGTERM)
    if isinstance(outer, Stopper):
        yield outer
        return
    stopper = Stopper()
    if threading.current_thread() is not threading.main_thread():
        yield stopper
        return
    signal.signal(signal.SIGTERM, stopper)
    try:
        yield stopper
    finally:
        signal.signal(signal.SIGTERM, outer)
