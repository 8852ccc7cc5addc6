"""Whether a submitted file can be read at all: its bytes, its columns, their types.

Files of either format come out in one shape. The kind is what a file is of: pictures in
a csv, films in a parquet.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sensorium_jax.data.session import Session
from sensorium_jax.errors import UserError
from sensorium_jax.findings import Fault, error, warning
from sensorium_jax.io import regular
from sensorium_jax.rules import FILMS, PICTURES, UNUSED
from sensorium_jax.submission import csv2022, expected, parquet2023
from sensorium_jax.submission.parquet2023 import FileRow

MAGIC = b"PAR1"
COLUMN = "column"  # in the words for columns that are missing or there twice
LOOKS = 64  # trials that say how long the longest may be


def kind_of(name: str | Path, sessions: Sequence[Session]) -> str:
    """What a file is of, by its name, else by its recordings."""
    base = Path(name).name
    by_name = {PICTURES: base.endswith(".csv"), FILMS: ".parquet" in base}
    kinds = (kind for kind, yes in by_name.items() if yes)
    return next(kinds, sessions[0].rules.kind)


def whose(path: Path, sessions: Sequence[Session], mouse: str | None) -> Session:
    """The session that a csv is about: the one named, else the one that fits best."""
    fit = [s for s in sessions if s.rules.kind == PICTURES]
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


def trials_words(trials: Sequence[Any], total: int) -> str:
    """'3 of 60 trials (7, 9, 12)', or 'all 60 trials'."""
    if len(trials) == total:
        return f"all {total} trials"
    some = ", ".join(map(str, trials[:3])) + ", ..." * (len(trials) > 3)
    return f"{len(trials)} of {total} trials ({some})"


def unreadable(name: str, path: Path, kind: str, largest: int) -> Fault | None:
    """The fault of a file whose bytes are not of the format of its kind.

    largest: values of the largest trial of the recordings.
    """
    size = regular.check(path)
    if not size:
        return error(name, "empty file", "write the submission again")
    with regular.opened(path) as file:
        head = file.read(512)
        file.seek(-min(4, size), 2)
        tail = file.read()
    parquet = head.startswith(MAGIC)
    if kind == PICTURES:
        if parquet or b"\0" in head:
            finding = f"not a csv: it begins with the bytes {head[:4]!r}"
            return error(name, finding, "submit text; parquet is of 2023")
        text = head.decode(errors="replace")[:400]
        if "\ufffd" in text:
            return error(name, "not a csv: it is no text", "write it again")
        return None
    if parquet and tail != MAGIC:
        finding = f"truncated parquet: its end is missing after {size} bytes"
        return error(name, finding, "copy or write the file again, to its end")
    if not parquet:
        text = b"\0" not in head and b"," in head
        kind = "a csv" if text else f"no parquet, it begins with {head[:4]!r}"
        remedy = "write it with to_parquet(engine='pyarrow', compression='brotli')"
        return error(name, f"the file is {kind}", remedy)
    try:
        file = parquet2023.table(path)
        list(file.schema_arrow)
    except (pa.ArrowException, OSError, ValueError) as problem:
        words = _words(problem)
        return error(name, f"damaged parquet ({words})", "write the file again")
    words = parquet2023.oversized(file, largest)
    if words:
        finding = f"it claims {words}, far more than the recordings have"
        return error(name, finding, "write a row per trial, of its neurons and frames")
    return None


def _words(problem: BaseException) -> str:
    return (str(problem).splitlines() or [type(problem).__name__])[0][:160]


def largest_trial(sessions: Sequence[Session]) -> int:
    """Neurons times frames of the largest trial that a submission may be about."""
    return max(_largest(session) for session in sessions)


def _largest(session: Session) -> int:
    looked = np.unique(np.linspace(0, session.trials - 1, LOOKS).astype(int))
    used = [row for row in looked.tolist() if session.tiers[row] != UNUSED]
    lengths = session.lengths(np.array(used, int))
    return session.neurons * int(lengths.max(initial=1))


def columns(
    name: str, path: Path, kind: str, values: str = "prediction"
) -> Iterator[Fault]:
    """Missing, unknown and ill-typed columns; values names that of the numbers."""
    usual = parquet2023.COLUMNS if kind == FILMS else csv2022.COLUMNS
    needed = [values if column == "prediction" else column for column in usual]
    schema = parquet2023.table(path).schema_arrow if kind == FILMS else None
    have = schema.names if schema is not None else csv2022.header(path)
    for column in needed:
        if have.count(column) > 1:
            finding = f"{COLUMN} '{column}' occurs {have.count(column)} times"
            yield error(name, finding, "write every column once")
        elif column not in have:
            finding = f"missing {COLUMN} '{column}'; it has {', '.join(have) or 'none'}"
            yield error(name, finding, f"write the columns {', '.join(needed)}")
        elif schema is not None:
            yield from _type(name, column, schema.field(column).type)
    for column in have:
        if column not in needed:
            finding = f"unknown column '{column}'"
            yield warning(name, finding, "leave it out (index=False in pandas)")


def _type(name: str, column: str, kind: pa.DataType) -> Iterator[Fault]:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if column == "mouse":
        if not text:
            finding = f"mouse is of type {kind}, expected strings"
            yield error(name, finding, "write the name of the session's folder")
    elif column == "trial_indices":
        if pa.types.is_floating(kind):
            finding = f"float trial_indices ({kind})"
            yield error(name, finding, "write whole numbers, or names such as '7.npy'")
        elif not (text or pa.types.is_integer(kind)):
            finding = f"trial_indices are of type {kind}"
            yield error(name, finding, "write whole numbers, or names such as '7.npy'")
    elif column in ("prediction", "responses"):
        yield from _prediction(name, kind)
    else:
        inner = kind.value_type if _is_list(kind) else None
        if inner is not None and pa.types.is_floating(inner):
            finding = f"float neuron_ids ({kind})"
            yield error(name, finding, "write unit_ids as whole numbers")
        elif inner is None or not pa.types.is_integer(inner):
            finding = f"neuron_ids are of type {kind}, expected lists of whole numbers"
            yield error(name, finding, "write unit_ids as a list in every row")


def _prediction(name: str, kind: pa.DataType) -> Iterator[Fault]:
    inner = kind.value_type if _is_list(kind) else None
    leaf = inner.value_type if inner is not None and _is_list(inner) else None
    remedy = "write prediction as lists of lists of float, neurons by frames"
    words = [k for k in (leaf, inner, kind) if k is not None]
    if any(pa.types.is_string(k) or pa.types.is_large_string(k) for k in words):
        yield error(name, f"prediction holds strings for numbers ({kind})", remedy)
    elif leaf is None or not (pa.types.is_floating(leaf) or pa.types.is_integer(leaf)):
        finding = f"prediction is of type {kind}, expected lists of lists of float"
        yield error(name, finding, remedy)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def rows(path: Path, kind: str, mouse: str) -> Iterator[FileRow | str]:
    """Every row of either format in one shape, or the words for a row without numbers.

    mouse is who a file of 2022 is about.
    """
    if kind == FILMS:
        try:
            yield from parquet2023.rows(parquet2023.table(path))
        except (pa.ArrowException, OSError, ValueError) as problem:
            yield f"trial ?: damaged data ({_words(problem)})"
        return
    for line in csv2022.rows(path):
        if line.values_n is None:
            yield f"trial {line.trial}: strings for numbers, or lists in lists"
            continue
        ids = line.ids_n if line.ids_n is not None and line.ids_n.size else None
        if ids is not None and ids.dtype.kind == "f":
            yield f"trial {line.trial}: float neuron_ids"
        else:
            ones = np.ones(len(line.values_n), int)
            yield FileRow(mouse, line.trial, ones, line.values_n, ids)


def keys(path: Path, kind: str, mouse: Any) -> list[tuple[Any, Any]]:
    """Mouse and trial of every row; of films no prediction is read."""
    if kind == FILMS:
        try:
            return parquet2023.index(parquet2023.table(path))
        except (pa.ArrowException, OSError, ValueError) as problem:
            raise UserError(
                f"{path} is a damaged parquet ({_words(problem)}). Write it again."
            ) from None
    return [(mouse, trial) for trial, _ in csv2022.index(path)]
