"""A submission as a stream of predictions beside the responses that they are of.

Labels come from the recordings, or from files that hold them: a ground truth csv of
pictures, a parquet of films with responses.
"""

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from sensorium_jax.axes import Prediction
from sensorium_jax.data import statistics
from sensorium_jax.data.session import RESPONSES, Session
from sensorium_jax.data.stream.pools import labelled
from sensorium_jax.errors import UserError
from sensorium_jax.findings import most_common
from sensorium_jax.normalize import judged
from sensorium_jax.rules import FILMS, PICTURES
from sensorium_jax.submission import csv2022, expected, parquet2023, readable, zips
from sensorium_jax.submission.expected import JudgedMouse
from sensorium_jax.submission.parquet2023 import FileRow
from sensorium_jax.submission.readable import trials_words

AGAIN = "See all faults with: sensorium submit --validate FILE --data D."
Mice = Mapping[str, JudgedMouse]
Keys = Sequence[tuple[Any, Any]]  # mouse and trial of every row


class Submission(NamedTuple):
    """One table of a submission; it can be read until the next one is asked for."""

    file: str
    year: int  # whose format it has
    tier: str
    rows: Mapping[str, np.ndarray]  # of each mouse's trial table, where labels are
    hidden: list[str]  # mice whose responses nobody has
    missing: list[str]  # mice of the tier that the file leaves out
    predictions: Iterator[Prediction]  # of those rows, in the order of the file


def submissions(
    path: str | Path,
    sessions: Sequence[Session],
    *,
    truth: str | Path | Sequence[Session] | None = None,
    tier: str | None = None,
    mouse: str | None = None,
) -> Iterator[Submission]:
    """The table of a file, or each in a zip; a row is in memory at a time.

    truth: a ground truth file, or labelled recordings; the sessions' own labels by
    default. Neurons are aligned by their ids, frames at the first that is scored, over
    what both sides have.
    """
    with zips.unpacked(path) as tables:
        if not tables:
            raise UserError(f"{path} has no parquet and no csv inside. {AGAIN}")
        for name, table in tables:
            yield from _submission(name, table, sessions, truth, tier, mouse)


def _submission(
    name: str,
    path: Path,
    sessions: Sequence[Session],
    truth: Any,
    tier: str | None,
    mouse: str | None,
) -> Iterator[Submission]:
    kind = readable.kind_of(path, sessions)
    mice, year = expected.mice(sessions, kind), expected.year(kind)
    if not mice:
        raise UserError(
            f"{name} is a file of {year}, the recordings are of "
            f"{expected.year(sessions[0].rules.kind)}. Give the recordings that it is "
            "about with --data."
        )
    largest = readable.largest_trial([m.session for m in mice.values()])
    fault = readable.unreadable(name, path, kind, largest)
    faults = [fault] if fault else list(readable.columns(name, path, kind))
    for f in faults:
        if f.level == "error":
            raise UserError(f"{name}: {f.finding}; {f.remedy}. {AGAIN}")
    about = readable.whose(path, sessions, mouse).name if kind == PICTURES else None
    keys = readable.keys(path, kind, about)
    tier = tier or _tier(name, keys, mice)
    with _source(truth, mice, kind, about) as source:
        known, hidden = _labelled(name, keys, mice, source, tier)
        wanted = {m: source.trials(m, tier) for m in known}
        _complete(name, keys, wanted, mice, tier)
        rows = {
            m: np.array(sorted(mice[m].rows[k] for k in trials))
            for m, trials in wanted.items()
        }
        needed = [m for m, one in mice.items() if one.keys(tier)]
        given = {m for m, _ in keys}
        missing = [] if about else [m for m in needed if m not in given]
        every = readable.rows(path, kind, about or "")
        predictions = _predictions(name, every, known, mice, source)
        yield Submission(name, year, tier, rows, hidden, missing, predictions)


def _tier(name: str, keys: Keys, mice: Mice) -> str:
    tiers = Counter(mice[m].tier(k) for m, k in keys if m in mice)
    found = most_common(t for t in tiers.elements() if t)
    if found is None:
        raise UserError(
            f"{name} holds no trial of the recordings {', '.join(mice)}. {AGAIN}"
        )
    if len(set(tiers)) > 1:
        raise UserError(f"{name} mixes trials of {dict(tiers)}. {AGAIN}")
    return found


