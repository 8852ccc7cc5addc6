"""Compares a store with its checksums, and with the recordings it was made from."""

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np

from sensorium_jax import progress
from sensorium_jax.data.session import MODALITIES, RESPONSES, VIDEO, Session
from sensorium_jax.data.store import facts, layout
from sensorium_jax.data.store.read import open_store
from sensorium_jax.data.store.write import checksum
from sensorium_jax.errors import UserError
from sensorium_jax.findings import Fault, error, warning
from sensorium_jax.io import atomic, plain_json, regular
from sensorium_jax.rules import UNUSED

MEND = "run the same sensorium convert again with --verify, or fetch the store again"


def damaged(store: str | Path) -> Iterator[tuple[Path, str]]:
    """Every file of a store that differs from its checksum, and how it does."""
    store = Path(store)
    for mark in sorted(store.glob("*/groups/*.json")):
        try:
            files = _marked(mark)["files"]
        except UserError:
            yield mark, "is no list of checksums"
            continue
        yield from _different(mark.parent.parent, files)
    for complete in sorted(store.glob("*/complete.json")):
        try:
            sums = facts.sums(_completed(complete), str(complete.parent))
        except UserError:
            yield complete, "is not what a conversion writes"
            continue
        yield from _different(complete.parent, sums)


def _different(folder: Path, sums: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    for name, (size, digest) in sums.items():
        if difference := _differs(folder / name, size, digest):
            yield folder / name, difference


def _marked(path: Path) -> dict[str, Any]:
    return facts.mark(regular.content(path, plain_json.MOST), str(path))


def _completed(path: Path) -> dict[str, Any]:
    return facts.complete(regular.content(path, plain_json.MOST), str(path.parent))


def _differs(path: Path, size: int, digest: str) -> str:
    if not path.exists():
        return "is missing"
    actual = regular.check(path)
    if actual != size:
        return f"has {actual} bytes, expected {size}"
    content = path.read_bytes()
    return "" if checksum(content) == [size, digest] else "has another checksum"


def structure(store: Path, sessions: Sequence[Session]) -> Iterator[Fault]:
    """What a store says that does not fit its arrays, and files that nobody knows.

    Every array is opened; what it holds is for its checksums to say.
    """
    known = {store / layout.HEADER, store / layout.LICENSE_FILE}
    names = [s.name for s in sessions]
    attributes = {"sensorium": {"version": layout.VERSION, "sessions": names}}
    if (store / layout.HEADER).read_bytes() != layout.zarr_group(attributes):
        words = "is not as a conversion writes it"
        yield error(store / layout.HEADER, words, "fetch or convert the store again")
    for session in sessions:
        yield from metadata(session, store / session.name)
        folder = store / session.name
        listed = {folder / name for name in _listed(folder)}
        known |= listed
        yield from _groups(folder, session, listed)
        if "headers" not in _completed(folder / "complete.json"):
            yield warning(
                folder / "complete.json",
                "has no checksums of zarr.json, as stores made earlier",
                "run the same sensorium convert again: it adds them",
            )
    for path in sorted(p for p in store.rglob("*") if not p.is_dir()):
        if path not in known and atomic.PARTIAL not in path.parts:
            yield warning(path, "is no file of a store", "remove it")


def _listed(folder: Path) -> Iterator[str]:
    """Every file of a mouse by its name, as its small files list them."""
    marks = sorted((folder / "groups").glob("*.json"))
    yield from (f"groups/{mark.name}" for mark in marks)
    yield from ("complete.json", "meta.npz", layout.HEADER)
    yield from (f"{what}/{layout.HEADER}" for what in MODALITIES)
    for mark in marks:
        with contextlib.suppress(UserError):  # told with the checksums
            yield from _marked(mark)["files"]


def _groups(folder: Path, session: Session, listed: set[Path]) -> Iterator[Fault]:
    """Shards that are in no list, lengths that differ between two files."""
    lengths: list[int] = []
    for mark in sorted((folder / "groups").glob("*.json")):
        with contextlib.suppress(UserError):
            lengths += _marked(mark)["lengths"]
    if lengths != [session.reader.length(row) for row in range(session.trials)]:
        words = "lists other lengths of trials than meta.npz"
        yield error(folder / "groups", words, MEND)
    for what in MODALITIES:
        if not session.has(what):
            continue
        rank = len(session.shape(what, 1)) + 1
        size = layout.group_size(_frames(session))
        rows = np.arange(session.trials)
        if what == VIDEO:
            reader: Any = session.reader
            rows = rows[reader.videos(rows) == rows]
        for group in np.unique(rows // size).tolist():
            shard = folder / what / "c" / "/".join([str(group), *["0"] * (rank - 1)])
            if shard not in listed:
                yield error(shard, "has no checksum", MEND)


def metadata(session: Session, where: Path | str) -> Iterator[Fault]:
    """Arrays that do not open, or are not cut and packed as a conversion does it."""
    reader: Any = session.reader
    for what, (shape, dtype) in reader.shapes.items():
        try:
            said = reader.metadata(what)
            reader.array(what)
        except UserError as problem:
            yield error(f"{where}/{what}", str(problem), MEND)
            continue
        wanted = layout.array_metadata(session, what, shape[1], dtype)
        for key in ("chunk_grid", "codecs", "fill_value", "dimension_names"):
            if not _agrees(said.get(key), wanted[key]):
                words = f"{key} is {said.get(key)!r:.80}, expected {wanted[key]!r:.80}"
                yield error(f"{where}/{what}/{layout.HEADER}", words, MEND)


def _agrees(said: Any, wanted: Any) -> bool:
    """Whether metadata say what is wanted; the library leaves out what is usual."""
    if isinstance(wanted, dict) and isinstance(said, dict):
        usual = {"index_location": "end", "typesize": 1}
        return all(
            _agrees(said.get(k, usual.get(k)), value) for k, value in wanted.items()
        )
    if isinstance(wanted, list) and isinstance(said, list):
        pairs = zip(said, wanted, strict=False)
        return len(said) == len(wanted) and all(_agrees(a, b) for a, b in pairs)
    return said == wanted


def _frames(session: Session) -> int:
    reader: Any = session.reader
    return reader.shapes[VIDEO][0][1]


def drop_damaged(store: Path) -> list[Path]:
    """Take back the marks of damaged groups, so that they are written again."""
    bad = [path for path, _ in damaged(store)]
    for path in bad:
        mouse = store / path.relative_to(store).parts[0]
        layout.check_inside(store, path.parent)
        (mouse / "complete.json").unlink(missing_ok=True)
        if path.parent.name == "groups" or path.name == layout.HEADER:
            path.unlink(missing_ok=True)
        elif "c" in path.relative_to(mouse).parts:
            group = int(path.relative_to(mouse).parts[2])
            (mouse / "groups" / f"{group:05d}.json").unlink(missing_ok=True)
            path.unlink(missing_ok=True)
    return bad


def compare(store: Path, recordings: Any, pool: Executor) -> None:
    """Compare every array with its source; raises UserError at the first difference."""
    total = sum(session.trials for session in recordings.sessions)
    with progress.bar("verifying", total) as bar:
        for kept, session in zip(open_store(store), recordings.sessions, strict=True):
            rows = range(session.trials)
            for problem in pool.map(lambda r, a=kept, b=session: _odd(a, b, r), rows):
                if problem:
                    raise UserError(
                        f"{session.name}, {problem}. The source changed after it was "
                        "converted, or the disk is failing: remove the store and "
                        "convert again."
                    )
                bar.add()


def _odd(kept: Any, source: Session, trial: int) -> str:
    """What differs in one trial, or nothing."""
    if source.tiers[trial] == UNUSED:
        return ""
    file = source.files[trial]
    lengths = kept.reader.length(trial), source.reader.length(trial)
    if lengths[0] != lengths[1]:
        return f"trial {file}: {lengths[0]} frames in the store, {lengths[1]} outside"
    for what in MODALITIES:
        if not source.has(what):
            continue
        a, b = kept.read(what, trial), source.read(what, trial)
        if what == RESPONSES:  # may be stored as float16, each rounded once
            b = b.astype(kept.reader.array(what).dtype.numpy_dtype).astype(np.float32)
        if not np.array_equal(a, b):
            at = np.argwhere(a != b)[0].tolist()
            return f"trial {file}: {what} differ at {at}"
    return ""
