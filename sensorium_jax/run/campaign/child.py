"""One run as a child process: begun, watched, asked to stop, and its end noted."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

from sensorium_jax.errors import UserError
from sensorium_jax.io.lock import only_writer
from sensorium_jax.run.campaign.folder import (
    DONE,
    FAILED,
    OVER,
    PRUNED,
    RUNNING,
    STOPPED,
    Campaign,
    State,
    answer,
    lock_name,
)
from sensorium_jax.run.campaign.plan import Run, words_of

PROGRAM = (sys.executable, "-m", "sensorium_jax.cli")
# The child is asked to stop when its parent dies, however that happens, and keeps to
# its cores. It becomes the command then, so that signals reach that directly.
BECOME = """
import ctypes, os, signal, sys
parent, cores = int(sys.argv[1]), sys.argv[2]
try:
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
except (AttributeError, OSError):
    pass
if os.getppid() != parent:
    sys.exit(143)
if cores:
    os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
os.execv(sys.argv[3], sys.argv[3:])
"""
# Exit codes of a run that was asked to stop, and did without saying that it saved.
INTERRUPTED = (130, 143, -signal.SIGINT, -signal.SIGTERM, -signal.SIGKILL)


class Share(NamedTuple):
    """What a run may use of this machine; empty for all of it."""

    cores: tuple[int, ...] = ()
    gpus: tuple[str, ...] = ()


WHOLE = Share()


class Child:
    """A run that is going on."""

    def __init__(
        self,
        campaign: Campaign,
        run: Run,
        state: State,
        held: ExitStack,
        *,
        first: bool = True,
    ):
        """Know what goes on; begin makes one. first: whether to note how it ends."""
        self.campaign, self.run, self.state, self.held = campaign, run, state, held
        self.first = first
        self.process: Any = None
        self.began = time.monotonic()
        self.asked = False  # to stop
        self.pruned = False  # given up by a search
        self.looked_at = 0.0  # by a search, on the clock of time.monotonic
        self.reported = 0  # validations that a search knows of

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Ask it to stop; a training saves first."""
        self.asked = True
        if self.process.poll() is None:
            self.process.send_signal(number)

    def end(self) -> State:
        """Note how a run ended that has ended; its folder is free then."""
        code = self.process.wait()
        result = answer(self.campaign, self.run)
        spent = self.state.seconds + time.monotonic() - self.began
        state = self.state._replace(seconds=round(spent, 1), code=code, result=result)
        state = state._replace(state=self._ending(code, result))
        if self.first:
            self.campaign.note(self.run, state)
        self.held.close()
        return state

    def _ending(self, code: int, result: Mapping[str, Any]) -> str:
        if self.pruned and (result.get("stopped") or code in INTERRUPTED):
            return PRUNED
        if code == 0:
            return STOPPED if result.get("stopped") is True else DONE
        return STOPPED if self.asked and code in INTERRUPTED else FAILED


def begin(
    campaign: Campaign,
    run: Run,
    share: Share = WHOLE,
    *,
    choose: Callable[[], Mapping[str, Any]] | None = None,
    first: bool = True,
) -> Child | None:
    """Begin a run, or go on with it; None where another process is at it, or was.

    choose gives the fields that a search wants tried, once for every run. first:
    whether this process speaks for all of a run of several.
    """
    held = ExitStack()
    lock = None
    if first:
        name = lock_name(run)
        try:
            lock = held.enter_context(only_writer(campaign.folder, "launch", name))
        except UserError:
            return None
    state = campaign.state(run)  # which another process may have noted just now
    if state.state in OVER:
        held.close()
        return None
    chosen = dict(state.values or (choose() if choose is not None else {}))
    state = State(
        state=RUNNING,
        attempts=state.attempts + 1,
        seconds=state.seconds,
        values=chosen,
        host=socket.gethostname(),
    )
    child = Child(campaign, run, state, held, first=first)
    campaign.path(run).mkdir(parents=True, exist_ok=True)
    if first:
        campaign.note(run, state)
    words = [*PROGRAM, *campaign.words(run), *words_of(chosen)]
    child.process = _spawn(campaign, run, words, share, lock, first=first)
    return child


def _spawn(
    campaign: Campaign,
    run: Run,
    words: Sequence[str],
    share: Share,
    lock: Any,
    *,
    first: bool,
) -> Any:
    cores = ",".join(map(str, share.cores))
    become = [sys.executable, "-S", "-c", BECOME, str(os.getpid()), cores]
    env = dict(os.environ)
    if share.gpus:
        env["CUDA_VISIBLE_DEVICES"] = ",".join(share.gpus)
    with ExitStack() as files:
        more = "" if first else f".{os.environ.get('SLURM_PROCID', 'other')}"
        log = files.enter_context(campaign.file(run, f"{more}.log").open("ab"))
        out = files.enter_context(campaign.file(run, f"{more}.out").open("wb"))
        return subprocess.Popen(
            [*become, *words],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=log,
            env=env,
            # It holds the lock too, so that a run that outlives us has one writer.
            pass_fds=[lock.fileno()] if lock is not None else [],
            # The terminal's Ctrl-C is ours; we ask the run to stop.
            start_new_session=True,
        )
