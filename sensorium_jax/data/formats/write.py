"""Writes a recording of another format as a tree, trial by trial.

Memory holds one trial. A run that was killed goes on where it stopped and ends with the
same files: what was asked for is noted first, and trials that are there are kept.
"""

import json
import shutil
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax import progress
from sensorium_jax.data import config
from sensorium_jax.data.formats import clocks, trials as plans
from sensorium_jax.data.formats.foreign import Choices, trial_values
from sensorium_jax.data.formats.trials import Plan, Trial
from sensorium_jax.data.release.trial_arrays import KEEP
from sensorium_jax.data.release.write import PARTIAL, SessionWriter, default_tiers
from sensorium_jax.data.session import BEHAVIOR, MOST_TRIAL, PUPIL, RESPONSES
from sensorium_jax.errors import UserError
from sensorium_jax.io import atomic
from sensorium_jax.io.remote import Unreachable
from sensorium_jax.rules import FILMS, PICTURES, RELEASES, UNUSED, own

CLAIM = ".import.json"  # what a folder is to hold; gone when it does
IMPORTED = "imported"  # the entry of config.json that says what was read, and how
READ = 1 << 22  # bytes of a file at a time


class Written(NamedTuple):
    """What was written."""

    folder: Path
    tiers: tuple[str, ...]
    left_out: int  # trials whose signals have gaps that only their values show
    negative: float  # share of responses below zero, before they were clipped
    already: bool  # all of it was there before


def tree(
    folder: Path, plan: Plan, imported: Mapping[str, Any], choices: Choices
) -> Written:
    """Write or go on writing a session; imported is what config.json is to say."""
    writer = _writer(folder, plan, choices)
    fresh = not folder.exists()
    if _claim(folder, imported, finished=writer.finished):
        tiers = np.load(folder / "meta/trials/tiers.npy").tolist()
        return Written(folder, tuple(tiers), tiers.count(UNUSED), 0.0, True)
    _check_size(plan)
    _check_space(folder, plan, writer)
    try:
        left, negative = _trials(writer, plan, choices)
        stimulus = _stimuli(folder, writer.form, len(plan.trials))
        usual = RELEASES[writer.rules.layout].validation[0]
        tiers = _tiers(plan, left, stimulus, usual)
        if not writer.finished:
            _finish(writer, plan, tiers, stimulus)
    except UserError as error:
        # A bad source leaves nothing; one out of reach may be asked again.
        if fresh and not isinstance(error, Unreachable):
            shutil.rmtree(folder, ignore_errors=True)
        raise
    said = config.load(folder)
    said[IMPORTED] = dict(imported)
    atomic.write_json(folder / config.FILE, said, partial=folder / PARTIAL)
    shutil.rmtree(folder / PARTIAL)
    (folder / CLAIM).unlink()
    return Written(folder, tuple(tiers), len(left), negative, False)


def _writer(folder: Path, plan: Plan, choices: Choices) -> SessionWriter:
    """The one place that knows how SessionWriter is opened."""
    film = plan.foreign.film
    small = film.dtype == np.uint8
    return SessionWriter(
        folder,
        rules=own(PICTURES if choices.pictures else FILMS),
        neurons=sum(s.columns for s in plan.foreign.signals[RESPONSES]),
        frame_shape=film.frame_shape,
        video_dtype=np.uint8 if small else np.float32,
        negative=KEEP,  # they are counted, and clipped on request, before
    )


def _finish(
    writer: SessionWriter, plan: Plan, tiers: list[str], stimulus: np.ndarray
) -> None:
    """The one place that knows how a session is finished."""
    columns = {
        "start_seconds": np.array([t.begin for t in plan.trials]),
        "frame_image_id": stimulus,
        "trial_idx": np.arange(len(tiers)),
    }
    writer.finish(
        tiers,
        coordinates=plan.foreign.coordinates_n3,
        unit_ids=plan.foreign.ids_n,
        columns=columns,
        rate_hz=plan.rate,
    )


def _claim(folder: Path, imported: Mapping[str, Any], *, finished: bool) -> bool:
    """Note what a folder is to hold; whether it holds that already."""
    claim = folder / CLAIM
    words = json.dumps(imported, indent=1, sort_keys=True)
    if claim.exists():
        if claim.read_text() == words:
            return False
        raise UserError(
            f"{folder} holds a part of another import, or of one with other flags. "
            "Repeat that command, delete the folder, or give another --name."
        )
    if finished:
        known = config.load(folder).get(IMPORTED)
        if known == json.loads(words):
            return True
        raise UserError(
            f"{folder} holds another recording, or was imported with other flags. "
            "Delete it, or give another --name."
        )
    if folder.exists() and any(p.name != PARTIAL for p in folder.iterdir()):
        raise UserError(f"{folder} holds other files. Give another --name.")
    atomic.write(claim, words, partial=folder / PARTIAL)
    return False


