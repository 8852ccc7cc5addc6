"""Every verb that writes, as a program that can be ended at any instant and run again.

The result of a verb is what its folder holds, but for logs and for what a process only
keeps for itself.
"""

import os
import random
import shutil
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from sensorium_jax.data.release.download import RECORDINGS
from support.processes import runs

NAME = RECORDINGS["2023-new"][0]
# Times, places and process numbers differ from run to run; logs were never promised.
PASSING = ("log.jsonl", "tb", "run.json", "checkpoints", ".partial", ".lock")


class Verb(NamedTuple):
    """A command line that fills a folder."""

    words: tuple[str, ...]
    out: Path
    result: object = None  # a function of the folder, where its files are not all alike


def program(verb: Verb) -> subprocess.Popen:
    """Start it; its words are read with `said`."""
    verb.out.parent.mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(
        [*runs.PROGRAM, *verb.words],
        env=os.environ | runs.PATHS | {"JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finished(verb: Verb, *, timeout: float = 1200) -> float:
    """Run it to its end; returns how long that took."""
    began = time.monotonic()
    process = program(verb)
    said = process.communicate(timeout=timeout)[0].decode()
    assert process.returncode == 0, said
    return time.monotonic() - began


class End(NamedTuple):
    """How a program ended after a signal."""

    code: int
    said: str
    heard: bool  # by the program: before it is reached, Ctrl-C is Python's own matter
    lived: float  # seconds, to the signal
    took: float  # seconds, from the signal on


def ended(verb: Verb, number: int, after: float) -> End:
    """Send a signal so many seconds after the start, and wait for the end."""
    began = time.monotonic()
    process = program(verb)
    with suppress(subprocess.TimeoutExpired):
        process.wait(after)
    heard, sent = listens(process), time.monotonic()
    process.send_signal(number)
    said = process.communicate(timeout=400)[0].decode()
    lived, took = sent - began, time.monotonic() - sent
    return End(process.returncode, said, heard, lived, took)


def listens(process: subprocess.Popen) -> bool:
    """Whether a program has begun to watch for Ctrl-C: it then has a second thread."""
    try:
        return len(os.listdir(f"/proc/{process.pid}/task")) > 1
    except FileNotFoundError:
        return False


class Tally(NamedTuple):
    """What became of a verb that was ended again and again."""

    ended: int  # while it ran
    unheard: int  # of these, before the program listened
    over: int  # it had ended by itself before the signal, or as if there was none
    slowest: float  # seconds from a signal to the end


def interrupted(
    verb: Verb,
    times: int,
    number: int,
    whole: float,
    is_same: Callable[[], bool],
    *,
    seed: int,
) -> Tally:
    """End it that many times at random instants, each time going on; then run it whole.

    The instants are drawn one from each part of the time that a whole run takes. What
    comes to its end before the signal is compared with is_same, shows how long a run
    takes by now, and is begun anew; its signal is repeated.
    """
    drawn = random.Random(seed)
    shares = [(i + drawn.random()) / times for i in range(times)]
    drawn.shuffle(shares)
    ends: list[End] = []
    over = 0
    while shares:
        end = ended(verb, number, shares[-1] * whole)
        said = end.said
        if end.code == 0:
            over += 1
            assert over <= 2 * times, "it is always over before the signal"
            assert is_same(), said
            whole = min(whole, end.lived + end.took)
            shutil.rmtree(verb.out)
            verb.out.mkdir()
            continue
        shares.pop()
        ends.append(end)
        if number == signal.SIGKILL:
            assert end.code == -number, said
            continue
        assert end.code == 130 or not end.heard, (end.code, said)
        assert end.code != -signal.SIGSEGV, said
        assert "Traceback" not in said or not end.heard, said
    finished(verb)
    assert is_same()
    unheard = sum(not end.heard for end in ends)
    return Tally(len(ends), unheard, over, max(end.took for end in ends))


def content(folder: Path) -> dict[str, str]:
    """A digest of every file that is a result."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not set(name.parts) & set(PASSING):
            digest = blake2b(path.read_bytes(), digest_size=16)
            found[str(name)] = digest.hexdigest()
    return found


def zipped(tree: Path, target: Path) -> Path:
    """A recording as the mirror has it, one zip that holds its folder."""
    target.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target / f"{NAME}.zip", "w") as archive:
        for path in sorted(tree.rglob("*")):
            archive.write(path, f"{NAME}/{path.relative_to(tree)}")
    return target