def _labelled(
    name: str, keys: Keys, mice: Mice, source: "ResponseSource", tier: str
) -> tuple[list[str], list[str]]:
    """The mice of the file whose responses are known, and those that are hidden."""
    given = list(dict.fromkeys(m for m, _ in keys))
    strange = [str(m) for m in given if m not in mice]
    if strange:
        raise UserError(
            f"{name} speaks of {strange[0]}; the recordings are of {', '.join(mice)}. "
            "Give the recordings that it is about with --data."
        )
    try:
        known = [m for m in given if source.trials(m, tier)]
    except KeyError as error:
        raise UserError(
            f"The ground truth knows nothing of {error}; {name} does. Give the one "
            "that belongs to it."
        ) from None
    hidden = [m for m in given if m not in known]
    if not known:
        raise UserError(
            f"The responses of tier {tier} are hidden (all zero) in "
            f"{', '.join(hidden)}, so nothing can be scored. Submit the tier to the "
            "server, score a labelled tier such as oracle, or give --ground-truth."
        )
    return known, hidden


def _complete(
    name: str, keys: Keys, wanted: Mapping[str, list[Any]], mice: Mice, tier: str
) -> None:
    """Every trial with labels must be there once, and no other."""
    for mouse, trials in wanted.items():
        strange = [k for k in trials if k not in mice[mouse].rows]
        if strange:
            raise UserError(
                f"The ground truth has trial {strange[0]} of {mouse}, which the "
                "recordings do not know. Give the one that belongs to them."
            )
        given = Counter(k for m, k in keys if m == mouse)
        missing = [k for k in trials if k not in given]
        twice = [k for k, n in given.items() if n > 1]
        extra = [k for k in given if k not in set(trials)]
        for what, odd in (("lacks", missing), ("repeats", twice), ("adds", extra)):
            if odd:
                words = trials_words(odd, len(trials))
                raise UserError(f"{name} {what} {words} of {tier} of {mouse}. {AGAIN}")


def _predictions(
    name: str,
    rows: Iterable[FileRow | str],
    known: Sequence[str],
    mice: Mice,
    source: "ResponseSource",
) -> Iterator[Prediction]:
    for row in rows:
        if isinstance(row, str):
            raise UserError(f"{name}, {row}. {AGAIN}")
        if row.mouse in known:
            yield _aligned(name, row, mice[str(row.mouse)], source)


def _aligned(
    name: str, row: FileRow, mouse: JudgedMouse, source: "ResponseSource"
) -> Prediction:
    """Prediction and responses of one trial, neuron by neuron."""
    session = mouse.session
    where = f"{name}, trial {row.trial} of {session.name}"
    if len(set(row.lengths_n.tolist())) != 1:
        raise UserError(f"{where}: neurons of different lengths. {AGAIN}")
    x_nt = row.prediction_nt
    ids, recorded = row.ids_n, source.ids(session.name)
    if ids is None or len(ids) != len(x_nt) or set(ids) != set(recorded.tolist()):
        raise UserError(f"{where}: neuron_ids are not those of the mouse. {AGAIN}")
    if not np.array_equal(ids, recorded):
        x_nt = x_nt[np.argsort(ids)][np.argsort(np.argsort(recorded))]
    y_tn = source.responses(session.name, row.trial)
    frames, skip = x_nt.shape[1], session.rules.skip
    if frames > len(y_tn):
        dropped = f" from frame {skip} on. Drop the first {skip}" if skip else ""
        raise UserError(
            f"{where}: {frames} frames, the recording has {len(y_tn)}{dropped}. {AGAIN}"
        )
    return Prediction(session.name, mouse.rows[row.trial], x_nt.T, y_tn[:frames], skip)


class ResponseSource(Protocol):
    """Where true responses come from."""

    def trials(self, mouse: str, tier: str) -> list[Any]:
        """Trials of a tier that have responses; empty where they are hidden."""
        ...

    def ids(self, mouse: str) -> np.ndarray:
        """Unit ids in the order of the responses."""
        ...

    def responses(self, mouse: str, trial: Any) -> np.ndarray:
        """What the neurons did [t, n], in the judges' units and scored frames."""
        ...


