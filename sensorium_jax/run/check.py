"""The command `sensorium check`."""

from sensorium_jax.data.check.check import Report, inspect
from sensorium_jax.findings import Fault
from sensorium_jax.run import Outcome

HEADS = Fault("level", "file", "finding", "remedy")


def check(path: str, *, deep: bool = False) -> Outcome:
    """A line for each fault; code 1 if a run would fail or be wrong."""
    report = inspect(path, deep=deep)
    levels = [f.level for f in report.faults]
    data = {
        "clean": report.clean,
        "errors": levels.count("error"),
        "warnings": levels.count("warning"),
        "faults": [f._asdict() for f in report.faults],
        "sessions": list(report.sessions),
        "trials": report.trials,
        "read": report.read,
    }
    return Outcome(data, f"{table(report.faults)}{_sum(report)}", int(not report.clean))


def table(faults: list[Fault]) -> str:
    """Faults as columns, a line each, never wrapped so that lines can be searched."""
    if not faults:
        return ""
    rows = [HEADS, *faults]
    wide = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = (
        "  ".join([*(c.ljust(w) for c, w in zip(row, wide, strict=False)), row.remedy])
        for row in rows
    )
    return "\n".join(lines) + "\n\n"


def _sum(report: Report) -> str:
    count = [f.level for f in report.faults].count
    verdict = "clean" if report.clean else "not fit for a run"
    return (
        f"{verdict}: {count('error')} errors, {count('warning')} warnings in "
        f"{len(report.sessions)} sessions of {report.trials} trials; "
        f"read {report.read}."
    )
