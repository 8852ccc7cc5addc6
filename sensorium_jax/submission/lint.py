"""Finds what a judge would refuse in a submission, before it is uploaded."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax import progress
from sensorium_jax.data.session import Session
from sensorium_jax.findings import Fault, error, most_common, warning
from sensorium_jax.submission import (
    csv2022,
    expected,
    readable,
    zips,
)
from sensorium_jax.submission.expected import Mouse
from sensorium_jax.submission.tally import Tally, trials_words


class Report(NamedTuple):
    """What a validation found."""

    faults: list[Fault]
    tables: int
    rows: int

    @property
    def accepted(self) -> bool:
        """Whether no fault is an error."""
        return all(f.level != "error" for f in self.faults)


def validate(
    path: str | Path,
    sessions: Sequence[Session],
    *,
    tier: str | None = None,
    mouse: str | None = None,
) -> Report:
    """Compare a submission, or a zip of them, with the recordings it is about.

    The tier is that of the file's name, or of most of its trials, unless given. mouse
    names the one that a file of 2022 is about. Predictions in another order than their
    neuron_ids show only by their means, and only from 30 neurons on.
    """
    path = Path(path)
    faults, rows = [], 0
    archive = path.suffix == ".zip"
    if archive and path.is_file():
        faults += zips.faults(path)
        if any("readable" in f.finding for f in faults):
            return Report(faults, 0, 0)
        faults += _parts(path)
    with zips.unpacked(path) as tables:
        for name, table in tables:
            found, count = _table(name, table, sessions, tier, mouse)
            faults, rows = faults + found, rows + count
    return Report(faults, len(tables), rows)


def _parts(path: Path) -> Iterator[Fault]:
    """Which of the two files of the main track a zip lacks."""
    with zips.unpacked(path) as tables:
        names = {table.name for _, table in tables}
    main = set(expected.TRACKS["main"].files.values())
    for name in sorted(main - names if main & names else ()):
        yield error(path, f"{name} is missing", "zip both files of the main track")


def year_of(name: str | Path, sessions: Sequence[Session]) -> int:
    """The year of a file, by its name, else by its recordings."""
    base = Path(name).name
    by_name = {2022: base.endswith(".csv"), 2023: ".parquet" in base}
    return next((year for year, yes in by_name.items() if yes), sessions[0].year)


def _table(name, path, sessions, tier, mouse) -> tuple[list[Fault], int]:
    year = year_of(path, sessions)
    if not any(s.year == year for s in sessions):
        finding = f"a file of {year}; the recordings are of {sessions[0].year}"
        return [error(name, finding, "give the recordings it is about")], 0
    fault = readable.unreadable(name, path, year)
    if fault:
        return [fault], 0
    faults = list(readable.columns(name, path, year))
    if any("missing column" in f.finding for f in faults):
        return faults, 0
    about = None
    if year == 2022:
        about = whose(path, sessions, mouse).name
    keys = readable.keys(path, year, about)
    if not keys:
        return [error(name, "empty file: it has no row", "write a row per trial")], 0
    if any(f.level == "error" for f in faults):
        return faults, len(keys)
    mice = {s.name: expected.mouse(s) for s in sessions if s.year == year}
    faults += _trials(name, path, keys, mice, tier, about)
    faults += _values(name, path, year, mice, about, len(keys))
    return faults, len(keys)


def whose(path: Path, sessions: Sequence[Session], mouse: str | None) -> Session:
    """The session that a csv is about: the one named, else the one that fits best."""
    fit = [s for s in sessions if s.year == 2022]
    if mouse is not None or len(fit) == 1:
        return expected.picture_mouse(fit, mouse)
    first = next(csv2022.rows(path), None)
    ids = [] if first is None or first.ids_n is None else first.ids_n
    shown = Counter(csv2022.index(path))
    hits = []
    for session in fit:
        trials = expected.mouse(session).rows
        pairs = zip(trials, map(str, expected.image_ids(session)), strict=True)
        same = np.array_equal(ids, session.unit_ids_n)
        hits.append(sum(shown[pair] for pair in pairs) * 2 + same)
    best = [s for s, h in zip(fit, hits, strict=True) if h == max(hits)]
    return expected.picture_mouse(best)


def _trials(
    name: str,
    path: Path,
    keys: Sequence[tuple[Any, Any]],
    mice: Mapping[str, Mouse],
    tier: str | None,
    about: str | None,
) -> Iterator[Fault]:
    """Mice, tiers and trials: missing, extra, twice, of another tier."""
    tiers = Counter(mice[m].tier(k) for m, k in keys if m in mice)
    named = tier or expected.tier_of(path)
    found = most_common(t for t in tiers.elements() if t)
    if named and found and set(tiers) - {None} == {found} and found != named:
        finding = f"wrong tier: trials of {found} in a file of {named}"
        yield error(name, finding, f"predict {named}, or give the file its own name")
    wanted = found if named not in tiers and found else named
    others = {t: n for t, n in tiers.items() if t not in (wanted, None)}
    for other, count in others.items():
        finding = f"mixed tiers: {count} trials of {other} among those of {wanted}"
        yield error(name, finding, "submit one tier per file")
    if named in (None, wanted):
        yield from _name(name, path, wanted)
    given = {m for m, _ in keys}
    for extra in sorted(map(str, given - mice.keys())):
        finding = f"extra mouse {extra}, which is not in the recordings"
        yield error(name, finding, f"leave it out; known: {', '.join(mice)}")
    if wanted is None or found is None:
        yield error(name, "no trial of the recordings", "write the <i> of <i>.npy")
        return
    year = next(iter(mice.values())).session.year
    ranked = expected.scored([m.session for m in mice.values()], wanted, year)
    needed = {s.name for s in ranked} if about is None else {about}
    for mouse in sorted(needed - given):
        yield error(name, f"missing mouse {mouse}", f"predict its trials of {wanted}")
    for mouse in sorted(given & mice.keys() - needed):
        finding = f"extra mouse {mouse}, which is not scored in {wanted}"
        yield error(name, finding, "leave it out")
    for mouse in sorted(given & needed):
        yield from _mouse(name, mice[mouse], [k for m, k in keys if m == mouse], wanted)


def _name(name: str, path: Path, tier: str | None) -> Iterator[Fault]:
    servers = {
        file
        for track in expected.TRACKS.values()
        for t, file in track.files.items()
        if t == tier
    }
    if servers and path.name not in servers:
        finding = f"the name is not the server's for {tier}"
        yield warning(name, finding, f"upload it as {servers.pop()}")


def _mouse(name: str, mouse: Mouse, keys: list[Any], tier: str) -> Iterator[Fault]:
    who = mouse.session.name
    twice = [k for k, n in Counter(keys).items() if n > 1]
    if twice:
        finding = f"duplicate trials: {trials_words(twice, len(set(keys)))} of {who}"
        yield error(name, finding, "write each trial once")
    unknown = [k for k in keys if mouse.tier(k) is None]
    if unknown:
        finding = f"unknown trials: {trials_words(unknown, len(keys))} of {who}"
        remedy = "write the <i> of the recorded <i>.npy, or trial_idx in 2022"
        yield error(name, finding, remedy)
    needed = mouse.keys(tier)
    missing = [k for k in needed if k not in set(keys)]
    if missing:
        finding = f"missing trials: {trials_words(missing, len(needed))} of {who}"
        yield error(name, finding, f"predict every trial of {tier}")


def _values(name, path, year, mice, about, count) -> Iterator[Fault]:
    tallies: dict[str, Tally] = {}
    rows = readable.rows(path, year, about)
    unread: dict[str, int] = {}
    for row in progress.track(rows, "Validating", count):
        if isinstance(row, str):
            _, words = row.split(": ", 1)
            unread[words] = unread.get(words, 0) + 1
            continue
        who = str(row.mouse)
        if who in mice and mice[who].tier(row.trial) is not None:
            if who not in tallies:
                tallies[who] = Tally(mice[who])
            tallies[who].add(row)
    for words, rows_of in unread.items():
        finding = f"{words} in {rows_of} of {count} trials"
        yield error(name, finding, "write lists of whole ids and of finite numbers")
    for tally in tallies.values():
        yield from tally.faults(name)