@dataclass(frozen=True)
class Recorded:
    """The responses of recordings."""

    mice: Mice

    def trials(self, mouse: str, tier: str) -> list[Any]:
        """Trials of a tier whose responses are not hidden behind zeros."""
        one = self.mice[mouse]
        return [k for k in one.keys(tier) if labelled(one.session, one.rows[k])]

    def ids(self, mouse: str) -> np.ndarray:
        """Unit ids of the recording."""
        return self.mice[mouse].ids_n

    def responses(self, mouse: str, trial: Any) -> np.ndarray:
        """What the neurons did, normalized per frame as the judges do."""
        session, row = self.mice[mouse].session, self.mice[mouse].rows[trial]
        raw_tn = session.read(RESPONSES, row)
        return judged(raw_tn, statistics.precision(session), session.rules.skip)


@dataclass(frozen=True)
class Filed:
    """The responses of ground truth files, spilled to disk to be read in any order."""

    where: Mapping[tuple[str, Any], tuple[int, tuple[int, int]]]
    ids_of: Mapping[str, np.ndarray]
    spill: Any

    def trials(self, mouse: str, tier: str) -> list[Any]:
        """Every trial of the mouse; a file holds one tier."""
        return [trial for name, trial in self.where if name == mouse]

    def ids(self, mouse: str) -> np.ndarray:
        """Unit ids as the file has them."""
        return self.ids_of[mouse]

    def responses(self, mouse: str, trial: Any) -> np.ndarray:
        """What the neurons did, as the file has it."""
        start, shape = self.where[mouse, trial]
        self.spill.seek(start)
        data = self.spill.read(4 * shape[0] * shape[1])
        return np.frombuffer(data, np.float32).reshape(shape).T


def _source(
    truth: Any, mice: Mice, kind: str, about: str | None
) -> AbstractContextManager[ResponseSource]:
    if truth is None:
        return nullcontext(Recorded(mice))
    if isinstance(truth, str | Path):
        largest = readable.largest_trial([m.session for m in mice.values()])
        fault = readable.unreadable(str(truth), Path(truth), kind, largest)
        if fault:
            raise UserError(f"{truth}: {fault.finding}; {fault.remedy}.")
        return _filed(Path(truth), kind, about or "")
    return nullcontext(Recorded(expected.mice(truth, kind)))


@contextmanager
def _filed(path: Path, kind: str, mouse: str) -> Iterator[Filed]:
    """Read a ground truth file: a csv of pictures, or a table of films."""
    rows = _true_pictures(path, mouse) if kind == PICTURES else _true_films(path)
    where, ids = {}, {}
    with tempfile.TemporaryFile() as spill:
        for name, trial, responses_nt, ids_n in rows:
            where[name, trial] = spill.tell(), responses_nt.shape
            ids.setdefault(name, ids_n)
            if not np.array_equal(ids[name], ids_n):
                raise UserError(
                    f"{path} orders the neurons of {name} in several ways; expected "
                    "the same neuron_ids in every row. Write it again."
                )
            spill.write(np.ascontiguousarray(responses_nt, np.float32).data)
        if not where:
            raise UserError(f"{path} has no row. Give a file with responses.")
        yield Filed(where, ids, spill)


TrueRow = tuple[str, Any, np.ndarray, np.ndarray]  # mouse, trial, responses [n, t], ids


def _true_pictures(path: Path, mouse: str) -> Iterator[TrueRow]:
    head = csv2022.header(path)
    if "responses" not in head:
        raise UserError(
            f"{path} has the columns {', '.join(head)}; a ground truth file of 2022 "
            f"has {', '.join(csv2022.TRUTH_COLUMNS)}."
        )
    _check_columns(path, PICTURES, "responses")
    for row in csv2022.rows(path, "responses"):
        if row.values_n is None or row.ids_n is None:
            raise UserError(
                f"{path}: trial {row.trial} holds more than numbers. Write it again."
            )
        yield mouse, row.trial, row.values_n[:, None], row.ids_n


def _true_films(path: Path) -> Iterator[TrueRow]:
    file = parquet2023.table(path)
    have = file.schema_arrow.names
    values = "responses" if "responses" in have else "prediction"
    _check_columns(path, FILMS, values)
    for row in parquet2023.rows(file, values):
        if row.ids_n is None or row.mouse is None:
            raise UserError(f"{path}: trial {row.trial} lacks its mouse or neuron_ids.")
        if len(set(row.lengths_n.tolist())) != 1:
            raise UserError(f"{path}: trial {row.trial} has neurons of two lengths.")
        yield row.mouse, row.trial, row.prediction_nt, row.ids_n


def _check_columns(path: Path, kind: str, values: str) -> None:
    for fault in readable.columns(str(path), path, kind, values):
        if fault.level == "error":
            raise UserError(f"{path}: {fault.finding}; {fault.remedy}.")
