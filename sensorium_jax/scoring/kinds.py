"""What type of stimulus every distinct stimulus is: by its pixels, a file, or truth."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sensorium_jax.data.release.tree import NUMBER
from sensorium_jax.data.session import VIDEO, Session
from sensorium_jax.data.stimuli.classify import classify
from sensorium_jax.data.stimuli.folds import stimuli
from sensorium_jax.errors import UserError
from sensorium_jax.io import npy, regular
from sensorium_jax.rules import PICTURES
from sensorium_jax.simulation.cortex import truth

UNKNOWN, IMAGES = "unknown", "images"
COLUMNS = ("mouse", "trial", "stimulus")
MOST = 16 << 20  # bytes of a csv of types


def shown(session: Session, rows: np.ndarray) -> np.ndarray:
    """Which stimulus each row shows, 0, 1, ...; equal numbers are equal films."""
    if session.rules.kind == PICTURES and "frame_image_id" in session.columns:
        ids = np.asarray(session.columns["frame_image_id"])[rows]
        return np.unique(ids, return_inverse=True)[1]
    return stimuli(session, rows)


def kinds(
    session: Session, rows: np.ndarray, stimulus_b: np.ndarray, source: str
) -> list[str]:
    """The type of every distinct stimulus.

    source: "classifier" looks at the pixels; "truth" reads what a simulation noted;
    else the path of a csv with columns mouse, trial (the <i> of <i>.npy), stimulus.
    """
    firsts = [rows[np.argmax(stimulus_b == s)] for s in range(stimulus_b.max() + 1)]
    if source == "classifier":
        return [_look(session, int(row)) for row in firsts]
    known = _noted(session) if source == "truth" else _listed(session, source)
    found = [known.get(int(session.files[row])) for row in firsts]
    for row, kind in zip(firsts, found, strict=True):
        if kind is None:
            raise UserError(
                f"{source} says nothing of trial {session.files[row]} of "
                f"{session.name}. Add a line for it."
            )
    return [str(kind) for kind in found]


def _look(session: Session, row: int) -> str:
    if session.reader.length(row) == 1:
        return IMAGES
    return classify(session.read(VIDEO, row)).label or UNKNOWN


def _noted(session: Session) -> dict[int, str]:
    path = Path(session.where) / truth.FOLDER / "trials.npz"
    if not path.exists():
        raise UserError(
            f"{session.where} has no {truth.FOLDER}/trials.npz: it was recorded, or "
            "copied without its truth. Let the classifier look (--stimuli classifier)."
        )
    stimulus = npy.archive_of(path).get("stimulus")
    whole = stimulus is not None and stimulus.dtype.kind == "U" and stimulus.ndim == 1
    if stimulus is None or not whole or not npy.is_text(stimulus):
        raise UserError(
            f"{path} names no stimulus for each trial. Simulate again, or let the "
            "classifier look (--stimuli classifier)."
        )
    return dict(enumerate(stimulus.tolist()))


def _listed(session: Session, path: str) -> dict[int, str]:
    try:
        content = regular.content(path, MOST).decode("utf-8-sig")
        lines = list(csv.DictReader(io.StringIO(content, newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"The types of stimuli cannot be read from {path} ({error}). Give "
            "'classifier', 'truth', or the path of a csv file."
        ) from None
    given: Sequence[str] = list(lines[0]) if lines else []
    if not set(COLUMNS[1:]) <= set(given):
        raise UserError(
            f"{path} has the columns {', '.join(given) or 'none'}; expected "
            f"{', '.join(COLUMNS)}. Leave mouse empty where all mice share the trial."
        )
    mine = [x for x in lines if (x.get("mouse") or "") in session.name]
    for line in mine:
        if not NUMBER.fullmatch((line["trial"] or "").strip()) or not line["stimulus"]:
            raise UserError(
                f"{path} has the trial {line['trial']!r:.40} and the stimulus "
                f"{line['stimulus']!r:.40}. Expected the number of the trial's file, "
                "and a word."
            )
    return {int(x["trial"]): x["stimulus"] for x in mine}
