"""The folder of a campaign: whose it is, and where each of its runs stands.

DIR/campaign.json              every run with its command
DIR/<stage>/<values>/          the run's own folder, a workdir where it trains
DIR/launched/<stage>/<values>  .json: how it stands; .log: what it said; .out: its JSON
"""

import shlex
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sensorium_jax.checkpoints import layout
from sensorium_jax.errors import UserError, unknown
from sensorium_jax.io import atomic, lock, names, plain_json
from sensorium_jax.run.campaign.plan import PLACE, Run
from sensorium_jax.text import duration
from sensorium_jax.training import log

PLAN, LAUNCHED = "campaign.json", "launched"
# How a run stands. A run that was stopped goes on when the campaign is launched again;
# one that failed does only where that is asked for.
WAITING, RUNNING, STOPPED = "waiting", "running", "stopped"
DONE, FAILED, PRUNED = "done", "failed", "pruned"
STATES = (DONE, PRUNED, FAILED, STOPPED, RUNNING, WAITING)
OVER = (DONE, PRUNED)
TAIL = 8  # lines of a failed run's log


class State(NamedTuple):
    """How a run stands."""

    state: str = WAITING
    attempts: int = 0
    seconds: float = 0.0  # of all attempts
    code: int | None = None  # of the last one; negative for a signal
    values: Mapping[str, Any] = {}  # fields that a search has chosen for it
    result: Mapping[str, Any] = {}  # the JSON object that it printed
    host: str = ""  # the machine of the last attempt
    why: str = ""  # how it ended where no exit code says that


KINDS: dict[str, type | tuple[type, ...]] = {  # of the fields of a State
    "state": str,
    "attempts": int,
    "seconds": (int, float),
    "code": (int, type(None)),
    "values": dict,
    "result": dict,
    "host": str,
    "why": str,
}


def _is_state(kept: Any) -> bool:
    """Whether a value, whoever has written it, says how a run stands."""
    return (
        isinstance(kept, dict)
        and all(k in KINDS and isinstance(v, KINDS[k]) for k, v in kept.items())
        and kept.get("state", WAITING) in STATES
        and abs(kept.get("code") or 0) < 256
    )


class Campaign(NamedTuple):
    """A folder and its runs."""

    folder: Path
    runs: tuple[Run, ...]

    def words(self, run: Run) -> list[str]:
        """The words of a run's command, with folders filled in."""
        place = str(self.folder.absolute())
        return [word.replace(PLACE, place) for word in run.words]

    def path(self, run: Run) -> Path:
        """The run's own folder."""
        return self.folder / run.name

    def file(self, run: Run, ending: str) -> Path:
        """A file of the engine about a run."""
        path = self.folder / LAUNCHED / run.name
        return path.with_name(f"{path.name}{ending}")

    def state(self, run: Run) -> State:
        """How a run stands; one whose folder was deleted begins anew."""
        path = self.file(run, ".json")
        if not path.is_file():
            return State()
        remedy = "Delete the file to run it again."
        kept = plain_json.load(path, remedy)
        if not _is_state(kept):
            raise UserError(f"{path} says no state of a run. {remedy}")
        state = State(**kept)
        return state if self.path(run).is_dir() else State(attempts=state.attempts)

    def stands(self, run: Run) -> tuple[State, str]:
        """How a run stands in truth, as far as this machine can tell; and a remark.

        A process that was killed with its launcher could not note its end: a run that
        says of itself that it goes on does so only while its lock is held. Locks of
        another machine cannot be seen from here.
        """
        state = self.state(run)
        if state.state != RUNNING or lock.is_held(self.folder, lock_name(run)):
            return state, ""
        if state.host in ("", socket.gethostname()):
            words = "its process ended without a word; launch again to go on with it"
            return state._replace(state=STOPPED), words
        ago = max(time.time() - self.last_sign(run), 0.0)
        return state, f"last sign of life {duration(ago)} ago, on host {state.host}"

    def last_sign(self, run: Run) -> float:
        """When a run last wrote anything, in seconds since 1970."""
        own = self.path(run)
        paths = [self.file(run, end) for end in (".json", ".log", ".out")]
        paths += [own, own / log.LOG, own / layout.STEPS]
        return max(path.stat().st_mtime for path in paths if path.exists())

    def note(self, run: Run, state: State) -> None:
        """Keep how a run stands."""
        atomic.write_json(self.file(run, ".json"), state._asdict(), durable=True)

    def tail(self, run: Run, lines: int = TAIL) -> str:
        """The last lines that a run has said."""
        path = self.file(run, ".log")
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - 100 * 100, 0))
            said = file.read().decode(errors="replace").splitlines()
        return "\n".join(said[-lines:])

    def named(self, name: str) -> Run:
        """One run by its name."""
        for run in self.runs:
            if run.name == name:
                return run
        raise unknown("run", name, [run.name for run in self.runs])


