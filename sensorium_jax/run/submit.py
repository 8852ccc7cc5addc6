"""The command `sensorium submit`: predict and write, or look at what was written."""

from collections.abc import Sequence
from typing import Any

from sensorium_jax.data.recordings import Recordings
from sensorium_jax.errors import UserError
from sensorium_jax.run import Outcome
from sensorium_jax.run.check import table
from sensorium_jax.submission.parquet2023 import UNITS


def submit(
    data: str,
    *,
    track: str = "main",
    workdir: str | None = None,
    model: str | None = None,
    out: str | None = None,
    tier: str | None = None,
    names: str = "server",
    mouse: str | None = None,
    units: str = "auto",
    float32: bool = False,
    validate: Sequence[str] | None = None,
) -> Outcome:
    """Write the files of a track with a model and look at them, or only look at some.

    Code 1 if a judge would refuse a file; a line for each fault.
    """
    recordings = Recordings.open(data)
    if validate:
        return _validate(validate, recordings, tier, mouse)
    source = model or workdir
    if not source or not out:
        raise UserError(
            "Nothing to submit: give a run with --workdir, or a folder or name with "
            "--model, and a folder to write with --out; or a file with --validate."
        )
    from sensorium_jax.submission.write import submit as write
    from sensorium_jax.zoo import load

    done = write(
        load.load(source),
        recordings.sessions,
        out,
        track=track,
        tiers=tuple(tier.split(",")) if tier else (),
        names=names,
        mouse=mouse,
        units=units,
        single=float32,
    )
    files = [str(p) for p in done.tables.values()]
    found = _validate(files, recordings, None, mouse)
    data_out = {
        "track": track,
        "tables": {tier: str(path) for tier, path in done.tables.items()},
        "uploads": [str(path) for path in done.uploads],
        "trials": done.trials,
        "units": UNITS,
        **found.data,
    }
    lines = [f"{done.trials} trials predicted, in units {UNITS}."]
    lines += [f"upload {path}" for path in done.uploads]
    return Outcome(data_out, "\n".join([found.text, *lines]), found.code)


def _validate(
    files: Sequence[str], recordings: Recordings, tier: str | None, mouse: str | None
) -> Outcome:
    from sensorium_jax.submission.lint import validate as look

    reports = [look(f, recordings.sessions, tier=tier, mouse=mouse) for f in files]
    faults = [fault for report in reports for fault in report.faults]
    levels = [f.level for f in faults]
    accepted = all(report.accepted for report in reports)
    found: dict[str, Any] = {
        "accepted": accepted,
        "errors": levels.count("error"),
        "warnings": levels.count("warning"),
        "faults": [f._asdict() for f in faults],
        "rows": sum(report.rows for report in reports),
    }
    last = (
        f"{'accepted' if accepted else 'refused'}: {found['errors']} errors, "
        f"{found['warnings']} warnings in {found['rows']} trials of "
        f"{sum(report.tables for report in reports)} files."
    )
    return Outcome(found, f"{table(faults)}{last}", int(not accepted))
