"""SIGTERM and Ctrl-C as requests to stop at the next good moment."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

WORDS = (
    "stopping: the step that runs is finished and saved, then the same command goes on "
    "from there; Ctrl-C again ends at once, without saving"
)


@dataclass
class Stopper:
    """Set by SIGTERM or Ctrl-C; a training loop then saves and returns."""

    asked: bool = False
    interrupted: bool = False  # by Ctrl-C
    tell: Callable[[], None] | None = (
        None  # other processes, which Ctrl-C may not reach
    )

    def __call__(self, number: int, frame: Any) -> None:
        """Remember the signal; a second Ctrl-C is KeyboardInterrupt, as usual."""
        if number == signal.SIGINT:
            if self.interrupted:
                raise KeyboardInterrupt
            self.interrupted = True
            # The signal may have come in the middle of another print.
            with contextlib.suppress(RuntimeError):
                print(WORDS, file=sys.stderr, flush=True)
            if self.tell is not None:
                self.tell()
        self.asked = True


@contextmanager
def stop_on_signals() -> Iterator[Stopper]:
    """Turn SIGTERM and SIGINT into a request to stop, in the main thread only.

    Inside another such context this is that one, so that a command can begin to listen
    before it imports what takes seconds. An ignored Ctrl-C stays ignored.
    """
    outer = signal.getsignal(signal.SIGTERM)
    if isinstance(outer, Stopper):
        yield outer
        return
    stopper = Stopper()
    if threading.current_thread() is not threading.main_thread():
        yield stopper
        return
    before = {
        number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)
    }
    for number, handler in before.items():
        if number == signal.SIGTERM or handler is not signal.SIG_IGN:
            signal.signal(number, stopper)
    try:
        yield stopper
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
