"""Submissions of 2023: one table of films per tier, written and read as a stream.

Columns mouse, trial_indices, prediction (neurons by frames, the first 50 frames of a
trial left out) and neuron_ids, in normalized response units; brotli parquet.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sensorium_jax.io import atomic, regular

COLUMNS = ("mouse", "trial_indices", "prediction", "neuron_ids")
UNITS = "normalized per frame: raw responses times the precision of their frame"
GROUP = 32 << 20  # bytes of predictions that are encoded at a time
MOST_ROWS, MOST_PARTS = 200_000, 1_000_000
MOST_FOOTER = 16 << 20  # bytes
LONGEST_NAME = 1000  # letters of the name of a mouse or a trial
SPARE = 8  # times the largest trial is more than any row needs
LEVEL = 3  # brotli; higher ones cost much time for 1 % of size


class FilmAnswer(NamedTuple):
    """What is submitted of one trial."""

    mouse: str
    trial: int | str
    prediction_nt: np.ndarray
    ids_n: np.ndarray


def write(
    path: str | Path,
    answers: Iterable[FilmAnswer],
    *,
    tier: str = "",
    skip: int = 50,
    single: bool = False,
) -> int:
    """Write the table of one tier trial after trial; returns how many.

    What is submitted is float64 as in the official files, or float32 if single. tier
    and skip, the frames left out at the start, are noted in the file. It appears under
    its name when it is whole.
    """
    schema = _schema(tier, skip, single=single)
    leaf = "prediction.list.element.list.element"
    options: dict[str, Any] = {
        "compression": "brotli",
        "compression_level": LEVEL,
        # Bytes of like weight beside each other: smaller and ten times as fast.
        "use_dictionary": ["mouse"],
        "column_encoding": {leaf: "BYTE_STREAM_SPLIT"},
    }
    count, size, waiting = 0, 0, []
    with (
        atomic.whole(path) as part,
        pq.ParquetWriter(part, schema, **options) as writer,
    ):
        for answer in answers:
            waiting.append(answer)
            count, size = count + 1, size + 8 * answer.prediction_nt.size
            if size >= GROUP:
                writer.write_table(_table(waiting, schema))
                size, waiting = 0, []
        if waiting:
            writer.write_table(_table(waiting, schema))
    return count


def _schema(tier: str, skip: int, *, single: bool) -> pa.Schema:
    number = pa.float32() if single else pa.float64()
    fields = (pa.string(), pa.int64(), pa.list_(pa.list_(number)))
    types = (*fields, pa.list_(pa.uint32()))
    notes = {"units": UNITS, "first_frame": str(skip), "tier": tier}
    return pa.schema(
        list(zip(COLUMNS, types, strict=True)),
        metadata={f"sensorium.{k}": v for k, v in notes.items()},
    )


def _table(answers: list[FilmAnswer], schema: pa.Schema) -> pa.Table:
    kind = schema.field("prediction").type
    lengths = np.concatenate(
        [np.full(len(a.prediction_nt), a.prediction_nt.shape[1]) for a in answers]
    )
    # Not to_pandas_dtype: before pyarrow 26 that needs pandas.
    number = np.float32 if pa.types.is_float32(kind.value_type.value_type) else float
    flat = [np.asarray(a.prediction_nt, number).ravel() for a in answers]
    values = pa.array(np.concatenate(flat))
    inner = pa.ListArray.from_arrays(_offsets(lengths), values)
    counts = [len(a.prediction_nt) for a in answers]
    ids = pa.array(np.concatenate([a.ids_n for a in answers]).astype(np.uint32))
    columns = [
        pa.array([a.mouse for a in answers]),
        pa.array([int(a.trial) for a in answers], pa.int64()),
        pa.ListArray.from_arrays(_offsets(counts), inner),
        pa.ListArray.from_arrays(_offsets([len(a.ids_n) for a in answers]), ids),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _offsets(lengths: Any) -> pa.Array:
    ends = np.cumsum(np.asarray(lengths, np.int64))
    return pa.array(np.concatenate([[0], ends]).astype(np.int32))


class FileRow(NamedTuple):
    """One row as a file has it, whatever is wrong with it; None where it is missing."""

    mouse: str | None
    trial: Any
    lengths_n: np.ndarray  # how many values each neuron has
    values: np.ndarray  # of all neurons, one after the other
    ids_n: np.ndarray | None

    @property
    def prediction_nt(self) -> np.ndarray:
        """The values as a rectangle; only where all lengths are equal."""
        return self.values.reshape(len(self.lengths_n), -1)


def table(path: str | Path) -> pq.ParquetFile:
    """Open a table so that a row group larger than memory can be read in pieces."""
    with regular.opened(path) as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 8))
        footer = int.from_bytes(file.read(4), "little")
    if footer > min(MOST_FOOTER, size):
        raise pa.ArrowInvalid(f"its footer claims {footer} bytes")
    limits: Any = {
        "thrift_string_size_limit": MOST_FOOTER,
        "thrift_container_size_limit": MOST_PARTS,
    }
    limits |= {"pre_buffer": False, "buffer_size": 1 << 20}
    known = pq.ParquetFile(path, **limits)
    # Names stay as they are stored: one that a million rows share is there once.
    names = [name for name in COLUMNS[:2] if name in known.schema_arrow.names]
    return pq.ParquetFile(
        path, metadata=known.metadata, read_dictionary=names, **limits
    )


def oversized(file: pq.ParquetFile, values: int) -> str:
    """What the footer claims beyond what a submission can need; nothing if all is well.

    values: of the largest trial, neurons times frames. A table packs so well that a few
    bytes may stand for more rows, or for longer ones, than memory holds.
    """
    about = file.metadata
    if about.num_rows > MOST_ROWS:
        return f"{about.num_rows} rows"
    for number in range(about.num_row_groups):
        group = about.row_group(number)
        for column in range(group.num_columns):
            chunk = group.column(column)
            most = SPARE * max(values, 1) * max(group.num_rows, 1)
            if chunk.num_values > most:
                return f"{chunk.num_values} values in {group.num_rows} rows"
            names = chunk.path_in_schema in COLUMNS[:2]
            most = LONGEST_NAME * group.num_rows if names else 16 * most
            if chunk.total_uncompressed_size > most + (1 << 20):
                return f"{chunk.total_uncompressed_size} bytes in {group.num_rows} rows"
    return ""


def trial_key(value: Any) -> Any:
    """A trial's number from 7, '7' or '7.npy'; anything else stays as it is."""
    if isinstance(value, str) and re.fullmatch(r"\d{1,18}(\.npy)?", value.strip()):
        return int(value.strip().removesuffix(".npy"))
    return value


