"""Where a judge takes the true responses from: the recordings, or files that hold them.

Every source answers the same questions: which trials it has, and what the neurons of
one did, [n, t] in normalized units from frame 50 of a film on.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sensorium_jax.data import statistics
from sensorium_jax.data.session import RESPONSES
from sensorium_jax.data.stream.pools import labelled
from sensorium_jax.errors import UserError
from sensorium_jax.normalize import at_frames
from sensorium_jax.submission import csv2022, parquet2023
from sensorium_jax.submission.expected import SKIP, Mouse


class Labels(Protocol):
    """A source of true responses."""

    def trials(self, mouse: str, tier: str) -> list[Any]:
        """Trials of a tier that have responses; empty where they are hidden."""
        ...

    def ids(self, mouse: str) -> np.ndarray:
        """Unit ids in the order of the responses."""
        ...

    def responses(self, mouse: str, trial: Any) -> np.ndarray:
        """What the neurons did, [n, t]."""
        ...


@dataclass(frozen=True)
class Recorded:
    """The responses of recordings."""

    mice: Mapping[str, Mouse]

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
        precision_tn = at_frames(statistics.precision(session), slice(len(raw_tn)))
        skip = SKIP if session.year == 2023 else 0
        return (raw_tn * precision_tn)[skip:].T


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
        return np.frombuffer(data, np.float32).reshape(shape)


@contextmanager
def filed(path: Path, year: int, mouse: str) -> Iterator[Filed]:
    """Read a ground truth file of either year: a csv, or a table with responses."""
    rows = _csv(path, mouse) if year == 2022 else _table(path)
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


def _csv(path: Path, mouse: str):
    head = csv2022.header(path)
    if "responses" not in head:
        raise UserError(
            f"{path} has the columns {', '.join(head)}; a ground truth file of 2022 "
            f"has {', '.join(csv2022.TRUTH_COLUMNS)}."
        )
    for row in csv2022.rows(path, "responses"):
        if row.values_n is None or row.ids_n is None:
            raise UserError(
                f"{path}: trial {row.trial} holds more than numbers. Write it again."
            )
        yield mouse, row.trial, row.values_n[:, None], row.ids_n


def _table(path: Path):
    file = parquet2023.table(path)
    have = file.schema_arrow.names
    values = "responses" if "responses" in have else "prediction"
    for row in parquet2023.rows(file, values):
        if row.ids_n is None or row.mouse is None:
            raise UserError(f"{path}: trial {row.trial} lacks its mouse or neuron_ids.")
        yield row.mouse, row.trial, row.prediction_nt, row.ids_n


def hidden(names: Sequence[str], tier: str) -> UserError:
    """The error for responses that nobody outside the competition has."""
    return UserError(
        f"The responses of tier {tier} are hidden (all zero) in {', '.join(names)}, so "
        "nothing can be scored. Submit the tier to the server, score a labelled tier "
        "such as oracle, or give --ground-truth."
    )
