"""Runs of a campaign on this machine, so many at a time, each on cores of its own."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sensorium_jax.errors import UsageError
from sensorium_jax.run.campaign.child import Child, Share, begin
from sensorium_jax.run.campaign.folder import (
    FAILED,
    OVER,
    Campaign,
    State,
)
from sensorium_jax.run.campaign.plan import Run
from sensorium_jax.stop import Stopper

POLL_S = 0.1
LOOK_S = 2.0  # between looks at what others do: a run's log, other launchers
MOST_JOBS = 1000
GRACE_S = 5.0  # that runs have to end after a second Ctrl-C
Told = Callable[[str], None]


def shares(jobs: int, gpus: int) -> list[Share]:
    """What each of so many runs at a time gets: equal parts of cores, or so many GPUs.

    With gpus, as many runs go at a time as that leaves room for, at most `jobs` if
    that is not 0. With more runs than cores, they share all of them.
    """
    if jobs > MOST_JOBS:
        raise UsageError(f"--jobs is {jobs}, expected {MOST_JOBS} at most.")
    cards = visible_gpus() if gpus else []
    if gpus > len(cards):
        raise UsageError(
            f"Every run was promised {gpus} GPUs (--gpus); this machine shows "
            f"{len(cards)}. Ask for fewer, or look at CUDA_VISIBLE_DEVICES."
        )
    room = len(cards) // gpus if gpus else jobs or 1
    count = min(room, jobs or room)
    cores = sorted(os.sched_getaffinity(0))
    each = len(cores) // count if count > 1 else 0
    return [
        Share(
            tuple(cores[i * each : (i + 1) * each]),
            tuple(cards[i * gpus : (i + 1) * gpus]),
        )
        for i in range(count)
    ]


def visible_gpus(devices: Path = Path("/dev")) -> list[str]:
    """The NVIDIA cards that this process may use, by their numbers or names."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name.strip()]
    found = [p.name.removeprefix("nvidia") for p in devices.glob("nvidia[0-9]*")]
    return sorted(found, key=int)


def work(
    campaign: Campaign,
    runs: Sequence[Run],
    slots: Sequence[Share],
    stopper: Stopper,
    *,
    retry: bool = False,
    say: Told = lambda words: print(words, file=sys.stderr, flush=True),
) -> None:
    """Do every run whose needs are met, until none is left that can be done.

    Runs that another process is at are waited for. Each run begins at most once here.
    """
    busy: dict[int, Child] = {}
    if any(run.search for run in runs):
        from sensorium_jax.run.campaign import search

        search.catch_up(campaign, runs)
    left = {run.name: run for run in runs}
    due = 0.0  # when to look again what may begin, on the clock of time.monotonic
    try:
        while True:
            for slot in [s for s, child in busy.items() if _ended(child)]:
                due = 0.0
                child = busy.pop(slot)
                say(ended(child.run, end(child), campaign))
            watch(busy.values())
            if stopper.asked:
                for child in busy.values():
                    if not child.asked:
                        child.stop()
                if not busy:
                    return
            elif time.monotonic() > due:
                if not _fill(campaign, left, slots, busy, retry=retry, say=say):
                    return
                due = time.monotonic() + LOOK_S
            time.sleep(POLL_S)
    finally:
        _kill(busy.values())


def end(child: Child) -> State:
    """Note how a run ended, and tell the search that it was for."""
    state = child.end()
    if child.run.search:
        from sensorium_jax.run.campaign import search

        search.tell(child.campaign, child.run, state)
    return state


def watch(children: Iterable[Child]) -> None:
    """Let searches see the validations of their runs, now and then."""
    for child in children:
        if child.run.search and time.monotonic() > child.looked_at + LOOK_S:
            from sensorium_jax.run.campaign import search

            child.looked_at = time.monotonic()
            search.watch(child)


def chooser(campaign: Campaign, run: Run) -> Callable[[], Mapping[str, Any]] | None:
    """What tells the fields that a search wants a run to try; None for other runs."""
    if not run.search:
        return None
    from sensorium_jax.run.campaign import search

    return lambda: search.choose(campaign, run)


def _ended(child: Child) -> bool:
    return child.process.poll() is not None


def _fill(
    campaign: Campaign,
    left: dict[str, Run],
    slots: Sequence[Share],
    busy: dict[int, Child],
    *,
    retry: bool,
    say: Told,
) -> bool:
    """Begin runs where a slot is free; False when nothing goes on and nothing can."""
    elsewhere = False
    for run in list(left.values()):
        free = [i for i in range(len(slots)) if i not in busy]
        if not free:
            break
        state = campaign.state(run)
        if state.state in OVER or (state.state == FAILED and not retry):
            del left[run.name]
            continue
        if not met(campaign, run):
            continue
        child = begin(campaign, run, slots[free[0]], choose=chooser(campaign, run))
        if child is None:  # another process holds it, or has just done it
            elsewhere = True
            continue
        del left[run.name]
        busy[free[0]] = child
        again = f", attempt {child.state.attempts}" if child.state.attempts > 1 else ""
        say(f"begun    {run.name}{again}")
    return bool(busy) or elsewhere


def met(campaign: Campaign, run: Run) -> bool:
    """Whether every run that this one needs is done."""
    return all(campaign.state(campaign.named(n)).state in OVER for n in run.needs)


def ended(run: Run, state: State, campaign: Campaign) -> str:
    """What to say of a run that has ended."""
    words = f"{state.state:8} {run.name} ({state.seconds:.0f} s)"
    if state.state == FAILED:
        words += f", {cause(state)}; the end of its log:\n{campaign.tail(run)}"
    return words


def cause(state: State) -> str:
    """How a run failed."""
    if state.why:
        return state.why
    if state.code is None or state.code >= 0:
        return f"exit code {state.code}"
    return f"killed by {signal.Signals(-state.code).name}"


def _kill(children) -> None:
    """End what still runs, at once where it does not save in time."""
    children = list(children)
    for child in children:
        child.stop()
    until = time.monotonic() + GRACE_S
    for child in children:
        while not _ended(child) and time.monotonic() < until:
            time.sleep(POLL_S)
        if not _ended(child):
            child.process.kill()
        end(child)
