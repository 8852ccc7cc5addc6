"""What a check finds: where, what it found, how bad it is, and what to do about it."""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from sensorium_jax.text import align

Key = TypeVar("Key", bound=Hashable)


class Fault(NamedTuple):
    """One finding; an error means that a run would fail or be wrong."""

    level: str  # "error" or "warning"
    file: str
    finding: str
    remedy: str


HEADS = Fault("level", "file", "finding", "remedy")


def error(file: str | Path, finding: str, remedy: str) -> Fault:
    """A fault that a run would not survive."""
    return Fault("error", str(file), finding, remedy)


def warning(file: str | Path, finding: str, remedy: str) -> Fault:
    """A fault that a run survives, perhaps with a worse result."""
    return Fault("warning", str(file), finding, remedy)


def most_common(values: Iterable[Key]) -> Key | None:
    """The value that occurs most often; None where there are no values."""
    counts = Counter(values).most_common(1)
    return counts[0][0] if counts else None


def counts(faults: Sequence[Fault]) -> dict[str, int]:
    """How many errors and warnings."""
    levels = [f.level for f in faults]
    return {"errors": levels.count("error"), "warnings": levels.count("warning")}


def listed(faults: Sequence[Fault]) -> str:
    """Faults as columns, a line each, and an empty line; nothing where all is well."""
    lines = align([HEADS, *faults], left=len(HEADS))
    return "\n".join([*lines, "", ""]) if faults else ""
