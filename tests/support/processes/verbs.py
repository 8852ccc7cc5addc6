"""Every verb that writes, as a program that can be ended at any instant and run again.

The result of a verb is what its folder holds, but for logs and for what a process only
keeps for itself.
"""

import os
import random
import signal
import subprocess
import time
import zipfile
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


def finished(verb: Verb, *, timeout: float = 400) -> float:
    """Run it to its end; returns how long that took."""
    began = time.monotonic()
    process = program(verb)
    said = process.communicate(timeout=timeout)[0].decode()
    assert process.returncode == 0, said
    return time.monotonic() - began


def ended(verb: Verb, number: int, after: float) -> tuple[int, str, bool]:
    """Its exit code and words after a signal, and whether it heard that as a program.

    Before Python has reached the command, a Ctrl-C is Python's own matter.
    """
    process = program(verb)
    time.sleep(after)
    heard = listens(process)
    process.send_signal(number)
    said = process.communicate(timeout=60)[0].decode()
    return process.returncode, said, heard


def listens(process: subprocess.Popen) -> bool:
    """Whether a program has begun to watch for Ctrl-C: it then has a second thread."""
    try:
        return len(os.listdir(f"/proc/{process.pid}/task")) > 1
    except FileNotFoundError:
        return False


def interrupted(verb: Verb, times: int, number: int, whole: float, *, seed: int):
    """End it that many times at random instants, checking how; then run it through."""
    drawn = random.Random(seed)
    for _ in range(times):
        code, said, heard = ended(verb, number, drawn.uniform(0, whole))
        if number == signal.SIGKILL:
            assert code in (-number, 0), said
            continue
        # Zero: it had ended, or was about to.
        assert code in (130, 0) or not heard, (code, said)
        assert code != -signal.SIGSEGV, said
        assert "Traceback" not in said or not heard, said
    finished(verb)


def content(folder: Path) -> dict[str, str]:
    """A digest of every file that is a result."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not set(name.parts) & set(PASSING):
            data = path.read_bytes()
            if path.suffix == ".zip":  # which hold the time of day
                with zipfile.ZipFile(path) as archive:
                    data = b"".join(map(archive.read, sorted(archive.namelist())))
            found[str(name)] = blake2b(data, digest_size=16).hexdigest()
    return found


def zipped(tree: Path, target: Path) -> Path:
    """A recording as the mirror has it, one zip that holds its folder."""
    target.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target / f"{NAME}.zip", "w") as archive:
        for path in sorted(tree.rglob("*")):
            archive.write(path, f"{NAME}/{path.relative_to(tree)}")
    return target
