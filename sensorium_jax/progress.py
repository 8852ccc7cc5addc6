"""Progress bars for long work: on standard error, silent where nobody watches."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


def watched() -> bool:
    """Whether standard error is a terminal that can redraw a line."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


class Bar:
    """Counts work done; redraws through rich when a terminal is attached."""

    def __init__(self, update):
        """Hold the function that redraws."""
        self._update = update

    def add(self, amount: float = 1, note: str = "") -> None:
        """Report that `amount` more is done, with a note to show beside the bar."""
        self._update(amount, note)


@contextmanager
def bar(title: str, total: float | None, *, unit: str = "") -> Iterator[Bar]:
    """A bar over `total` units; unit 'B' shows bytes per second."""
    if not watched():
        began = time.monotonic()
        yield Bar(lambda amount, note: None)
        took = time.monotonic() - began
        if took > 2:
            print(f"{title}: done in {took:.0f} s", file=sys.stderr)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    amounts = (
        (DownloadColumn(), TransferSpeedColumn())
        if unit == "B"
        else (MofNCompleteColumn(),)
    )
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        *amounts,
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, TextColumn("{task.fields[note]}"), console=Console(stderr=True)
    ) as p:
        task = p.add_task(title, total=total, note="")
        yield Bar(lambda amount, note: p.update(task, advance=amount, note=note))


def track(
    items: Iterable[Item], title: str, total: int | None = None
) -> Iterator[Item]:
    """Iterate with a bar."""
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    with bar(title, total) as b:
        for item in items:
            yield item
            b.add()
