"""Trials of a recording as reconstruction and probes take them, through its session."""

from typing import Any

import numpy as np

from sensorium_jax import progress
from sensorium_jax.data import statistics
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.session import RESPONSES, Session, tier_named
from sensorium_jax.errors import UserError
from sensorium_jax.insilico.movies.recorded import Recorded
from sensorium_jax.insilico.subjects import Subject
from sensorium_jax.normalize import UNITS
from sensorium_jax.rules import TRAIN, VAL
from sensorium_jax.run.insilico.shown import small
from sensorium_jax.scoring.predict import Inputs

SCALED = "per_neuron"  # one factor for each, as frames' own SDs are of few trials
TRIALS, MEAN_OF = 5, 200  # trials that are read, and films that the mean is of


def recorded(
    one: Subject,
    session: Session,
    *,
    tier: str = VAL,
    trials: int = TRIALS,
    frames: int | None = None,
    seed: int = 0,
) -> Recorded:
    """The first trials of a tier, each of another film, cut to one length.

    frames: at most so many of each, from its start. The mean film is of the training
    trials, MEAN_OF of them drawn by the seed where there are more.
    """
    named = tier_named(tier, [session])
    rows = session.trials_of(named)
    if session.hides(named):
        raise UserError(
            f"The responses of tier '{named}' of {session.name} are hidden (all zero), "
            "so nothing can be read from them. Choose another --tier."
        )
    first = session.first_shown()
    kinds, at = np.unique(first[rows], return_index=True)
    chosen = np.sort(rows[at])[:trials]
    lengths = session.lengths(chosen)
    length = int(min(lengths.min(), frames or lengths.min()))
    notes = []
    if len(chosen) < trials:
        words = f"tier '{named}' has {len(kinds)} different films, {trials} were asked"
        notes.append(f"{words} for; all of them were read")
    if len(chosen) < 2:
        notes.append("one film has no other to be shuffled with")
    if (lengths != lengths[0]).any() and length == lengths.min():
        notes.append(f"the trials differ in length; all were cut to {length} frames")
    inputs = Inputs.of(one.twin, session)
    read = [_read(one, inputs, session, int(row), length) for row in chosen]
    video, behavior, pupil, responses = (np.stack(x) for x in zip(*read, strict=True))
    own, missing = statistics.precision(session, SCALED), session.missing_rn
    known = np.ones((len(chosen), session.neurons), bool)
    mean = _mean(one, inputs, session, chosen, first, length, seed)
    if mean is None:
        notes.append("there are no other training films to take the mean of")
    return Recorded(
        session.files[chosen],
        first[chosen],
        video,
        behavior,
        pupil,
        responses,
        known if missing is None else ~missing[chosen],
        mean,
        {u: own / statistics.precision(session, u) for u in UNITS},
        {"data": session.where, "tier": named, "frames": length},
        tuple(notes),
    )


def _read(one: Subject, inputs: Inputs, session: Session, row: int, length: int):
    """Video, behavior, pupil and responses of one trial."""
    video, behavior, pupil = (x[:length] for x in inputs.read(row))
    precision_1n = statistics.precision(session, SCALED)
    responses = session.read(RESPONSES, row)[:length] * precision_1n
    return small(one, np.asarray(video, np.float32)), behavior, pupil, responses


def _mean(one, inputs, session, chosen, first, length, seed) -> np.ndarray | None:
    """The mean training film, without those that are read back."""
    train = np.flatnonzero(session.tiers == TRAIN)
    others = train[~np.isin(first[train], first[chosen])]
    others = others[session.lengths(others) >= length]
    if not len(others):
        return None
    if len(others) > MEAN_OF:
        others = np.random.default_rng([seed, 33]).choice(others, MEAN_OF, False)
    total: Any = 0.0
    for row in progress.track(np.sort(others).tolist(), "Mean training film"):
        total = total + small(one, np.asarray(inputs.read(row)[0][:length], np.float64))
    return (total / len(others)).astype(np.float32)


def session_of(one: Subject, data: str) -> Session:
    """The recording of the mouse that is asked; no other will do."""
    recordings = Recordings.open(data)
    if one.name not in recordings.names:
        raise UserError(
            f"{data} has no recording of {one.name}, the mouse that the model is asked "
            f"for; it has {', '.join(recordings.names)}. Give its recordings with "
            "--data, or choose another --mouse."
        )
    session = recordings[one.name]
    if session.rules.films and not one.films:
        raise UserError(
            f"{session.name} was shown films, and this model sees single pictures: it "
            "cannot give a movie back. Take a model of films, or say frames per second "
            "(--fps) if it sees films."
        )
    return session
