"""Compares a store with its checksums, and with the recordings it was made from."""

import json
from collections.abc import Iterator
from concurrent.futures import Executor
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from sensorium_jax import progress
from sensorium_jax.data.session import MODALITIES, RESPONSES, Session
from sensorium_jax.data.store.read import open_store
from sensorium_jax.errors import UserError
from sensorium_jax.rules import UNUSED


def damaged(store: str | Path) -> Iterator[tuple[Path, str]]:
    """Every file of a store that differs from its checksum, and how it does."""
    store = Path(store)
    for mark in sorted(store.glob("*/groups/*.json")):
        try:
            files = json.loads(mark.read_bytes())["files"]
        except (ValueError, KeyError, TypeError):
            yield mark, "is no list of checksums"
            continue
        for name, expected in files.items():
            if difference := _differs(mark.parent.parent / name, *expected):
                yield mark.parent.parent / name, difference
    for complete in sorted(store.glob("*/complete.json")):
        meta = complete.with_name("meta.npz")
        try:
            expected = json.loads(complete.read_bytes())["meta"]
        except (ValueError, KeyError, TypeError):
            yield complete, "is not what a conversion writes"
            continue
        if difference := _differs(meta, *expected):
            yield meta, difference


def _differs(path: Path, size: int, digest: str) -> str:
    if not path.exists():
        return "is missing"
    content = path.read_bytes()
    if len(content) != size:
        return f"has {len(content)} bytes, expected {size}"
    actual = blake2b(content, digest_size=16).hexdigest()
    return "" if actual == digest else "has another checksum"


def drop_damaged(store: Path) -> list[Path]:
    """Take back the marks of damaged groups, so that they are written again."""
    bad = [path for path, _ in damaged(store)]
    for path in bad:
        mouse = store / path.relative_to(store).parts[0]
        (mouse / "complete.json").unlink(missing_ok=True)
        if path.parent.name == "groups":
            path.unlink()
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
