"""Finds what would stop a run or make it wrong, before it costs a night.

Nothing here trusts the recordings: every file may be anything.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sensorium_jax.data.check import (
    across,
    meta,
    missing,
    statistics,
    tree,
    trials,
    values,
)
from sensorium_jax.data.check.trials import Scan
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.session import Session, own_choices
from sensorium_jax.data.store.layout import is_store
from sensorium_jax.errors import UserError
from sensorium_jax.findings import Fault, counts, error, listed, warning
from sensorium_jax.io import unzip
from sensorium_jax.io.npy import AGAIN, load
from sensorium_jax.progress import bar
from sensorium_jax.rules import TRAIN, UNUSED, validating

BUDGET = 2 << 30  # bytes that a fast check reads of videos and responses
CONVERT = "run the same sensorium convert again: it mends what is damaged"
SHOWN = 5  # faults of one kind in one folder that are listed one by one


class Report(NamedTuple):
    """What was found, and in how much of the recordings."""

    faults: list[Fault]
    sessions: tuple[str, ...]
    trials: int
    read: str  # how thoroughly, in words

    @property
    def clean(self) -> bool:
        """Whether a run would work."""
        return all(f.level != "error" for f in self.faults)

    def __str__(self) -> str:
        """A line for each fault, and the verdict."""
        verdict = "clean" if self.clean else "not fit for a run"
        many = counts(self.faults)
        return (
            f"{listed(self.faults)}{verdict}: {many['errors']} errors, "
            f"{many['warnings']} warnings in {len(self.sessions)} sessions of "
            f"{self.trials} trials; read {self.read}."
        )


def check(
    path: str | Path, *, deep: bool = False, rules: str | None = None
) -> list[Fault]:
    """Every fault of the recordings under path, errors first; never raises for them.

    A tree of up to 2 GB is read whole. Beyond that the fast check reads every header,
    all facts, statistics, behavior and pupil, evenly spaced trials whole, and the edges
    of the others; deep reads every array. rules: as in Recordings.open.
    """
    return inspect(path, deep=deep, rules=rules).faults


def inspect(
    path: str | Path,
    *,
    deep: bool = False,
    rules: str | None = None,
    budget: int = BUDGET,
) -> Report:
    """As check, with what was read; budget is the bytes that are read without deep."""
    if is_store(path):
        return _store(str(path), deep=deep, rules=rules, budget=budget)
    root = Path(path).expanduser().absolute()
    if not root.is_dir():
        hint = "give a folder of mice"
        what = "not a folder" if root.exists() else "does not exist"
        if root.suffix == ".zip" and root.is_file():
            return Report([_archive(root)], (), 0, "nothing")
        return Report([error(root, what, hint)], (), 0, "nothing")
    faults, size = tree.walk(root)
    faults.extend(_damaged_archives(root, whole=deep or size <= budget))
    sick = {f.file for f in faults}
    folders = list(tree.sessions(root, sick))
    if not folders:
        faults.append(
            error(
                root,
                "no session: no folder with data/videos or data/images",
                "give the folder that the archives were unpacked into",
            )
        )
    share = 1.0 if deep or size <= budget else budget / size
    scans: list[Scan] = []
    for folder in folders:
        try:
            told, names, linked = tree.layout(folder, rules, faults)
            scan, more = trials.scan(folder, told.rules, names, linked, sick)
            scans.append(scan)
            faults.extend(more)
        except Exception as problem:  # a check must end with a report
            faults.append(_gave_up(folder, problem))
    present = {w for s in scans for w in s.places}
    for scan in scans:
        try:
            faults.extend(trials.absent(scan, present))
            faults.extend(_session(scan, share))
        except Exception as problem:
            faults.append(_gave_up(scan.folder, problem))
    faults.extend(across.across(scans))
    read = (
        "every array"
        if share == 1
        else (
            "all headers, facts, statistics, behavior and pupil, "
            f"{share:.0%} of the trials whole and the edges of the rest "
            "(--deep reads every array)"
        )
    )
    if not any(f.level == "error" for f in faults):
        faults.extend(_opens(root, rules))
    count = sum(len(scan.numbers) for scan in scans)
    return Report(_tidy(root, faults), tuple(f.name for f in folders), count, read)


def _archive(path: Path) -> Fault:
    """Why an archive cannot be checked itself."""
    problem = unzip.damage(path)
    if problem:
        return error(path, f"damaged zip ({problem})", AGAIN)
    return error(path, "a zip, not a folder", "unpack it first")


def _damaged_archives(root: Path, *, whole: bool) -> Iterator[Fault]:
    """Archives beside the mice; a run does without them."""
    for path in sorted(root.glob("*.zip")):
        problem = unzip.damage(path, whole=whole) if path.is_file() else ""
        if problem:
            yield warning(path, f"damaged zip ({problem})", f"{AGAIN}, or delete it")


def _opens(root: Path, rules: str | None) -> Iterator[Fault]:
    """The last question: do the readers accept what looks sound?"""
    try:
        opened = Recordings.open(root, rules)
        opened.mouse_info()
        yield from _shared(root, opened.sessions)
    except Exception as problem:
        yield _gave_up(root, problem)


def _shared(where: str | Path, sessions: Sequence[Session]) -> Iterator[Fault]:
    """Mice of which each has a tier that validates, but no two the same."""
    each = [(s.rules, s.tiers) for s in sessions]
    alone = all(rules.validating(tiers) for rules, tiers in each)
    if alone and validating(each) is None:
        yield warning(
            where,
            f"no tier validates in every mouse: {own_choices(sessions)}",
            "give their trials the same tiers, or name one that all have to train and "
            "score: config.validate.tier, --tier",
        )


def _gave_up(folder: Path, problem: Exception) -> Fault:
    if isinstance(problem, UserError):
        return error(folder, str(problem), "as the finding says")
    return error(
        folder, f"cannot be checked further: {type(problem).__name__}: {problem}", AGAIN
    )


def _session(scan: Scan, share: float) -> Iterator[Fault]:
    """Everything but the headers of one session."""
    faults: list[Fault] = []
    ids = load(scan.folder / "meta/neurons/unit_ids.npy")
    known = None if isinstance(ids, Fault) or ids.ndim != 1 else len(ids)
    neurons = trials.neurons(scan, known)
    tiers = meta.tiers(scan.folder, scan.numbers, scan.rules, faults)
    yield from meta.columns(scan.folder, len(scan.numbers))
    yield from meta.units(scan.folder, neurons)
    scan = scan._replace(missing=missing.read(scan, neurons, faults))
    wrong, skip = trials.shapes(scan, neurons)
    stored = statistics.read(scan, faults)
    yield from wrong
    seen = {}
    whole = _whole(scan.numbers, share)
    scale = statistics.scale(stored)
    used = [i for i in scan.numbers if tiers.get(i) != UNUSED]
    with bar(f"check {scan.folder.name}", len(used)) as progress:
        for number in used:
            seen[number] = values.trial(
                scan, number, tiers.get(number, ""), scale, skip, whole=number in whole
            )
            faults.extend(seen[number].faults)
            progress.add()
    yield from values.darkest(scan, tuple(used[:3]), skip)
    yield from values.silent(scan, seen, tiers)
    yield from missing.faults(scan, tiers, whole)
    ends = {number: s.end for number, s in seen.items()}
    yield from statistics.faults(scan, stored, tiers, ends)
    yield from faults


def _whole(numbers: Iterable[int], share: float) -> set[int]:
    """Trials to read whole: all, or evenly spaced ones with the first and the last."""
    numbers = list(numbers)
    count = min(len(numbers), max(2, int(share * len(numbers))))
    return {numbers[i] for i in np.linspace(0, len(numbers) - 1, count).astype(int)}


def _store(path: str, *, deep: bool, rules: str | None, budget: int) -> Report:
    """A store opens, and its files agree with their checksums."""
    from sensorium_jax.data.store.verify import damaged, metadata, structure

    faults: list[Fault] = []
    root, read, names, count = Path(path).expanduser().absolute(), "facts", (), 0
    local = "://" not in path
    try:
        opened = Recordings.open(path, rules)
        names, count = opened.names, sum(s.trials for s in opened.sessions)
        for session in opened.sessions:
            faults.extend(_tiers(session))
        faults.extend(_shared(root if local else path, opened.sessions))
        if local:
            faults.extend(structure(root, opened.sessions))
        else:
            every = (metadata(s, s.where) for s in opened.sessions)
            faults.extend(fault for several in every for fault in several)
    except Exception as problem:
        words = f"cannot be opened as a store: {problem}"
        remedy = CONVERT if local else "give the address of a store that is served"
        faults.append(error(root if local else path, words, remedy))
    if local:
        unreachable, size = tree.walk(root)
        faults.extend(unreachable)
        if deep or size <= budget:
            read = "every file against its checksum"
            faults.extend(
                error(p, f"the file {finding}", CONVERT) for p, finding in damaged(root)
            )
    return Report(_tidy(root, faults), names, count, read)


def _tiers(session: Session) -> Iterator[Fault]:
    if TRAIN not in session.tiers:
        words = "no training trials"
        yield warning(session.name, words, "fine for scoring only")
    if session.rules.validating(session.tiers) is None:
        words = f"no validation trials; its rules are: {session.rules.words()}"
        yield warning(session.name, words, "convert with other tiers or --rules")


def _tidy(root: Path, faults: list[Fault]) -> list[Fault]:
    """Once each, errors first, by file; many alike in one folder become one line."""
    unique = dict.fromkeys(
        f._replace(
            file=os.path.relpath(f.file, root) if f.file.startswith("/") else f.file
        )
        for f in faults
    )
    alike: dict[tuple, list[Fault]] = {}
    for fault in sorted(unique, key=lambda f: (f.level, _natural(f.file))):
        kind = (fault.level, os.path.dirname(fault.file), fault.remedy)
        alike.setdefault(kind, []).append(fault)
    shown = []
    for group in alike.values():
        shown.extend(group[:SHOWN])
        if len(group) > SHOWN:
            rest = group[SHOWN]
            more = f"{rest.finding} (and {len(group) - SHOWN - 1} more files like it)"
            shown.append(rest._replace(finding=more))
    return shown


def _natural(name: str) -> list:
    parts = re.split(r"(\d+)", name)
    return [int(p) if i % 2 else p for i, p in enumerate(parts)]
