"""Faults between sessions: sizes that do not go together, the same mouse twice."""

import os
from collections.abc import Iterator

import numpy as np

from sensorium_jax.data.check.trials import Scan
from sensorium_jax.data.session import BEHAVIOR, RESPONSES, VIDEO
from sensorium_jax.findings import Fault, error, most_common

TRIED = 8  # first trials looked at for responses that tell recordings apart
COMPARED = 1 << 24  # of their numbers


def across(scans: list[Scan]) -> Iterator[Fault]:
    """Faults between sessions: frame sizes, behavior signals, the same twice."""
    yield from _alike(scans, VIDEO, "frame size", "error")
    yield from _alike(scans, BEHAVIOR, "number of behavior signals", "warning")
    seen: dict[tuple, Scan] = {}
    for scan in scans:
        for mark in _marks(scan):
            if mark in seen and seen[mark].folder != scan.folder:
                yield error(
                    scan.folder,
                    f"duplicate session: the same as {seen[mark].folder.name}",
                    "remove one of the two",
                )
                break
            seen[mark] = scan


def _alike(scans: list[Scan], what: str, words: str, level: str) -> Iterator[Fault]:
    sizes = []
    for scan in scans:
        cut = -1 if scan.timed else None
        size = most_common(h.shape[:cut] for h in scan.headers.get(what, {}).values())
        if size is not None:
            sizes.append((size, scan))
    usual = most_common(size for size, _ in sizes)
    first = next((scan.folder.name for size, scan in sizes if size == usual), "")
    for size, scan in sizes:
        if size != usual:
            yield Fault(
                level,
                str(scan.places[what]),
                f"other {words} than {first}: {size}, there {usual}",
                "train mice of one kind at a time, or write them alike",
            )


def _marks(scan: Scan) -> Iterator[tuple]:
    """What only the same recording shares: its place, its name, its numbers."""
    yield "place", os.path.realpath(scan.folder)
    yield "name", scan.folder.name
    known = scan.headers.get(RESPONSES, {})
    for number in sorted(known)[:TRIED]:
        try:
            stored = np.load(scan.file(RESPONSES, number), mmap_mode="r")
            values = np.array(stored.reshape(-1)[:COMPARED], np.float64)
        except (OSError, ValueError):
            continue
        values = values[np.isfinite(values)]
        if values.size and np.ptp(values) > 0:
            yield "responses", number, hash(values.tobytes())
            return
