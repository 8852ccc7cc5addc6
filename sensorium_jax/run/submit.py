"""The command `sensorium submit`: predict and write, or look at what was written."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from sensorium_jax import progress
from sensorium_jax.data.session import Session
from sensorium_jax.errors import UsageError
from sensorium_jax.findings import counts
from sensorium_jax.io import atomic
from sensorium_jax.io.lock import only_writer
from sensorium_jax.run import Outcome
from sensorium_jax.run.score import models, opened
from sensorium_jax.run.twins import one_or_ensemble
from sensorium_jax.scoring.predict import predict
from sensorium_jax.submission import write as writing
from sensorium_jax.submission.lint import Inspection, validate as inspect
from sensorium_jax.submission.parquet2023 import UNITS


class Submitted(NamedTuple):
    """What was written."""

    track: str
    tables: dict[str, Path]  # by tier
    uploads: list[Path]  # what the server takes: zips, or the csv files themselves
    trials: int


def submit(
    data: str,
    *,
    track: str = "main",
    workdir: str | None = None,
    model: str | Sequence[str] | None = None,
    out: str | None = None,
    tier: str | None = None,
    names: str = "server",
    mouse: str | None = None,
    units: str = "auto",
    float32: bool = False,
    rules: str | None = None,
    validate: Sequence[str] | None = None,
) -> Outcome:
    """Write the files of a track with a model and look at them, or only look at some.

    Code 1 if a judge would refuse a file; a line for each fault.
    """
    if validate:
        if workdir or model or out:
            raise UsageError(
                "--validate looks at files and writes nothing. Leave out --workdir, "
                "--model and --out, or leave out --validate."
            )
        return _inspected(validate, opened(data, rules).sessions, tier, mouse)
    nothing = (
        "Nothing to submit: give a run with --workdir, or a folder or name with "
        "--model, and a folder to write with --out; or a file with --validate."
    )
    source = models(workdir, model, nothing)
    if not out:
        raise UsageError(nothing)
    atomic.need_place(out, folder=True)
    sessions = opened(data, rules).sessions
    done = predict_and_write(
        one_or_ensemble(source),
        sessions,
        out,
        track=track,
        tiers=tuple(tier.split(",")) if tier else (),
        names=names,
        mouse=mouse,
        units=units,
        single=float32,
    )
    looked = _inspected([str(p) for p in done.tables.values()], sessions, None, mouse)
    data_out = {
        "track": track,
        "tables": {tier: str(path) for tier, path in done.tables.items()},
        "uploads": [str(path) for path in done.uploads],
        "trials": done.trials,
        "units": UNITS,
        **looked.data,
    }
    lines = [f"{done.trials} trials predicted, in units {UNITS}."]
    lines += [f"upload {path}" for path in done.uploads]
    return Outcome(data_out, "\n".join([looked.text, *lines]), looked.code)


def predict_and_write(
    twin: Any,
    sessions: Sequence[Session],
    out: str | Path,
    *,
    track: str = "main",
    tiers: Sequence[str] = (),
    names: str = "server",
    mouse: str | None = None,
    units: str = "auto",
    batch: int | None = None,
    single: bool = False,
) -> Submitted:
    """Predict the tiers of a track, trial after trial, and write them into a folder.

    tiers other than the track's, such as oracle, are written for the local judge. mouse
    names the one of 2022. units is what the twin answers in, per_frame, per_neuron or
    raw, unless it says so itself; files are in the judges' units, per_frame. single
    writes float32 instead of float64.
    """
    planned = writing.planned_files(
        sessions, out, track=track, tiers=tiers, names=names, mouse=mouse
    )
    with only_writer(out, "submission"):
        trials = 0
        for file in planned:
            stream = chain.from_iterable(
                predict(twin, session, rows, batch=batch, units=units)
                for session, rows in file.trials
            )
            stream = progress.track(stream, f"Predicting {file.tier}", file.count)
            trials += writing.write(file, stream, single=single)
        tables = {file.tier: file.path for file in planned}
        return Submitted(track, tables, writing.uploads(out, track, planned), trials)


def _inspected(
    paths: Sequence[str],
    sessions: Sequence[Session],
    tier: str | None,
    mouse: str | None,
) -> Outcome:
    looks = [inspect(path, sessions, tier=tier, mouse=mouse) for path in paths]
    faults = [fault for look in looks for fault in look.faults]
    tables, rows = (sum(getattr(x, k) for x in looks) for k in ("tables", "rows"))
    whole = Inspection(faults, tables, rows)
    found: dict[str, Any] = {
        "accepted": whole.accepted,
        **counts(faults),
        "faults": [f._asdict() for f in faults],
        "rows": rows,
    }
    return Outcome(found, str(whole), int(not whole.accepted))
