"""SIGTERM and Ctrl-C as requests to stop at the next good moment."""

import _thread
import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

WORDS = (
    "stopping: the step that runs is finished and saved, then the same command goes on "
    "from there; Ctrl-C again ends at once, without saving"
)

# Seconds that a program has to end by itself after Ctrl-C, and after it is repeated.
GRACE, AT_ONCE = 3.0, 1.0


class Stopper:
    """Set by SIGTERM or Ctrl-C; a training loop then saves and returns."""

    def __init__(self):
        """Nothing is asked yet."""
        self.asked = False
        self.interrupted = False  # by Ctrl-C
        # Tells other processes, which Ctrl-C may not reach.
        self.tell: Callable[[], None] | None = None

    def __call__(self, number: int, frame: Any) -> None:
        """Remember the signal; a second Ctrl-C is KeyboardInterrupt, as usual."""
        if number == signal.SIGINT:
            if self.interrupted:
                if importing(frame):  # Ending counts the seconds
                    return
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


def importing(frame: Any) -> bool:
    """Whether a module is being imported; some crash when that is interrupted."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


class Ending:
    """The Ctrl-C of a program: raised where that is safe, and seen to its end.

    Python hears a signal in the main thread only, between two of its instructions. A
    compiler may hold that thread for minutes, and threads may be waited for. A thread
    of our own is told of each signal at once, and counts the seconds.
    """

    def __init__(self, leave: Callable[[], Any]):
        """leave must end the program at once."""
        self.leave = leave
        self.ordered = False  # Ctrl-C was pressed, and was no mere request
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.writer, False)
        self.repeats = 0  # of a signal by us

    def __call__(self, number: int, frame: Any) -> None:
        """Interrupt the main thread, later where it is importing."""
        if importing(frame):
            self.try_later()
        else:
            raise KeyboardInterrupt

    def try_later(self) -> None:
        """Have the signal repeated, which is lost or came at a bad moment."""
        with contextlib.suppress(OSError):
            os.write(self.writer, b"\0")

    def watch(self) -> None:
        """Count the seconds; runs in a thread until the pipe is closed."""
        asked, until = 0, float("inf")
        while True:
            wait = None if until == float("inf") else max(until - time.monotonic(), 0)
            if not select.select([self.reader], [], [], wait)[0]:
                return self.leave()
            numbers = os.read(self.reader, 64)
            if not numbers:  # the program has ended by itself
                return None
            for _ in range(numbers.count(signal.SIGINT)):
                if self.repeats:
                    self.repeats -= 1
                    continue
                asked += 1
                request = isinstance(signal.getsignal(signal.SIGINT), Stopper)
                if asked > 1 or not request:
                    self.ordered = True
                    seconds = GRACE if asked == 1 else AT_ONCE
                    until = min(until, time.monotonic() + seconds)
            if 0 in numbers and self is signal.getsignal(signal.SIGINT):
                time.sleep(0.02)
                self.repeats += 1
                _thread.interrupt_main()


@contextmanager
def ends_in_time(leave: Callable[[], Any]) -> Iterator[Ending]:
    """Call `leave`, which must end the program, where Ctrl-C does not end it in time.

    The first Ctrl-C of a training is a request and has no such limit (see Stopper). An
    interruption that meets a callback of a library is lost, and is raised again. One
    may also come out as another exception: `ordered` then says, after the block, why.
    An ignored Ctrl-C stays ignored.
    """
    ending = Ending(leave)
    handler, hook = signal.getsignal(signal.SIGINT), sys.unraisablehook

    def lost(args: Any) -> None:
        if args.exc_type is KeyboardInterrupt:
            ending.try_later()
        else:
            hook(args)

    before = signal.set_wakeup_fd(ending.writer, warn_on_full_buffer=False)
    watcher = threading.Thread(target=ending.watch, daemon=True)
    watcher.start()
    sys.unraisablehook = lost
    if handler is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, ending)
    try:
        yield ending
    finally:
        signal.signal(signal.SIGINT, handler)
        if sys.unraisablehook is lost:  # else a failure has left its own
            sys.unraisablehook = hook
        signal.set_wakeup_fd(before)
        os.close(ending.writer)
        watcher.join()
        os.close(ending.reader)