def lock_name(run: Run) -> str:
    """The lock of a run in the campaign's folder, held while its process lives."""
    return f"{LAUNCHED}/{run.name}.lock"


def claim(folder: Path, runs: Sequence[Run], file: str) -> Campaign:
    """Make a folder this campaign's own; one may grow, but none takes another's place.

    Relaunching may add runs. A run that was there must be there with the same command.
    """
    path = folder / PLAN
    atomic.need_place(folder, folder=True)
    if path.is_file():
        new = {run.name: run for run in runs}
        for old in opened(folder).runs:
            if old.name not in new or new[old.name].words != old.words:
                raise _another(folder, old, new.get(old.name))
    elif folder.is_dir() and any(folder.iterdir()):
        names = sorted(p.name for p in folder.iterdir())
        raise UserError(
            f"{folder} holds other files ({', '.join(names[:3])}) and no campaign. "
            "Choose another --workdir."
        )
    plain = {"file": file, "runs": [run._asdict() for run in runs]}
    atomic.write_json(path, plain)
    return Campaign(folder, tuple(runs))


def _another(folder: Path, old: Run, new: Run | None) -> UserError:
    differs = f"its run {old.name} is none of this one's"
    if new is not None:
        was, now = set(old.words) - set(new.words), set(new.words) - set(old.words)
        differs = f"its run {old.name} has {shlex.join(sorted(was)) or 'fewer words'}"
        differs += f" where this one has {shlex.join(sorted(now)) or 'none'}"
    return UserError(
        f"{folder} holds another campaign: {differs}. Launch its own file with the "
        "same options to go on with it, or choose another --workdir."
    )


def opened(folder: Path) -> Campaign:
    """The campaign that lies in a folder."""
    path = folder / PLAN
    if not path.is_file():
        raise UserError(
            f"{folder} holds no campaign ({PLAN}). Give the file of one: sensorium "
            "launch FILE.py --workdir DIR."
        )
    remedy = "Launch the campaign's file with another --workdir."
    plain = plain_json.load(path, remedy)
    try:
        runs = [Run(**run) for run in plain["runs"]]
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is of another version ({error}). {remedy}") from None
    before: set[str] = set()
    for run in runs:
        _check_run(run, path, remedy, before)
        before.add(run.name)
    lists = ("words", "needs")
    fixed = [run._replace(**{k: tuple(getattr(run, k)) for k in lists}) for run in runs]
    return Campaign(folder, tuple(fixed))


def _check_run(run: Run, path: Path, remedy: str, before: set[str]) -> None:
    """Refuse a run that no file of a campaign gives; its name becomes a folder.

    before: names of the runs above it, which are all that it may need.
    """
    lists = (run.words, run.needs)
    whole = (
        all(isinstance(some, list) and all(map(_is_text, some)) for some in lists)
        and run.words
        and _is_text(run.stage)
        and isinstance(run.values, dict)
        and isinstance(run.search, dict)
    )
    needs = set(run.needs) if whole else set()
    if not whole or not names.is_inside(run.name) or not needs <= before - {run.name}:
        raise UserError(
            f"{path} holds a run {run.name!r:.80} that no campaign has. Expected a "
            "name below its folder, words of a command, and needs that come before it. "
            f"{remedy}"
        )
    if run.name in before:
        raise UserError(f"{path} holds the run {run.name!r:.80} twice. {remedy}")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def line(campaign: Campaign, run: Run) -> str:
    """A line for a shell that does one run, and goes on with it when repeated."""
    words = [sys.executable, "-m", "sensorium_jax.cli", "launch", "--workdir"]
    where = shlex.join(["cd", str(Path.cwd())])
    words += [str(campaign.folder.absolute()), "--only", run.name]
    return f"{where} && {shlex.join(words)}"


def write_lines(campaign: Campaign, path: str | Path) -> None:
    """A file of such lines, stage after stage: each may begin when the last is done."""
    lines, stage = [], None
    for run in campaign.runs:
        if run.stage != stage:
            lines.append(f"# stage {run.stage}")
            stage = run.stage
        if campaign.state(run).state not in OVER:
            lines.append(line(campaign, run))
    atomic.write(path, "".join(f"{text}\n" for text in lines))


def answer(campaign: Campaign, run: Run) -> dict[str, Any]:
    """The JSON object that a run has printed; nothing where it printed none."""
    try:
        value = plain_json.load(campaign.file(run, ".out"), "")
    except (OSError, UserError):
        return {}
    return value if isinstance(value, dict) else {}
