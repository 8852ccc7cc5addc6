"""Submissions of 2022: one csv of pictures per tier, lists written out as text.

Columns trial_indices, image_ids, prediction and neuron_ids; a ground truth file has
responses in place of prediction. Values are in normalized response units.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax.errors import UserError
from sensorium_jax.io import atomic, regular

COLUMNS = ("trial_indices", "image_ids", "prediction", "neuron_ids")
MOST_ROWS = 200_000
LONGEST = 4 << 20  # characters of a field; 100,000 neurons need half of it
MOST_LINE = 2 * LONGEST + (1 << 20)  # characters
TRUTH_COLUMNS = ("trial_indices", "image_ids", "responses", "neuron_ids")


class PictureAnswer(NamedTuple):
    """What is submitted of one presentation."""

    trial: Any
    image: Any
    prediction_n: np.ndarray
    ids_n: np.ndarray


def write(
    path: str | Path, answers: Iterable[PictureAnswer], *, truth: bool = False
) -> int:
    """Write the csv of one tier trial after trial; returns how many.

    truth names the third column responses, as ground truth files have it. The file
    appears under its name when it is whole.
    """
    count, known, words = 0, None, ""
    with atomic.whole(path) as part, open(part, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(TRUTH_COLUMNS if truth else COLUMNS)
        for answer in answers:
            if answer.ids_n is not known:
                known, words = answer.ids_n, str(answer.ids_n.tolist())
            values = str(np.asarray(answer.prediction_n, np.float32).tolist())
            writer.writerow([answer.trial, answer.image, values, words])
            count += 1
    return count


class CsvRow(NamedTuple):
    """One line as a file has it; None for a list that holds more than numbers."""

    trial: str
    image: str
    values_n: np.ndarray | None
    ids_n: np.ndarray | None


class _Lines:
    """Lines of a csv, of which those between two rows have so many characters at most.

    A row of nothing but commas would take ten times its length in memory.
    """

    def __init__(self, file: io.TextIOWrapper):
        self.file = file
        self.row()

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self.file.readline(self.left + 1)
        self.left -= len(line)
        if self.left < 0:
            raise csv.Error(f"a line has more than {MOST_LINE} characters")
        if not line:
            raise StopIteration
        return line

    def row(self) -> None:
        """A row is complete; the next one has as many characters again."""
        self.left = MOST_LINE


@contextmanager
def _text(path: str | Path) -> Iterator[_Lines]:
    """A csv open for reading; what it cannot be read for is told in words."""
    csv.field_size_limit(LONGEST)
    try:
        with io.TextIOWrapper(regular.opened(path), newline="") as file:
            yield _Lines(file)
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is no csv of predictions ({error}). Expected text, with a list of "
            f"at most {LONGEST >> 20} MB in a field. Write it again."
        ) from None


def header(path: str | Path) -> list[str]:
    """The columns of a csv."""
    with _text(path) as lines:
        return next(csv.reader(lines), [])


def index(path: str | Path) -> list[tuple[str, str]]:
    """Trial and picture of every line; no list is parsed."""
    keys = []
    with _text(path) as lines:
        for line in csv.DictReader(lines):
            lines.row()
            keys.append((line["trial_indices"] or "", line["image_ids"] or ""))
            if len(keys) > MOST_ROWS:
                raise UserError(
                    f"{path} has more than {MOST_ROWS} lines. Expected one for each "
                    "trial of a tier; submit one file per tier."
                )
    return keys


def rows(path: str | Path, values: str = "prediction") -> Iterator[CsvRow]:
    """Every line, one in memory at a time."""
    text, ids = "", None
    with _text(path) as lines:
        for line in csv.DictReader(lines):
            lines.row()
            if (line["neuron_ids"] or "") != text:
                text = line["neuron_ids"] or ""
                ids = numbers(text)
            trial, image = line["trial_indices"] or "", line["image_ids"] or ""
            yield CsvRow(trial, image, numbers(line[values] or ""), ids)


def numbers(text: str) -> np.ndarray | None:
    """The numbers in '[1.5, 2]'; None if there is anything else. Ids stay whole."""
    inside = text.strip().removeprefix("[").removesuffix("]")
    words = inside.split(",") if inside.strip() else []
    whole = all(word.strip().lstrip("-").isdigit() for word in words)
    try:
        return np.array(words, np.int64 if whole and words else np.float64)
    except (ValueError, OverflowError):
        return None
