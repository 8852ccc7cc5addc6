"""Windows of a recording's trials, labelled by what was shown in them."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax import progress
from sensorium_jax.data.session import RESPONSES, VIDEO, Session, tier_named
from sensorium_jax.data.stimuli.classify import classify
from sensorium_jax.errors import UserError
from sensorium_jax.insilico.representations.probe import Represented
from sensorium_jax.insilico.representations.shown import Labelled
from sensorium_jax.insilico.subjects import Subject
from sensorium_jax.io import npy
from sensorium_jax.rules import UNUSED
from sensorium_jax.scoring import predict
from sensorium_jax.simulation.cortex import truth
from sensorium_jax.simulation.stimuli.ood import heading

MOST = 200  # trials
SECONDS = 0.8
ORIENTED = ("drifting_gabor", "pink_noise")  # dots have a direction only


class Window(NamedTuple):
    """Some frames of one trial, in which the same is shown."""

    row: int
    start: int
    stop: int
    kind: str
    direction: float  # degrees; NaN where there is none


def windows(
    one: Subject,
    session: Session,
    *,
    tier: str = "all",
    seconds: float = SECONDS,
    seed: int = 0,
) -> dict[str, Represented]:
    """Mean responses, and mean rates of the twin, in windows of trials.

    Kinds are those that a simulation noted, or else what the pixels look like;
    directions are known of simulations alone. The windows of one film are one group.
    """
    rows = rows_of(session, tier)
    if len(rows) > MOST:
        rows = np.sort(np.random.default_rng([seed, 9]).choice(rows, MOST, False))
    length = max(1, round(seconds * (one.fps or 30.0))) if session.rules.films else 1
    notes = _noted(session)
    cut = []
    for row in progress.track(rows.tolist(), "Looking at films"):
        cut += _cut(session, row, length, notes)
    if not cut:
        raise UserError(
            f"No trial of {session.name} has {length} frames in which one thing is "
            f"shown, after the first {session.rules.skip}. Give a shorter --window."
        )
    first = session.first_shown()
    group = np.array([first[w.row] for w in cut])
    stimuli = Labelled(_labels(cut), group)
    whole = session.missing_rn
    known = np.ones(session.neurons, bool)
    if whole is not None:
        known = ~whole[rows].any(0)
    out = {}
    for name, read in (
        ("responses", _responses(session, rows)),
        ("rates in trials", _rates(one, session, rows)),
    ):
        x = _means(cut, read)[:, known]
        twice = _repeated(cut, group, x) if name == "responses" else None
        wide, again = (x, None) if twice is None else twice
        out[name] = Represented(x, stimuli, wide, again)
    return out


def rows_of(session: Session, tier: str) -> np.ndarray:
    """The trials that are read; refuses responses that are hidden."""
    if tier != "all":
        named = tier_named(tier, [session])
        rows = session.trials_of(named)
        if session.hides(named):
            raise UserError(
                f"The responses of tier '{named}' of {session.name} are hidden (all "
                "zero), so nothing can be read from them. Choose another --tier."
            )
        return rows
    names = set(session.tiers.tolist()) - {UNUSED}
    open_ = [name for name in names if not session.hides(name)]
    return np.flatnonzero(np.isin(session.tiers, open_))


def _noted(session: Session) -> dict[int, tuple[str, dict[str, Any]]]:
    """Kind and facts of every file's film, where a simulation wrote them down."""
    path = Path(session.where) / truth.FOLDER / "trials.npz"
    if not path.is_file():
        return {}
    arrays = npy.archive_of(path)
    kinds = arrays["stimulus"].tolist()
    facts = arrays.get("parameters", np.array(["{}"] * len(kinds))).tolist()
    pairs = zip(kinds, map(json.loads, facts), strict=True)
    return dict(enumerate(pairs))


def _cut(session: Session, row: int, length: int, notes) -> list[Window]:
    frames, file = session.reader.length(row), int(session.files[row])
    if file in notes:
        kind, facts = notes[file]
    else:
        kind, facts = classify(session.read(VIDEO, row)).label or "", {}
    toward = heading(kind, facts, frames)
    if toward is None:
        toward = np.full(frames, np.nan)
    change = np.flatnonzero(np.diff(np.nan_to_num(toward, nan=-1.0))) + 1
    edges = [0, *change.tolist(), frames]
    return [
        Window(row, start, start + length, kind, float(toward[start]))
        for low, high in zip(edges[:-1], edges[1:], strict=True)
        for start in range(low, high - length + 1, length)
        if start >= session.rules.skip
    ]


def _labels(cut: list[Window]) -> dict[str, np.ndarray]:
    """What differs between the windows."""
    kinds = np.array([w.kind for w in cut])
    direction = np.array([w.direction for w in cut])
    oriented = np.where(np.isin(kinds, ORIENTED), direction % 180, np.nan)
    labels = {"kind": kinds, "orientation": oriented, "direction": direction}
    return {k: v for k, v in labels.items() if _several(v)}


def _several(x: np.ndarray) -> bool:
    known = x[np.isfinite(x)] if x.dtype.kind == "f" else x[x != ""]
    return len(np.unique(known)) > 1


def _responses(session: Session, rows: np.ndarray):
    for row in rows.tolist():
        yield row, 0, session.read(RESPONSES, row)


def _rates(one: Subject, session: Session, rows: np.ndarray):
    for p in predict.predict(one.twin, session, rows):
        yield p.trial, p.start, np.asarray(p.rates_tn)


def _means(cut: list[Window], read) -> np.ndarray:
    """Of each window the mean of what is read, [S, N]."""
    mine: dict[int, list[int]] = {}
    for i, w in enumerate(cut):
        mine.setdefault(w.row, []).append(i)
    out: dict[int, np.ndarray] = {}
    for row, start, x_tn in read:
        for i in mine.get(row, []):
            a, b = cut[i].start - start, cut[i].stop - start
            if a < 0 or b > len(x_tn):
                raise UserError(
                    f"The model answers from frame {start} on, and a window begins at "
                    f"frame {cut[i].start}. Give a model that loses fewer frames."
                )
            out[i] = x_tn[a:b].mean(0, dtype=np.float64)
    return np.stack([out[i] for i in range(len(cut))])


def _repeated(cut: list[Window], group: np.ndarray, x: np.ndarray):
    """The first and the second time of what was shown twice; None of too little."""
    seen: dict[tuple[int, int], list[int]] = {}
    for i, w in enumerate(cut):
        seen.setdefault((int(group[i]), w.start), []).append(i)
    pairs = [v[:2] for v in seen.values() if len(v) > 1]
    if len(pairs) < 10:
        return None
    first, second = np.array(pairs).T
    return x[first], x[second]