def _trials(
    writer: SessionWriter, plan: Plan, choices: Choices
) -> tuple[set[int], float]:
    """Write what is missing; trials that were left out, and the negative share."""
    left, negative, values = set(), 0, 0
    with progress.bar(f"importing {writer.folder.name}", len(plan.trials)) as bar:
        for i, trial in enumerate(plan.trials):
            if not writer.has(i):
                video, rows, apart = arrays(plan, trial, choices)
                if apart > choices.max_gap:
                    left.add(i)
                else:
                    negative += int((rows[RESPONSES] < 0).sum())
                    values += rows[RESPONSES].size
                    if choices.clip:
                        np.maximum(rows[RESPONSES], 0, out=rows[RESPONSES])
                    signals = (rows.get(BEHAVIOR), rows.get(PUPIL))
                    writer.add(i, video, rows[RESPONSES], *signals)
                del video, rows
            bar.add()
    if len(left) == len(plan.trials):
        raise UserError(
            f"Every one of the {len(left)} trials has NaN for longer than "
            f"{choices.max_gap:g} s in some signal. Give a longer --max-gap, or leave "
            "out the signal or its neurons (--pupil none, --behavior none)."
        )
    return left, negative / max(values, 1)


def arrays(
    plan: Plan, trial: Trial, choices: Choices
) -> tuple[np.ndarray, dict[str, np.ndarray], float]:
    """One trial: video [t, h, w, c], signals [t, n], and the longest gap bridged."""
    film = plan.foreign.film
    onset_t, middle_t, width = plans.onsets(trial, film, plan.rate, choices)
    frame_t = clocks.shown(film.clock, onset_t, 1 / plan.rate)
    first = int(frame_t.min())
    video = film.read(first, int(frame_t.max()) + 1)[frame_t - first]
    rows, longest = {}, 0.0
    for what, signals in plan.foreign.signals.items():
        columns = []
        for s, method in zip(signals, plan.methods[what], strict=True):
            values_tn, apart = trial_values(
                *(s, middle_t, width, method, choices.max_gap),
                missing=what == RESPONSES,
            )
            longest = max(longest, apart)
            columns.append(values_tn)
        if columns:
            rows[what] = columns[0] if len(columns) == 1 else np.hstack(columns)
    return video, rows, longest


def _bytes(plan: Plan, trial: Trial) -> int:
    """What one trial takes on disk."""
    film = plan.foreign.film
    each = 1 if film.dtype == np.uint8 else 4
    columns = sum(s.columns for group in plan.foreign.signals.values() for s in group)
    return trial.frames * (int(np.prod(film.frame_shape)) * each + 4 * columns)


def _check_size(plan: Plan) -> None:
    largest = max(_bytes(plan, t) for t in plan.trials)
    if largest > MOST_TRIAL:
        raise UserError(
            f"One trial has {largest / 1e9:.1f} GB of frames and signals, too much to "
            "hold. Give shorter --trial-seconds, or a smaller --size."
        )


def _check_space(folder: Path, plan: Plan, writer: SessionWriter) -> None:
    need = sum(_bytes(plan, t) for i, t in enumerate(plan.trials) if not writer.has(i))
    atomic.need_space(folder, need, "for the trials to come")


def _tiers(plan: Plan, left: set[int], stimulus: np.ndarray, usual: str) -> list[str]:
    """Tiers of all trials: those of the source, else repeated films validate."""
    there = [i for i in range(len(plan.trials)) if i not in left]
    given = [plan.trials[i].tier for i in there]
    if not all(given):
        given = default_tiers(stimulus[there], usual)
    tiers = [UNUSED] * len(plan.trials)
    for i, tier in zip(there, given, strict=True):
        tiers[i] = tier
    return tiers


def _stimuli(folder: Path, form: Any, count: int) -> np.ndarray:
    """One number per trial, equal where films on disk are; -1 where there is none."""
    numbers: dict[bytes, int] = {}
    nodes: dict[int, int] = {}  # files with several names are read once
    stimulus = np.full(count, -1)
    for i in range(count):
        path = folder / "data" / form.STIMULUS / f"{i}.npy"
        if not path.exists():
            continue
        node = path.stat().st_ino
        if node not in nodes:
            digest = blake2b(digest_size=16)
            with open(path, "rb") as file:
                while block := file.read(READ):
                    digest.update(block)
            nodes[node] = numbers.setdefault(digest.digest(), len(numbers))
        stimulus[i] = nodes[node]
    return stimulus
