"""Words and tables for a terminal."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

LONGEST = 15  # characters of a label


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


def printable(words: str) -> str:
    """Words without what would steer a terminal: such characters become their names.

    What is printed may come from a file of somebody else.
    """
    if words.isascii() and words.replace("\n", "").isprintable():
        return words
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in words)


def short(names: Iterable[str], most: int = LONGEST) -> dict[str, str]:
    """Names as labels: the long ones cut, and numbered where that makes them alike."""
    labels: dict[str, str] = {}
    for name in names:
        plain = printable(name).replace("\n", " ").replace("_", " ")
        label, k = cut(plain, most), 2
        while label in labels.values():
            label, k = f"{cut(plain, most - 4)} #{k}", k + 1
        labels[name] = label
    return labels


def cut(words: str, most: int = LONGEST) -> str:
    """Words without their end, where they are long."""
    return words if len(words) <= most else f"{words[: most - 1]}…"


def cell(value: Any, digits: int = 3) -> str:
    """A number as it stands in a table; '-' for what is not known."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.{digits}f}"
    if isinstance(value, (list, tuple)):
        return "-".join(cell(v, digits) for v in value)
    return str(value)


def duration(seconds: float) -> str:
    """A time as a person says it."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def html_table(rows: Sequence[Sequence[str]]) -> str:
    """Cells as a table for a notebook, the first row as heads."""
    lines = []
    for i, row in enumerate(rows):
        tag = "td" if i else "th"
        cells = "".join(f"<{tag}>{escape(c.strip())}</{tag}>" for c in row)
        lines.append(f"<tr>{cells}</tr>")
    return f"<table>{''.join(lines)}</table>"


def html_facts(facts: Sequence[Mapping[str, str]]) -> str:
    """Facts of several things as a table for a notebook, a row for each of them."""
    heads = list(facts[0]) if facts else []
    return html_table([heads, *(list(row.values()) for row in facts)])
