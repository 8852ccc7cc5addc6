"""Scores as tables for people and as rows for csv."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

COLUMNS = {
    "single_trial": "single trial",
    "single_trial_interval": "95 %",
    "to_average": "to average",
    "ceiling": "ceiling",
    "fraction_of_ceiling": "fraction",
    "trials": "trials",
    "neurons": "neurons",
    "undefined": "undefined",
}


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of cells, the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells]).rstrip())
    return lines


def cell(value: Any) -> str:
    """A number as it stands in a table."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, (list, tuple)):
        return "-".join(f"{v:.3f}" for v in value)
    return str(value)


def tier_lines(tier: str, found: Mapping[str, Any]) -> list[str]:
    """One tier: all of it, each mouse, each type of stimulus, each depth."""
    rows = [[tier, *COLUMNS.values()], _row("all", found)]
    rows += [_row(f"  {name}", part) for name, part in found["mice"].items()]
    rows += [_row(f"  {name}", part) for name, part in found["stimuli"].items()]
    origin = {"truth": "true rates", "repeats": "repeats", None: "nothing: no repeats"}
    words = [
        f"over mice {cell(found['single_trial_over_mice'])}",
        f"FEVE {cell(found['feve'])} (median {cell(found['feve_median'])})",
        f"Poisson loss {cell(found['poisson'])}",
        f"bits per spike {cell(found['bits_per_spike'])} "
        f"(median {cell(found['bits_per_spike_median'])})",
        f"ceiling from {origin[found['ceiling_from']]}",
    ]
    lines = [*align(rows), "; ".join(words)]
    if found["depths"]:
        parts = [
            f"{d['depth']:.0f} um {d['single_trial']:.3f}" for d in found["depths"]
        ]
        lines.append("by depth: " + ", ".join(parts))
    if other := found.get("against"):
        low, high = other["difference_interval"]
        lines.append(
            f"against {other['model']}: {other['difference']:+.4f} ({low:+.4f} to "
            f"{high:+.4f}, p {other['p']:.3g}), {other['neurons_better']:.0%} of "
            "neurons predicted better"
        )
    return lines


def _row(name: str, found: Mapping[str, Any]) -> list[str]:
    return [name, *(cell(found[key]) for key in COLUMNS)]


def tables(found: Mapping[str, Any]) -> str:
    """Every tier."""
    return "\n\n".join("\n".join(tier_lines(t, f)) for t, f in found.items())


def flat(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per tier, mouse and type of stimulus, numbers only."""
    rows = []
    for tier, scores in found.items():
        parts = [("all", "all", scores)]
        parts += [("mouse", name, part) for name, part in scores["mice"].items()]
        parts += [("stimulus", name, part) for name, part in scores["stimuli"].items()]
        for kind, name, part in parts:
            numbers = {
                key: value
                for key, value in part.items()
                if not isinstance(value, (dict, list))
            }
            rows.append({"tier": tier, "of": kind, "name": name, **numbers})
    return rows


def write_csv(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Rows under the columns that any of them has."""
    rows = list(rows)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
