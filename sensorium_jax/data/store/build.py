"""Turns recordings into a store: resumable, checked, one group in memory at a time."""

import shutil
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sensorium_jax import progress
from sensorium_jax.data.fewer import fewer_neurons
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.session import VIDEO, Session
from sensorium_jax.data.store import facts, layout, verify as checks
from sensorium_jax.data.store.write import Group, StoreWriter, begin_store
from sensorium_jax.errors import UserError, unknown
from sensorium_jax.io import atomic, lock, plain_json, regular
from sensorium_jax.io.names import check_names
from sensorium_jax.rules import UNUSED

RESPONSE_DTYPES = ("float32", "float16")
SPARE = 64 << 20  # bytes of disk left free


class MousePlan(NamedTuple):
    """What must be known of a mouse before its first trial is written."""

    session: Session
    frames: int  # of the longest trial
    video_dtype: str
    trial_bytes: int  # of the longest trial before compression, its video aside
    video_bytes: int
    first_shown: np.ndarray  # per trial, the row of the first of the same video


class Converted(NamedTuple):
    """What came of a conversion."""

    target: str
    mice: int
    trials: int
    stored_bytes: int
    written_groups: int  # in this run; 0 when all was there already
    video_dtypes: tuple[str, ...]
    response_rounding: dict[str, float] | None  # worst mouse; None for float32
    verified: bool


def convert(
    source: str | Path,
    target: str | Path,
    *,
    verify: bool = False,
    responses: str = "float32",
    threads: int = 4,
    durable: bool = True,
    rules: str | None = None,
    neurons: float = 1.0,
) -> Converted:
    """Write the recordings at source into a store at target, or finish doing so.

    Grey levels become uint8 where every one is a whole number of 0..255. verify checks
    every checksum first, mends what differs, and in the end compares every array with
    its source. threads: trials read at a time. durable: wait for the disk after every
    group, so that a power cut costs no more than a kill. rules: as in Recordings.open;
    the store carries them. neurons: the share of each mouse's neurons to write.
    """
    if responses not in RESPONSE_DTYPES:
        raise unknown("type of responses", responses, RESPONSE_DTYPES)
    _check_target(source, target)
    recordings = fewer_neurons(Recordings.open(source, rules), neurons)
    store = Path(target).expanduser()
    check_names(recordings.names, str(source))
    writer = lock.only_writer(store, "conversion", f"{atomic.PARTIAL}/lock")
    with writer, ThreadPoolExecutor(threads) as pool:
        if verify:
            checks.drop_damaged(store)
        begin_store(store, recordings.names)
        plans = [_plan(store, s, responses, pool) for s in recordings.sessions]
        _check_space(store, plans)
        said, written = [], 0
        total = sum(_bytes(plan, 0) for plan in plans)
        with progress.bar("converting", total, unit="B") as bar:
            for plan in plans:
                writer = StoreWriter(
                    store,
                    plan.session,
                    frames=plan.frames,
                    video_dtype=plan.video_dtype,
                    response_dtype=responses,
                    durable=durable,
                    first_shown=plan.first_shown,
                )
                written += _fill(writer, pool, bar, plan)
                said.append(writer.finish())
        if verify:
            checks.compare(store, recordings, pool)
        shutil.rmtree(store / atomic.PARTIAL)
    rounding = [s["response_rounding"] for s in said if "response_rounding" in s]
    return Converted(
        target=str(target),
        mice=len(said),
        trials=sum(s.trials for s in recordings.sessions),
        stored_bytes=sum(s["bytes"] for s in said),
        written_groups=written,
        video_dtypes=tuple(plan.video_dtype for plan in plans),
        response_rounding=max(rounding, key=lambda r: r["relative_rms"], default=None),
        verified=verify,
    )


def _fill(
    writer: StoreWriter, pool: Executor, bar: progress.Bar, plan: MousePlan
) -> int:
    """Write the groups that are missing; returns how many."""
    session, written, seen = writer.session, 0, 0
    while True:
        size = _bytes(plan, seen) - _bytes(plan, writer.next)
        bar.add(size, session.name[:24])
        seen = writer.next
        if seen == session.trials:
            return written
        group = writer.empty(writer.done)
        reads = [
            pool.submit(
                *(_read, session, trial, group, place),
                video=bool(writer.first_r[trial] == trial),
            )
            for place, trial in enumerate(writer.rows(writer.done))
        ]
        for read in reads:
            read.result()
        writer.write(group)
        written += 1


