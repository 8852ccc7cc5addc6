"""Words and tables for a terminal."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any


def align(rows: Sequence[Sequence[str]], *, left: int = 1) -> list[str]:
    """Lines of cells under each other: the first `left` columns begin alike.

    The others end alike, as numbers should. The last column of words is never wrapped,
    so that lines can be searched.
    """
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        pairs = zip(row, widths, strict=True)
        cells = [
            c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(pairs)
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def cell(value: Any, digits: int = 3) -> str:
    """A number as it stands in a table; '-' for what is not known."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.{digits}f}"
    if isinstance(value, (list, tuple)):
        return "-".join(cell(v, digits) for v in value)
    return str(value)


def html_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows of the same columns as a notebook shows them."""
    heads = list(rows[0]) if rows else []
    lines = [heads, *([row[h] for h in heads] for row in rows)]
    body = "".join(
        f"<tr>{''.join(f'<{tag}>{escape(c)}</{tag}>' for c in line)}</tr>"
        for tag, line in zip(["th", *["td"] * len(rows)], lines, strict=True)
    )
    return f"<table>{body}</table>"
