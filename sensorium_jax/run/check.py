"""The command `sensorium check`."""

from sensorium_jax.data.check.check import inspect
from sensorium_jax.findings import counts
from sensorium_jax.run import Outcome
from sensorium_jax.run.page import check_place, draw


def check(
    path: str,
    *,
    deep: bool = False,
    rules: str | None = None,
    figure: str | None = None,
) -> Outcome:
    """A line for each fault; code 1 if a run would fail or be wrong.

    figure: where a page of pictures of each mouse goes, unless there are errors.
    """
    if figure:
        check_place(figure)
    report = inspect(path, deep=deep, rules=rules)
    data = {
        "clean": report.clean,
        **counts(report.faults),
        "faults": [f._asdict() for f in report.faults],
        "sessions": list(report.sessions),
        "trials": report.trials,
        "read": report.read,
    }
    lines = [str(report)]
    if figure and report.clean:
        pages = draw(path, figure, rules)
        data["figures"] = [str(page.path) for page in pages]
        lines += map(str, pages)
    elif figure:
        lines.append("No page was drawn: mend the errors first.")
    return Outcome(data, "\n".join(lines), int(not report.clean))
