"""From predictions to the files that a competition's server takes."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sensorium_jax.axes import Prediction
from sensorium_jax.data.session import Session
from sensorium_jax.errors import UserError
from sensorium_jax.io import atomic
from sensorium_jax.rules import PICTURES
from sensorium_jax.submission import csv2022, expected, parquet2023, zips


class TierFile(NamedTuple):
    """A file to be: one tier of a track, and the trials that belong into it."""

    track: str
    tier: str
    path: Path
    trials: tuple[tuple[Session, np.ndarray], ...]  # rows of each mouse's trial table

    @property
    def count(self) -> int:
        """How many trials."""
        return sum(len(rows) for _, rows in self.trials)


def planned_files(
    sessions: Sequence[Session],
    out: str | Path,
    *,
    track: str = "main",
    tiers: Sequence[str] = (),
    names: str = "server",
    mouse: str | None = None,
) -> list[TierFile]:
    """What a track wants written into a folder.

    tiers other than the track's, such as oracle, are for the local judge. names are the
    server's, or those of the starter kit. mouse names the one of 2022.
    """
    chosen = expected.track(track)
    found = []
    for tier in tiers or chosen.files:
        mice = expected.scored(sessions, tier, chosen.kind)
        if chosen.kind == PICTURES:
            mice = [_about(mice, track, mouse)]
        path = Path(out) / expected.file_name(track, tier, names)
        trials = tuple((s, s.trials_of(tier)) for s in mice)
        found.append(TierFile(track, tier, path, trials))
    return found


def write(
    file: TierFile, predictions: Iterable[Prediction], *, single: bool = False
) -> int:
    """Write the predictions of one tier as they come; returns how many.

    The file appears under its name when it is whole; the caller holds its folder, so
    that parts of it are of writers that were killed. single writes float32 instead of
    the float64 of official parquet files.
    """
    atomic.discard_left(file.path)
    if expected.track(file.track).kind == PICTURES:
        ((session, _),) = file.trials
        return csv2022.write(file.path, _pictures(session, predictions))
    skip = file.trials[0][0].rules.skip
    answers = _films({s.name: s for s, _ in file.trials}, predictions)
    options = {"tier": file.tier, "skip": skip, "single": single}
    return parquet2023.write(file.path, answers, **options)


def uploads(out: str | Path, track: str, written: Sequence[TierFile]) -> list[Path]:
    """What the server takes: zips that are made of the files, or the files themselves.

    The main track of 2023 is one zip of both tiers, the bonus track a zip per tier.
    """
    chosen = expected.track(track)
    sent = [file for file in written if file.tier in chosen.files]
    if chosen.kind == PICTURES or len(sent) < len(written):
        return [file.path for file in sent]
    if track == "main":
        packed = {"predictions_main.zip": sent}
    else:
        packed = {f"{file.path.name.split('.')[0]}.zip": [file] for file in sent}
    paths = []
    for name, files in packed.items():
        atomic.discard_left(Path(out) / name)
        paths.append(zips.pack(Path(out) / name, [f.path for f in files]))
    return paths


def _about(sessions: Sequence[Session], track: str, mouse: str | None) -> Session:
    scan = expected.SCANS[track]
    if mouse is None and any(scan in s.name for s in sessions):
        mouse = scan
    return expected.picture_mouse(sessions, mouse)


def _films(
    sessions: dict[str, Session], predictions: Iterable[Prediction]
) -> Iterator[parquet2023.FilmAnswer]:
    for p in predictions:
        session = sessions[p.mouse]
        _check_start(session, p)
        file = int(session.files[p.trial])
        rates_nt = np.ascontiguousarray(np.asarray(p.rates_tn).T)
        yield parquet2023.FilmAnswer(p.mouse, file, rates_nt, session.unit_ids_n)


def _pictures(
    session: Session, predictions: Iterable[Prediction]
) -> Iterator[csv2022.PictureAnswer]:
    keys, images = list(expected.mouse(session).rows), expected.image_ids(session)
    for p in predictions:
        _check_start(session, p)
        rates_n = np.asarray(p.rates_tn)[0]
        ids_n = session.unit_ids_n
        yield csv2022.PictureAnswer(keys[p.trial], images[p.trial], rates_n, ids_n)


def _check_start(session: Session, p: Prediction) -> None:
    if p.start != session.rules.skip:
        raise UserError(
            f"The prediction of trial {session.files[p.trial]} of {p.mouse} begins at "
            f"frame {p.start}; a file holds every frame from {session.rules.skip} on. "
            "Use a model that loses fewer leading frames."
        )
