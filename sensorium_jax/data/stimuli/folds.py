"""Which trials show the same film, and folds that no film straddles."""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from sensorium_jax import progress
from sensorium_jax.data.session import VIDEO, Session
from sensorium_jax.data.stimuli import hashes
from sensorium_jax.data.stream.pools import labelled
from sensorium_jax.errors import UserError
from sensorium_jax.rules import TRAIN, UNUSED

FOLDS = 7


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
    keys = [content_hash(session, int(row)) for row in rows]
    return np.array([seen.setdefault(key, len(seen)) for key in keys], np.int64)