def index(file: pq.ParquetFile) -> list[tuple[Any, Any]]:
    """Mouse and trial of every row; reads no prediction."""
    found = []
    for batch in file.iter_batches(1024, columns=list(COLUMNS[:2])):
        mice, trials = (_names(batch.column(name)) for name in COLUMNS[:2])
        found += zip(mice, map(trial_key, trials), strict=True)
    return found


def _names(column: pa.Array) -> list[Any]:
    """Names or numbers of trials; refused where they are longer than any name."""
    stored = column.dictionary if pa.types.is_dictionary(column.type) else column
    kind = stored.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        compute: Any = pc  # its functions are made when it is imported
        longest = compute.max(compute.binary_length(stored)).as_py() or 0
        if longest > LONGEST_NAME:
            raise pa.ArrowInvalid(f"a name of {longest} letters")
    return column.to_pylist()


def rows(file: pq.ParquetFile, values: str = "prediction") -> Iterator[FileRow]:
    """Every row, one in memory at a time."""
    names = [*COLUMNS[:2], values, COLUMNS[3]]
    for batch in file.iter_batches(1, columns=names):
        one = {name: batch.column(name) for name in names}
        inner = one[values].flatten()
        lengths = inner.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        # A value that is missing becomes a NaN, which is told as such.
        flat = inner.flatten().to_numpy(zero_copy_only=False)
        ids = one["neuron_ids"].flatten()
        whole = len(ids) and not ids.null_count
        yield FileRow(
            _names(one["mouse"])[0],
            trial_key(_names(one["trial_indices"])[0]),
            lengths,
            flat,
            ids.to_numpy(zero_copy_only=False) if whole else None,
        )
