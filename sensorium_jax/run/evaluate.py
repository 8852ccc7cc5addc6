"""The command `sensorium evaluate`: the judges' numbers, and a leaderboard."""

from collections.abc import Sequence
from csv import DictWriter
from pathlib import Path
from typing import Any

from sensorium_jax.data.recordings import Recordings
from sensorium_jax.errors import unknown
from sensorium_jax.run import Outcome
from sensorium_jax.submission.read import Verdict, evaluate as judge

NUMBERS = (
    "single_trial",
    "single_trial_over_mice",
    "to_average",
    "to_average_over_mice",
    "feve",
)
COLUMNS: tuple[str, ...] = (
    "rank",
    "file",
    "year",
    "tier",
    *NUMBERS,
    "mice",
    "trials",
    "undefined",
)


def evaluate(
    files: Sequence[str],
    data: str,
    *,
    ground_truth: str | None = None,
    tier: str | None = None,
    mouse: str | None = None,
    csv: str | None = None,
) -> Outcome:
    """Score files and rank those of one tier by single-trial correlation."""
    recordings = Recordings.open(data)
    tiers = {str(t) for s in recordings.sessions for t in s.tiers} - {"none"}
    if tier is not None and tier not in tiers:
        raise unknown("tier", tier, tiers, "No mouse of the recordings has it.")
    truth: Any = ground_truth
    if ground_truth is not None and not Path(ground_truth).is_file():
        truth = Recordings.open(ground_truth).sessions
    found: list[Verdict] = []
    for file in files:
        found += judge(file, recordings.sessions, truth=truth, tier=tier, mouse=mouse)
    found.sort(key=lambda v: (v.year, v.tier, -v.single_trial))
    rows = list(_ranked(found))
    if csv is not None:
        with open(csv, "w", newline="") as target:
            writer = DictWriter(target, list(COLUMNS), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    entries = [row | v._asdict() for row, v in zip(rows, found, strict=True)]
    return Outcome({"files": entries}, _table(rows) + _notes(found))


def _ranked(verdicts: list[Verdict]):
    rank, last = 0, None
    for v in verdicts:
        rank = rank + 1 if (v.year, v.tier) == last else 1
        last = (v.year, v.tier)
        row = {name: getattr(v, name, None) for name in COLUMNS}
        yield row | {"rank": rank, "mice": len(v.mice)}


def _table(rows: list[dict[str, Any]]) -> str:
    used = [c for c in COLUMNS if any(row[c] is not None for row in rows)]
    cells = [used, *([_cell(row[c]) for c in used] for row in rows)]
    wide = [max(len(line[i]) for line in cells) for i in range(len(used))]
    return "\n".join(
        "  ".join(c.ljust(w) for c, w in zip(line, wide, strict=True)).rstrip()
        for line in cells
    )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _notes(verdicts: list[Verdict]) -> str:
    lines = []
    for v in verdicts:
        for word, mice in (("hidden", v.hidden), ("not in the file", v.missing)):
            if mice:
                lines.append(f"{v.file}: {word}, not scored: {', '.join(mice)}")
        if v.undefined:
            neurons = sum(m["neurons"] for m in v.mice.values())
            words = f"{v.undefined} of {neurons} neurons have no correlation: scored 0"
            lines.append(f"{v.file}: {words}")
    return "".join(f"\n{line}" for line in lines)
