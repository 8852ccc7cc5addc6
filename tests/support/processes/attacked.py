"""Hostile inputs in a child process: how each ends, how long it takes, what it costs.

The parent makes the inputs and lists them; the child calls the command, or the function
behind it where the command would load more than is looked at. Each must end in exit
code 1 or 2 and one paragraph.
"""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import NamedTuple

import pytest

SECONDS, MEGABYTES = 10, 500  # of work, that one input may take
HANGS = 300  # seconds by the clock, on a machine that others use too
OUT = "out"  # the folder of a case that may change


class Case(NamedTuple):
    """One input: how it is read, and what the words must say."""

    name: str
    words: tuple[str, ...]  # of the command, or of one of CALLS
    said: str = ""


# Of a long family one half runs with every test, the other with the slow suites.
HALVES = pytest.mark.parametrize(
    "half", [0, pytest.param(1, marks=pytest.mark.soak)], ids=["fast", "slow"]
)


def of_half(inputs: dict, half: int) -> list:
    """Every other input with its place among all, from the first or the second on."""
    return [(i, *item) for i, item in enumerate(inputs.items()) if i % 2 == half]


def run(root: Path, cases: list[Case], *, healthy: list[Case], env=None) -> list[str]:
    """What went wrong, case by case; healthy ones run first and set the yardstick."""
    plan = {"root": str(root), "healthy": healthy, "cases": cases}
    child = subprocess.run(
        [sys.executable, "-m", "support.processes.attacked"],
        input=json.dumps(plan),
        capture_output=True,
        text=True,
        timeout=2 * HANGS + SECONDS * len(cases),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **(env or {})},
        check=False,
    )
    seen = [json.loads(line) for line in child.stdout.splitlines()]
    problems = [f"{s['name']}: {p}" for s in seen for p in s["problems"]]
    if child.returncode or len(seen) != len(cases) + len(healthy):
        last = seen[-1]["name"] if seen else "none"
        problems.append(
            f"the child ended with {child.returncode} after {last}: "
            f"{child.stderr[-2000:]}"
        )
    return problems


# From here on in the child.


def _pth(path):
    from sensorium_jax.zoo.torch import torchfile

    torchfile.load(path)


def _objects(path):
    from sensorium_jax.io import pickled_numpy
    from sensorium_jax.io.pickled import Refused

    try:
        for item in (value := pickled_numpy.read(Path(path))):
            pickled_numpy.array(item["med"] if isinstance(item, dict) else item)
        assert isinstance(value, list)
    except Refused as refused:  # as suite2p's reader does
        from sensorium_jax.errors import UserError

        raise UserError(str(refused)) from None


def _unzip(path, out):
    from sensorium_jax.io.unzip import unzip

    unzip(path, out)


def _fetch(url, out):
    from sensorium_jax.io.get import fetch_file

    fetch_file(url, out, attempts=2, stall=0.5, pause=0.01)


def _remote(url):
    from sensorium_jax.io import remote

    with remote.opened(url, stall=0.5, attempts=2, pause=0.01, block=1000) as file:
        file.read(5000)


def _store(path):
    from sensorium_jax.data.recordings import Recordings

    for session in Recordings.open(path).sessions:
        for row in range(session.trials):
            session.trial(row)


def _url(address):
    """A store by its address, with limits of a second instead of a minute."""
    from sensorium_jax.data.store import read
    from sensorium_jax.io import small

    small.whole.__kwdefaults__.update(stall=0.5, total=1.5, attempts=2, pause=0.01)
    small.check_ranges.__kwdefaults__.update(stall=0.5)
    read.RETRIES, read.LONGEST = 1, 2.0
    _store(address)


def _validate(path, data):
    from sensorium_jax.data.recordings import Recordings
    from sensorium_jax.errors import UserError
    from sensorium_jax.submission.lint import validate

    found = validate(path, Recordings.open(data).sessions)
    if not found.accepted:
        raise UserError("; ".join(f.finding for f in found.faults))


