"""Which trials belong together: tiers, repeats, folds that no duplicate straddles."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from sensorium_jax import progress
from sensorium_jax.data.session import VIDEO, Session
from sensorium_jax.data.stimuli import hashes
from sensorium_jax.data.stream.pools import labelled
from sensorium_jax.errors import UserError
from sensorium_jax.rules import TRAIN, UNUSED

FOLDS = 7
Rows = Mapping[str, np.ndarray]  # rows of the trial table by session name


def fold_rows(session: Session, *, tests: bool = False) -> np.ndarray:
    """Rows that folds are made of: training and validation tiers.

    tests adds every other labelled trial, as DwiseNeuro did with the five mice whose
    test responses are public; trials of tier none stay out.
    """
    fit = np.isin(session.tiers, (TRAIN, session.rules.validating(session.tiers) or ""))
    if tests:
        others = np.flatnonzero(~fit & (session.tiers != UNUSED))
        fit[[row for row in others if labelled(session, int(row))]] = True
    return np.flatnonzero(fit)


def film_hash(session: Session, trial: int) -> int:
    """Perceptual hash of a trial's film, from its first channel; reads five frames."""
    frames = hashes.looked_at(session.reader.length(trial))
    return hashes.film_hash(session.read(VIDEO, trial, frames)[..., 0])


def folds(session: Session, count: int = FOLDS, *, tests: bool = False) -> np.ndarray:
    """Fold of every trial: its film's perceptual hash modulo count; -1 for none.

    One film has one hash, so its repeats share a fold, in every mouse. With 7 folds
    these are DwiseNeuro's.
    """
    fold_t = np.full(session.trials, -1)
    rows = fold_rows(session, tests=tests)
    for row in progress.track(rows, f"hashing films of {session.name[:24]}"):
        fold_t[row] = film_hash(session, int(row)) % count
    return fold_t


def split_fold(
    sessions: Sequence[Session], fold: int, count: int = FOLDS, *, tests: bool = False
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Rows to train on and rows held out, by session name, as Stream(trials=...) takes.

    All labelled trials but those of the fold are trained on.
    """
    if not 0 <= fold < count:
        raise UserError(f"Fold {fold} of {count}: expected 0 to {count - 1}.")
    train, held = {}, {}
    for session in sessions:
        fold_t = folds(session, count, tests=tests)
        held[session.name] = np.flatnonzero(fold_t == fold)
        train[session.name] = np.flatnonzero((fold_t >= 0) & (fold_t != fold))
        for rows, part in ((held, "held out"), (train, "trained on")):
            if not rows[session.name].size:
                raise UserError(
                    f"No trial of {session.where} is {part} in fold {fold} of {count}: "
                    "it shows too few different films. Choose another fold or count."
                )
    return train, held


def content_hash(session: Session, trial: int) -> bytes:
    """Digest of a trial's whole film, equal for equal films however they are stored."""
    video = session.read(VIDEO, trial)
    if video.dtype != np.uint8:
        whole = video.astype(np.uint8)  # fractions and overflows differ from the film
        video = whole if np.array_equal(whole, video) else video.astype(np.float32)
    digest = blake2b(digest_size=16)
    digest.update(f"{video.dtype} {video.shape}".encode())
    digest.update(np.ascontiguousarray(video).data)
    return digest.digest()


def stimuli(session: Session, rows: Sequence[int] | np.ndarray) -> np.ndarray:
    """Which film each row shows, by first appearance; one number means identical."""
    seen: dict[bytes, int] = {}
    found = [content_hash(session, int(row)) for row in rows]
    return np.array([seen.setdefault(key, len(seen)) for key in found], np.int64)


def repeats(session: Session, tier: str, *, at_least: int = 1) -> list[np.ndarray]:
    """Rows of every film of a tier, films in order of first appearance."""
    rows = session.trials_of(tier)
    shown = stimuli(session, rows)
    groups = [rows[shown == s] for s in range(shown.max() + 1)]
    return [group for group in groups if len(group) >= at_least]


class Leak(NamedTuple):
    """Films that two parts of a split share."""

    parts: tuple[str, str]
    films: int  # distinct films in both
    same_mouse: (
        int  # trials of the second part whose film its own mouse saw in the first
    )
    other_mouse: int  # further trials whose film only other mice saw in the first


def leakage(sessions: Sequence[Session], parts: Mapping[str, Rows]) -> list[Leak]:
    """What every two parts of a split share, by identical films; empty if nothing.

    The same film shown to another mouse is no duplicate trial, yet it tells a shared
    core about the film: judge the two counts apart.
    """
    films = {
        part: {
            s.name: [content_hash(s, int(row)) for row in rows[s.name]]
            for s in sessions
            if s.name in rows
        }
        for part, rows in parts.items()
    }
    names, leaks = list(parts), []
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            everyone = {key for keys in films[a].values() for key in keys}
            own = other = 0
            shared = set()
            for mouse, keys in films[b].items():
                mine = set(films[a].get(mouse, ()))
                own += sum(key in mine for key in keys)
                other += sum(key in everyone and key not in mine for key in keys)
                shared |= everyone & set(keys)
            if shared:
                leaks.append(Leak((a, b), len(shared), own, other))
    return leaks
