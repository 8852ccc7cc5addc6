"""`sensorium predict`: a model's rates of every trial of a tier, as arrays on disk.

OUT/predictions.json      what was asked: model, recordings, tier, units
OUT/<mouse>/unit_ids.npy  [neurons]
OUT/<mouse>/starts.npy    [trials, 2]: its number, and its first frame with rates
OUT/<mouse>/<i>.npy       float32 [frames, neurons] of trial <i>
OUT/<mouse>.npz           with --npz all of that in one file, trials as rates_<i>
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax import progress
from sensorium_jax.axes import Prediction
from sensorium_jax.data import statistics
from sensorium_jax.data.session import Session, tier_named
from sensorium_jax.errors import unknown
from sensorium_jax.io import atomic
from sensorium_jax.normalize import JUDGED, SCALINGS, at_frames
from sensorium_jax.rules import UNUSED
from sensorium_jax.run import Outcome
from sensorium_jax.run.claimed import claim
from sensorium_jax.run.score import known_sessions, models, opened
from sensorium_jax.scoring.predict import predict as rates_of

ASKED, ALL = "predictions.json", "all"
ANOTHER = "predictions of another model, tier, recording or unit, which differ in"
UNITS = ("raw", *SCALINGS)


class Predicted(NamedTuple):
    """What was written, and where."""

    folder: Path
    mice: tuple[str, ...]
    trials: int  # in the folder now
    already: int  # of them were there before
    units: str

    def __str__(self) -> str:
        """One line."""
        before = f" ({self.already} were there before)" if self.already else ""
        return (
            f"{self.trials} trials of {len(self.mice)} mice{before} in {self.folder}, "
            f"units {self.units}"
        )


def predict(
    data: str,
    *,
    out: str,
    workdir: str | None = None,
    model: str | None = None,
    step: int | None = None,
    tier: str = "val",
    units: str = "raw",
    npz: bool = False,
    rules: str | None = None,
) -> Outcome:
    """The command `sensorium predict`."""
    nothing = (
        "Nothing to predict with: give a run with --workdir, or a folder or name with "
        "--model."
    )
    (source,) = models(workdir, model, nothing)
    atomic.need_place(out, folder=True)
    from sensorium_jax.zoo import load

    twin = load.load(source, step=step)
    sessions = known_sessions(twin, opened(data, rules))
    asked = {"model": source, "step": step}
    done = write(twin, sessions, out, tier=tier, units=units, npz=npz, asked=asked)
    plain = {**done._asdict(), "folder": str(done.folder), "mice": list(done.mice)}
    return Outcome(plain, str(done))


def write(
    twin: Any,
    sessions: Sequence[Session],
    out: str | Path,
    *,
    tier: str = "val",
    units: str = "raw",
    npz: bool = False,
    asked: dict[str, Any] | None = None,
) -> Predicted:
    """Predict the trials of tiers (between commas, or all), and write them as files.

    Trials that are there already are kept, so that a run that was killed goes on.
    asked: more that must be the same for it to go on.
    """
    if units not in UNITS:
        raise unknown("units", units, UNITS, "Give --units.")
    folder = Path(out).expanduser()
    rows = {s.name: _rows(s, sessions, tier) for s in sessions}
    recorded = [[s.name, s.unit_digest, s.recording_digest] for s in sessions]
    facts = {"recordings": recorded, "tier": tier, "units": units}
    claim(folder / ASKED, {**(asked or {}), **facts}, ANOTHER)
    whole = {s.name for s in sessions if (folder / f"{s.name}.npz").exists()}
    todo, count = {}, sum(map(len, rows.values()))
    for session in sessions:
        place, mine = folder / session.name, rows[session.name]
        kept = session.name in whole
        missing = [r for r in mine if not (place / f"{session.files[r]}.npy").exists()]
        todo[session.name] = [] if kept else missing
    left = sum(map(len, todo.values()))
    with progress.bar("Predicting", left) as bar:
        for session in sessions:
            if session.name in whole:
                continue
            _mouse(twin, session, todo[session.name], folder, units, bar)
            _facts(session, rows[session.name], folder / session.name)
            if npz:
                _joined(session, rows[session.name], folder)
    names = tuple(s.name for s in sessions)
    return Predicted(folder, names, count, count - left, units)


def _rows(session: Session, sessions: Sequence[Session], tier: str) -> list[int]:
    """Rows of the trials to predict."""
    if tier == ALL:
        rows = np.flatnonzero(session.tiers != UNUSED)
    else:
        names = {tier_named(t.strip(), sessions) for t in tier.split(",")}
        for name in sorted(names):
            if not any((s.tiers == name).any() for s in sessions):
                session.trials_of(name)  # says which there are
        rows = np.flatnonzero(np.isin(session.tiers, sorted(names)))
    return rows[session.lengths(rows) > session.rules.skip].tolist()


def _mouse(
    twin: Any,
    session: Session,
    rows: Sequence[int],
    folder: Path,
    units: str,
    bar: progress.Bar,
) -> None:
    """Write the trials of a mouse that are not there yet."""
    to_judged_tn = None if units == JUDGED else statistics.to_judged(session, units)
    for p in rates_of(twin, session, rows):
        path = folder / session.name / f"{session.files[p.trial]}.npy"
        rates_tn = in_units(p, to_judged_tn)
        atomic.save_npy(path, rates_tn)
        bar.add(note=session.name)


def in_units(p: Prediction, to_judged_tn: np.ndarray | None) -> np.ndarray:
    """Rates of a prediction [t, n] in the units that a factor brings to the judges'."""
    rates_tn = np.asarray(p.rates_tn, np.float32)
    if to_judged_tn is None:
        return rates_tn
    frames = np.arange(p.start, p.start + len(rates_tn))
    return (rates_tn / at_frames(to_judged_tn, frames)).astype(np.float32)


def _facts(session: Session, rows: Sequence[int], place: Path) -> None:
    """Write unit ids, and the first frame of each trial; rates are of the last ones."""
    starts = np.zeros((len(rows), 2), np.int64)
    lengths = session.lengths(np.array(rows, int))
    for i, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        number = session.files[row]
        rates_tn = np.load(place / f"{number}.npy", mmap_mode="r")
        starts[i] = number, length - len(rates_tn)
    atomic.save_npy(place / "unit_ids.npy", session.unit_ids_n)
    atomic.save_npy(place / "starts.npy", starts)


def _joined(session: Session, rows: Sequence[int], folder: Path) -> None:
    """All files of a mouse in one, in their place."""
    place = folder / session.name
    arrays = {name: np.load(place / f"{name}.npy") for name in ("unit_ids", "starts")}
    for row in rows:
        number = session.files[row]
        arrays[f"rates_{number}"] = np.load(place / f"{number}.npy")
    with atomic.whole(folder / f"{session.name}.npz") as part, open(part, "wb") as file:
        np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
    shutil.rmtree(place)
