"""Finds what a judge would refuse in a submission, before it is uploaded."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax import progress
from sensorium_jax.data.session import Session
from sensorium_jax.findings import (
    Fault,
    counts,
    error,
    listed,
    most_common,
    warning,
)
from sensorium_jax.rules import FILMS, PICTURES
from sensorium_jax.submission import expected, readable, zips
from sensorium_jax.submission.expected import JudgedMouse
from sensorium_jax.submission.parquet2023 import FileRow
from sensorium_jax.submission.readable import trials_words
from sensorium_jax.submission.units import unit_faults


class Inspection(NamedTuple):
    """What a validation found."""

    faults: list[Fault]
    tables: int
    rows: int

    @property
    def accepted(self) -> bool:
        """Whether no fault is an error."""
        return all(f.level != "error" for f in self.faults)

    def __str__(self) -> str:
        """A line for each fault, and the verdict."""
        many = counts(self.faults)
        return (
            f"{listed(self.faults)}{'accepted' if self.accepted else 'refused'}: "
            f"{many['errors']} errors, {many['warnings']} warnings in {self.rows} "
            f"trials of {self.tables} files."
        )


def validate(
    path: str | Path,
    sessions: Sequence[Session],
    *,
    tier: str | None = None,
    mouse: str | None = None,
) -> Inspection:
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
            return Inspection(faults, 0, 0)
        faults += _parts(path)
    with zips.unpacked(path) as tables:
        for name, table in tables:
            found, count = _table(name, table, sessions, tier, mouse)
            faults, rows = faults + found, rows + count
    return Inspection(faults, len(tables), rows)


def _parts(path: Path) -> Iterator[Fault]:
    """Which of the two files of the main track a zip lacks."""
    with zips.unpacked(path) as tables:
        names = {table.name for _, table in tables}
    main = set(expected.TRACKS["main"].files.values())
    for name in sorted(main - names if main & names else ()):
        yield error(path, f"{name} is missing", "zip both files of the main track")


def _table(
    name: str,
    path: Path,
    sessions: Sequence[Session],
    tier: str | None,
    mouse: str | None,
) -> tuple[list[Fault], int]:
    kind = readable.kind_of(path, sessions)
    mice = expected.mice(sessions, kind)
    if not mice:
        other = expected.year(sessions[0].rules.kind)
        finding = f"a file of {expected.year(kind)}; the recordings are of {other}"
        return [error(name, finding, "give the recordings it is about")], 0
    largest = readable.largest_trial([m.session for m in mice.values()])
    fault = readable.unreadable(name, path, kind, largest)
    if fault:
        return [fault], 0
    faults = list(readable.columns(name, path, kind))
    if any(readable.COLUMN in f.finding for f in faults if f.level == "error"):
        return faults, 0
    about = None
    if kind == PICTURES:
        about = readable.whose(path, sessions, mouse).name
    keys = readable.keys(path, kind, about)
    if not keys:
        return [error(name, "empty file: it has no row", "write a row per trial")], 0
    if any(f.level == "error" for f in faults):
        return faults, len(keys)
    faults += _trials(name, path, keys, mice, tier, about)
    faults += _values(name, path, kind, mice, about, len(keys))
    return faults, len(keys)


def _trials(
    name: str,
    path: Path,
    keys: Sequence[tuple[Any, Any]],
    mice: Mapping[str, JudgedMouse],
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
    wanted = found if (named is None or named not in tiers) and found else named
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
    sessions = [m.session for m in mice.values()]
    ranked = expected.scored(sessions, wanted, sessions[0].rules.kind)
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


def _mouse(
    name: str, mouse: JudgedMouse, keys: list[Any], tier: str
) -> Iterator[Fault]:
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


def _values(
    name: str,
    path: Path,
    kind: str,
    mice: Mapping[str, JudgedMouse],
    about: str | None,
    count: int,
) -> Iterator[Fault]:
    """What is wrong with the predictions themselves."""
    tallies: dict[str, MouseTally] = {}
    rows = readable.rows(path, kind, about or "")
    unread: dict[str, int] = {}
    for row in progress.track(rows, "Validating", count):
        if isinstance(row, str):
            _, words = row.split(": ", 1)
            unread[words] = unread.get(words, 0) + 1
            continue
        who = str(row.mouse)
        if who in mice and mice[who].tier(row.trial) is not None:
            if who not in tallies:
                tallies[who] = MouseTally(mice[who])
            tallies[who].add(row)
    for words, rows_of in unread.items():
        finding = f"{words} in {rows_of} of {count} trials"
        yield error(name, finding, "write lists of whole ids and of finite numbers")
    for tally in tallies.values():
        yield from tally.faults(name)


RECORDED = "write unit_ids of the recording in every row, in the order predicted"


class MouseTally:
    """Faults of the rows of one mouse, counted while they pass one by one."""

    def __init__(self, mouse: JudgedMouse):
        """Begin with no row of this mouse."""
        n = len(mouse.ids_n)
        self.mouse, self.rows = mouse, 0
        self.where = {int(unit): i for i, unit in enumerate(mouse.ids_n)}
        self.kinds: dict[str, list[Any]] = {}
        self.excess: Counter[int] = Counter()
        self.low_n, self.high_n = np.full(n, np.inf), np.full(n, -np.inf)
        self.sum_n, self.frames = np.zeros(n), 0

    def add(self, row: FileRow) -> None:
        """Look at one row; its trial is one of the mouse's."""
        self.rows += 1
        order_n = self._order(row)
        lengths, frames = row.lengths_n, self.mouse.frames(row.trial)
        units = len(self.mouse.ids_n)
        if not len(lengths):
            self._note("no prediction", row)
            return
        if len(set(lengths.tolist())) != 1:
            self._note("neurons of different lengths", row)
            return
        if len(lengths) != units and lengths[0] == units:
            self._note("transposed prediction", row)
            return
        if len(lengths) != units:
            self._note(f"prediction of {len(lengths)} neurons", row)
            return
        self.excess[int(lengths[0]) - frames] += 1
        self._values(row, order_n)

    def _note(self, kind: str, row: FileRow) -> None:
        self.kinds.setdefault(kind, []).append(row.trial)

    def _order(self, row: FileRow) -> np.ndarray | None:
        """Which neuron of the recording each row of the prediction is of."""
        ids, expected = row.ids_n, self.mouse.ids_n
        if ids is None:
            self._note("no neuron_ids", row)
            return None
        if np.array_equal(ids, expected):
            return np.arange(len(expected))
        wrong = [int(i) for i in ids if int(i) not in self.where]
        missing = len(self.where.keys() - {int(i) for i in ids})
        if wrong:
            self._note(f"wrong id {wrong[0]} that is no unit of the mouse", row)
        elif missing:
            self._note(f"{missing} of {len(expected)} neurons missing", row)
        elif len(ids) != len(expected):
            self._note("neurons given twice", row)
        else:
            self._note("neurons in another order than recorded", row)
            return np.array([self.where[int(i)] for i in ids])
        return None

    def _values(self, row: FileRow, order_n: np.ndarray | None) -> None:
        x_nt = row.prediction_nt
        for kind, bad in (("NaN", np.isnan(x_nt)), ("infinity", np.isinf(x_nt))):
            if bad.any():
                self._note(kind, row)
        if (x_nt < 0).any():
            self._note("negative values", row)
        if x_nt.size and not x_nt.any():
            self._note("all zeros", row)
        if order_n is None or not x_nt.size:
            return
        finite = np.where(np.isfinite(x_nt), x_nt, 0.0)
        self.low_n[order_n] = np.minimum(self.low_n[order_n], finite.min(1))
        self.high_n[order_n] = np.maximum(self.high_n[order_n], finite.max(1))
        self.sum_n[order_n] += finite.sum(1, dtype=np.float64)
        self.frames += x_nt.shape[1]

    def faults(self, name: str) -> Iterator[Fault]:
        """A fault per kind of finding."""
        who = self.mouse.session.name
        for kind, trials in self.kinds.items():
            finding = f"{kind} in {trials_words(trials, self.rows)} of {who}"
            if "another order" in kind:
                remedy = "see that predictions have the order of their neuron_ids"
                yield warning(name, finding, remedy)
            else:
                yield error(name, finding, _remedy(kind))
        yield from self._lengths(name, who)
        if not self.frames:
            return
        still = (self.low_n == self.high_n) & (self.high_n > -np.inf)
        zeros = bool((self.high_n == 0).all() and (self.low_n == 0).all())
        if still.any() and not zeros:
            finding = f"{still.sum()} constant neurons of {len(still)} of {who}"
            yield warning(name, finding, "a constant neuron scores 0; see to the model")
        if not zeros:
            yield from unit_faults(name, self.mouse, self.sum_n / self.frames)

    def _lengths(self, name: str, who: str) -> Iterator[Fault]:
        odd = {extra: n for extra, n in self.excess.items() if extra}
        rows, skip = self.excess.total(), self.mouse.session.rules.skip
        if odd == {-1: rows} and self.mouse.session.rules.kind == FILMS:
            finding = f"one frame too few for all {rows} trials of {who}"
            remedy = f"give every frame from {skip} on; the last now goes unscored"
            yield warning(name, finding, remedy)
            return
        for extra, count in sorted(odd.items()):
            words = f"{abs(extra)} frames too {'many' if extra > 0 else 'few'}"
            remedy = f"give every frame from {skip} to the trial's end"
            if skip and extra == skip:
                remedy = f"drop the first {skip} frames of every trial"
            finding = f"{words} in {count} of {self.rows} trials of {who}"
            yield error(name, finding, remedy)


def _remedy(kind: str) -> str:
    if kind == "transposed prediction":
        return "write a list per neuron, of its values over frames"
    if kind in ("NaN", "infinity"):
        return "look for them where the model is trained; write finite numbers"
    if kind == "negative values":
        return "rates are zero or more; clip them at zero"
    if kind == "all zeros":
        return "predict the trial; zeros look like responses that were hidden"
    if kind == "neurons of different lengths":
        return "write as many values for every neuron"
    if kind.startswith(("prediction of", "no prediction")):
        return "write a list for every neuron of the recording"
    return RECORDED