def _read(
    session: Session, trial: int, group: Group, place: int, *, video: bool
) -> None:
    """One trial into its place; trials of no tier are left out and have no frames.

    video: whether its video is wanted.
    """
    if session.tiers[trial] == UNUSED:
        return
    length = session.reader.length(trial)
    group.lengths[place] = length
    for what, arrays in group.arrays.items():
        if what == VIDEO and not video:
            continue
        x = session.read(what, trial)
        arrays[place, :length] = x
        if what == VIDEO and arrays.dtype != x.dtype:
            _check_same(arrays[place, :length], x, session, trial)


def _check_same(
    stored: np.ndarray, x: np.ndarray, session: Session, trial: int
) -> None:
    if not np.array_equal(stored, x):
        raise UserError(
            f"{session.where}: the video of trial {session.files[trial]} changed while "
            "it was converted, or is not what the store was begun from. Remove the "
            "store and convert again."
        )


def _plan(store: Path, session: Session, responses: str, pool: Executor) -> MousePlan:
    """Look at every trial's length and grey levels, unless an earlier run did."""
    first_shown = session.first_shown()
    header = store / session.name / layout.HEADER
    if header.exists():
        content = regular.content(header, plain_json.MOST)
        known = facts.header(content, str(header.parent), session.name)
        frames, video_dtype = known.frames, known.dtypes[VIDEO]
    else:
        rows = np.flatnonzero(session.tiers != UNUSED)
        frames = max(pool.map(session.reader.length, rows.tolist()), default=1)
        rows = np.unique(first_shown[rows]).tolist()
        video_dtype = _video_dtype(session, rows, pool)
    pixels = int(np.prod(session.frame_shape)) * np.dtype(video_dtype).itemsize
    neurons = session.neurons * np.dtype(responses).itemsize
    trial_bytes = frames * (neurons + 4 * (session.behaviors + 2))
    return MousePlan(
        session, frames, video_dtype, trial_bytes, frames * pixels, first_shown
    )


def _bytes(plan: MousePlan, row: int) -> int:
    """Bytes of the trials from a row on, before compression."""
    rows = np.arange(row, plan.session.trials)
    videos = int((plan.first_shown[rows] == rows).sum())
    return plan.trial_bytes * len(rows) + plan.video_bytes * videos


def _video_dtype(session: Session, rows: list[int], pool: Executor) -> str:
    """The type uint8 where it keeps every grey level of these trials, else float32."""
    if session.video_dtype == np.uint8:
        return "uint8"
    title = f"reading grey levels of {session.name[:24]}"
    with progress.bar(title, len(rows)) as bar:
        for start in range(0, len(rows), layout.GROUP):
            part = rows[start : start + layout.GROUP]
            if not all(pool.map(lambda row: _whole_greys(session, row), part)):
                return "float32"
            bar.add(len(part))
    return "uint8"


def _whole_greys(session: Session, trial: int) -> bool:
    x = session.read(VIDEO, trial)
    return bool(np.all((x >= 0) & (x <= 255) & (x == np.rint(x))))


def _check_target(source: str | Path, target: str | Path) -> None:
    if "://" in str(target):
        raise UserError(
            f"{target} is a URL. Convert to a folder and copy that to its server."
        )
    store = Path(target).expanduser()
    if store.exists() and not store.is_dir():
        raise UserError(f"{store} is a file, expected a folder or nothing.")
    local = "://" not in str(source)
    if local and store.resolve() == Path(source).expanduser().resolve():
        raise UserError(f"{store} is both source and target; choose another target.")
    strangers = store.is_dir() and not (store / layout.HEADER).exists()
    if strangers and {p.name for p in store.iterdir()} - {
        atomic.PARTIAL,
        layout.LICENSE_FILE,
    }:
        raise UserError(
            f"{store} holds other files and no store. Expected an empty folder, none, "
            "or a store begun earlier; choose another target."
        )


def _check_space(store: Path, plans: list[MousePlan]) -> None:
    need = 0
    for plan in plans:
        marks = len(list((store / plan.session.name / "groups").glob("*.json")))
        need += _bytes(plan, marks * layout.group_size(plan.frames))
    remedy = "Make room, choose another disk, or convert with responses as float16."
    atomic.need_space(store, need + SPARE, "for the store at most", remedy)
