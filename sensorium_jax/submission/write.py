"""From a twin and recordings to the files that a competition's server takes."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sensorium_jax import progress
from sensorium_jax.data.session import Session
from sensorium_jax.scoring.answers import Twin, answers
from sensorium_jax.submission import (
    csv2022,
    expected,
    parquet2023,
    zips,
)


class Submitted(NamedTuple):
    """What was written."""

    track: str
    tables: dict[str, Path]  # by tier
    uploads: list[Path]  # what the server takes: zips, or the csv files themselves
    trials: int


def submit(
    twin: Twin,
    sessions: Sequence[Session],
    out: str | Path,
    *,
    track: str = "main",
    tiers: Sequence[str] = (),
    names: str = "server",
    mouse: str | None = None,
    units: str = "auto",
    single: bool = False,
    **how: Any,
) -> Submitted:
    """Predict the tiers of a track, trial after trial, and write them into a folder.

    The main track of 2023 is one zip of both tiers, the bonus track a zip per tier.
    tiers other than the track's, such as oracle, are written for the local judge. mouse
    names the one of 2022. units is what the twin answers in, per_frame, per_neuron or
    raw, unless it says so itself; files are in the judges' units, per_frame. single
    writes float32 instead of float64. how goes to predict.
    """
    how["units"] = units
    chosen, out = expected.track(track), Path(out)
    out.mkdir(parents=True, exist_ok=True)
    tables, trials = {}, 0
    for tier in tiers or chosen.files:
        path = out / expected.file_name(track, tier, names)
        found = expected.scored(sessions, tier, chosen.year)
        if chosen.year == 2022:
            about = _about(found, track, mouse)
            made = _pictures(twin, about, tier, how)
            trials += csv2022.write(path, made)
        else:
            made = _films(twin, found, tier, how)
            trials += parquet2023.write(path, made, tier=tier, single=single)
        tables[tier] = path
    uploads = [p for t, p in tables.items() if t in chosen.files]
    if chosen.year == 2023 and len(uploads) == len(tables):
        uploads = _pack(out, track, tables)
    return Submitted(track, tables, uploads, trials)


def _pack(out: Path, track: str, tables: dict[str, Path]) -> list[Path]:
    if track == "main":
        return [zips.pack(out / "predictions_main.zip", list(tables.values()))]
    stems = {t: p.name.split(".")[0] for t, p in tables.items()}
    return [zips.pack(out / f"{stems[t]}.zip", [p]) for t, p in tables.items()]


def _about(sessions: Sequence[Session], track: str, mouse: str | None) -> Session:
    scan = expected.SCANS[track]
    if mouse is None and any(scan in s.name for s in sessions):
        mouse = scan
    return expected.picture_mouse(sessions, mouse)


def _films(
    twin: Twin, sessions: Sequence[Session], tier: str, how: dict[str, Any]
) -> Iterator[parquet2023.Answer]:
    rows = [s.trials_of(tier) for s in sessions]
    with progress.bar(f"Predicting {tier}", sum(map(len, rows))) as bar:
        for session, trials in zip(sessions, rows, strict=True):
            made = answers(twin, session, trials, **how)
            for row, prediction_nt in zip(trials, made, strict=True):
                file = int(session.files[row])
                ids = session.unit_ids_n
                yield parquet2023.Answer(session.name, file, prediction_nt, ids)
                bar.add(1)


def _pictures(
    twin: Twin, session: Session, tier: str, how: dict[str, Any]
) -> Iterator[csv2022.Answer]:
    rows = session.trials_of(tier)
    names, images = list(expected.mouse(session).rows), expected.image_ids(session)
    made = answers(twin, session, rows, **{"batch": 128, **how})
    with progress.bar(f"Predicting {tier}", len(rows)) as bar:
        for row, prediction_nt in zip(rows, made, strict=True):
            ids = session.unit_ids_n
            yield csv2022.Answer(names[row], images[row], prediction_nt[:, 0], ids)
            bar.add(1)