def _read(path, data, *truth):
    from sensorium_jax.data.recordings import Recordings
    from sensorium_jax.submission.read import submissions

    options = {"truth": truth[0]} if truth else {}
    for one in submissions(path, Recordings.open(data).sessions, **options):
        list(one.predictions)


def _result(path):
    from sensorium_jax.insilico import record

    record.load(path)


def _truth(tree):
    from sensorium_jax.simulation import truths

    truths.load(tree)


CALLS = {
    "result": _result,
    "truth": _truth,
    "pth": _pth,
    "objects": _objects,
    "unzip": _unzip,
    "fetch": _fetch,
    "remote": _remote,
    "store": _store,
    "url": _url,
    "validate": _validate,
    "read": _read,
}


class Late(BaseException):
    """An input took too long."""


def _late(*_):
    raise Late


def _listing(root, case):
    """What lies beside a case, and every file of its own, but for what it may write."""
    own = [Path(w).relative_to(root) for w in case.words if w.startswith(f"{root}/")]
    places = [(entry.path, 0, 0) for entry in os.scandir(root)]
    for top in {path.parts[0] for path in own if path.parts[0] != OUT}:
        for folder, below, files in os.walk(os.path.join(root, top)):
            below[:] = [b for b in below if b != OUT]
            for name in (*below, *files):
                info = os.lstat(os.path.join(folder, name))
                size = info.st_size if name in files else 0
                places.append((os.path.join(folder, name), size, info.st_mode))
    return sorted(places)


def _memory(key):
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{key}:")[1].split()[0]) // 1024


def _called(words):
    from sensorium_jax import cli
    from sensorium_jax.errors import UserError
    from sensorium_jax.text import printable

    if words[0] not in CALLS:
        return cli.main(words)
    try:
        CALLS[words[0]](*words[1:])
    except (UserError, OSError) as error:
        reason, code = cli._reason(error)
        print(f"sensorium: {printable(reason)}", file=sys.stderr)
        return code
    return 0


def _looked(case, root, *, healthy, most):
    before, problems, code = _listing(root, case), [], None
    said = io.StringIO()
    with contextlib.suppress(OSError):  # the peak counts from here on
        Path("/proc/self/clear_refs").write_text("5")
    signal.alarm(HANGS)
    signal.setitimer(signal.ITIMER_PROF, 3 * SECONDS if healthy else SECONDS)
    began = time.process_time()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            code = _called(list(case.words))
    except SystemExit as leaving:
        code = leaving.code
    except Late:
        problems.append(f"took more than {SECONDS} s of work, or hung")
    except BaseException:
        problems.append("a traceback: " + traceback.format_exc()[-700:])
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
    took, peak = time.process_time() - began, _memory("VmHWM")
    text = said.getvalue()
    if most and peak > most + MEGABYTES:
        problems.append(f"took {peak - most} MB more than a healthy input")
    after = _listing(root, case)
    if after != before:
        changed = set(after) ^ set(before)
        problems.append(f"changed {sorted(changed)[:3]}")
    if healthy:
        problems += [f"ended in {code}: {text[-500:]}"] if code else []
    elif not problems:
        if code not in (1, 2):
            problems.append(f"ended in {code}: {text[-300:]}")
        if case.said not in text or "Traceback" in text or "\x1b" in text:
            problems.append(f"said {text[-500:]!r}, expected {case.said!r}")
    return {"name": case.name, "problems": problems, "peak": peak, "took": took}


def main():
    """Run what standard input lists; a line for each case."""
    plan, out = json.loads(sys.stdin.read()), sys.stdout
    signal.signal(signal.SIGALRM, _late)
    signal.signal(signal.SIGPROF, _late)
    os.umask(0o022)
    most = 0
    for healthy in (True, False):
        for given in plan["healthy" if healthy else "cases"]:
            case = Case(*given)
            seen = _looked(case, plan["root"], healthy=healthy, most=most)
            most = max(most, seen["peak"]) if healthy else most
            print(json.dumps(seen), file=out, flush=True)


if __name__ == "__main__":
    main()
