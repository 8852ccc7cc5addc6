"""What a run says while it runs: a bar, a JSON line per report, TensorBoard events."""

import json
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from sensorium_jax.errors import need_extra, unknown
from sensorium_jax.io import atomic, regular
from sensorium_jax.progress import bar, watched

LOG, EVENTS, WANDB = "log.jsonl", "tb", "wandb_id"
MOST = 256 << 20  # bytes of log.jsonl; a million reports have fewer
SINKS = ("jsonl", "tensorboard", "wandb")
LARGEST = 1e38  # numbers beyond are none that a run has measured
FLUSH_S = 10  # TensorBoard sees what is no older than this
Writer = Callable[[int, dict[str, float]], Any]


def check_sinks(sinks: Sequence[str]) -> None:
    """Refuse sinks that nobody writes to."""
    for sink in sinks:
        if sink not in SINKS:
            raise unknown("sink", sink, SINKS, "Set config.train.sinks.")


@contextmanager
def open_log(
    workdir: str | Path,
    steps: int,
    done: int,
    *,
    sinks: Sequence[str] = ("jsonl",),
    title: str = "train",
    judged_by: str = "val",
) -> Iterator[Writer]:
    """A function (step, numbers) -> None that writes to every sink and moves the bar.

    sinks: jsonl (log.jsonl), tensorboard (events under tb/), wandb. The JSON file is
    cut back to the resumed step, so a rerun leaves no line twice. judged_by is what the
    validation's score is called.
    """
    workdir = Path(workdir)
    check_sinks(sinks)
    with ExitStack() as stack:
        writers: list[Writer] = []
        if "jsonl" in sinks:
            writers.append(stack.enter_context(_jsonl(workdir / LOG, done)))
        if "tensorboard" in sinks:
            writers.append(stack.enter_context(_tensorboard(workdir / EVENTS)))
        if "wandb" in sinks:
            writers.append(stack.enter_context(_wandb(workdir)))
        progress = stack.enter_context(bar(title, steps))
        progress.add(done)
        last = done
        redrawn = watched()
        spoken = time.monotonic()

        def write(step: int, numbers: dict[str, float]) -> None:
            nonlocal last, spoken
            for writer in writers:
                writer(step, numbers)
            progress.add(step - last, note(numbers, judged_by))
            last = step
            # A batch job's log gets a line now and then instead of a bar.
            if not redrawn and (time.monotonic() - spoken > 15 or "score" in numbers):
                print(
                    f"step {step}/{steps} {note(numbers, judged_by)}",
                    file=sys.stderr,
                    flush=True,
                )
                spoken = time.monotonic()

        yield write


SHOWN = {
    "loss": "loss {:.4g}",
    "correlation": "corr {:.3f}",
    "score": "{judged_by} {:.4f}",
    "samples_per_s": "{:.1f} windows/s",
    "data_wait": "wait {:.0%}",
    "eta_s": "{:.0f} s left",
}


def note(numbers: dict[str, float], judged_by: str = "val") -> str:
    """The numbers a person watches, short."""
    return " ".join(
        words.format(numbers[k], judged_by=judged_by)
        for k, words in SHOWN.items()
        if k in numbers
    )


def read(workdir: str | Path) -> list[dict[str, float]]:
    """The numbers of every report of a run, with its step; none where none were kept.

    What is no number is left out, and so are lines that a kill cut in two.
    """
    path, rows = Path(workdir) / LOG, []
    if not path.is_file():
        return rows
    for line in _lines(path):
        row = _parsed(line)
        kinds = (int, float)
        numbers = {
            k: v for k, v in row.items() if type(v) in kinds and abs(v) < LARGEST
        }
        if numbers.get("step", -1) >= 0:
            rows.append({k: float(v) for k, v in numbers.items()})
    return rows


def _lines(path: Path) -> list[str]:
    """The lines of a log, whatever its bytes are."""
    return regular.content(path, MOST).decode(errors="replace").splitlines()


def _parsed(line: str) -> dict[str, Any]:
    """The report of a line; an empty one where it is none, as after a kill."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return row if isinstance(row, dict) else {}


@contextmanager
def _jsonl(path: Path, done: int) -> Iterator[Writer]:
    kept = []
    if path.exists():
        for line in _lines(path):
            row = _parsed(line)
            step = row.get("step", 0)
            if row and type(step) in (int, float) and step <= done:
                kept.append(line)
    # A kill or a full disk must not take the lines there are.
    atomic.write(path, "".join(line + "\n" for line in kept))
    with path.open("a", buffering=1) as file:
        yield lambda step, numbers: _write_line(file, step, numbers)


def _write_line(file: Any, step: int, numbers: dict[str, float]) -> None:
    file.write(json.dumps({"step": step, **numbers, "time": time.time()}) + "\n")


@contextmanager
def _tensorboard(folder: Path) -> Iterator[Writer]:
    # Not SummaryWriter: its thread tells of a full disk by itself, in a traceback, and
    # ends where the clock of the machine is set back.
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto import event_pb2
    from tensorboardX.summary import scalar

    Event: Any = vars(event_pb2)["Event"]  # made when it is imported
    folder.mkdir(parents=True, exist_ok=True)
    events, flushed = EventsWriter(str(folder / "events")), time.monotonic()

    def write(step: int, numbers: dict[str, float]) -> None:
        nonlocal flushed
        for name, value in numbers.items():
            words = {"wall_time": time.time(), "summary": scalar(name, value)}
            events.write_event(Event(step=step, **words))
        if time.monotonic() - flushed > FLUSH_S:
            events.flush()
            flushed = time.monotonic()

    try:
        yield write
    except BaseException:  # a full disk would be told again by closing
        with suppress(OSError):
            events.close()
        raise
    events.close()


@contextmanager
def _wandb(workdir: Path) -> Iterator[Writer]:
    try:
        import wandb  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise need_extra("wandb", "wandb", "Logging to Weights & Biases") from error
    # The name of a folder is not unique, and --fresh begins another run there.
    known = workdir / WANDB
    if not known.exists():
        known.write_text(uuid.uuid4().hex)
    run = wandb.init(
        dir=str(workdir), name=workdir.name, resume="allow", id=known.read_text()
    )
    try:
        yield lambda step, numbers: run.log(numbers, step=step)
    finally:
        run.finish()
