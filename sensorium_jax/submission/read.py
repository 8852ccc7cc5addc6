"""The judges' numbers of any submission, on this machine, where labels exist."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax import progress
from sensorium_jax.data.session import Session
from sensorium_jax.data.stimuli.folds import stimuli
from sensorium_jax.errors import UserError
from sensorium_jax.findings import most_common
from sensorium_jax.scoring.judge import Scores, judge
from sensorium_jax.submission import (
    expected,
    labels,
    readable,
    zips,
)
from sensorium_jax.submission.expected import Mouse
from sensorium_jax.submission.labels import Labels
from sensorium_jax.submission.lint import whose, year_of
from sensorium_jax.submission.parquet2023 import Row
from sensorium_jax.submission.tally import trials_words

AGAIN = "See all faults with: sensorium submit --validate FILE --data D."


class Verdict(NamedTuple):
    """The numbers of one file; None where a tier shows nothing twice."""

    file: str
    year: int
    tier: str
    single_trial: float  # mean over the neurons of all mice, as the official library
    single_trial_over_mice: float  # mean over mice of their means
    to_average: float | None
    to_average_over_mice: float | None
    feve: float | None  # 2022 only
    undefined: int  # neurons without a correlation, which score 0
    trials: int
    mice: dict[str, dict[str, Any]]
    hidden: list[str]  # mice whose responses nobody has
    missing: list[str]  # mice of the tier that the file leaves out


def evaluate(
    path: str | Path,
    sessions: Sequence[Session],
    *,
    truth: str | Path | Sequence[Session] | None = None,
    tier: str | None = None,
    mouse: str | None = None,
) -> list[Verdict]:
    """Score a submission, or each in a zip; a row of predictions in memory at a time.

    truth: a ground truth file, or labelled recordings; the sessions' own labels by
    default. Neurons are aligned by their ids, frames at frame 50 of a trial over what
    both sides have, repeats are found by equal films (2022: by picture numbers).
    """
    with zips.unpacked(path) as tables:
        if not tables:
            raise UserError(f"{path} has no parquet and no csv inside. {AGAIN}")
        return [_table(n, p, sessions, truth, tier, mouse) for n, p in tables]


def _table(name, path, sessions, truth, tier, mouse) -> Verdict:
    year = year_of(path, sessions)
    if not any(s.year == year for s in sessions):
        raise UserError(
            f"{name} is a file of {year}, the recordings are of {sessions[0].year}. "
            "Give the recordings that it is about with --data."
        )
    fault = readable.unreadable(name, path, year)
    faults = [fault] if fault else list(readable.columns(name, path, year))
    for f in faults:
        if f.level == "error":
            raise UserError(f"{name}: {f.finding}; {f.remedy}. {AGAIN}")
    about = whose(path, sessions, mouse).name if year == 2022 else None
    keys = readable.keys(path, year, about)
    mice = {s.name: expected.mouse(s) for s in sessions if s.year == year}
    tier = tier or _tier(name, path, keys, mice)
    with _source(truth, mice, year, about) as source:
        known, hidden = _labelled(name, keys, mice, source, tier)
        wanted = {m: source.trials(m, tier) for m in known}
        _complete(name, keys, wanted, tier)
        every = readable.rows(path, year, about or "")
        rows = _aligned_rows(name, every, known, source)
        shown = {m: _stimuli(mice[m], wanted[m]) for m in known}
        order = [m for m, _ in keys if m in known]
        scores = judge(progress.track(rows, "Scoring", len(order)), order, shown)
    needed = [s.name for s in sessions if s.year == year and np.any(s.tiers == tier)]
    missing = [] if about else [m for m in needed if m not in {m for m, _ in keys}]
    return _verdict(name, year, tier, scores, hidden, missing)


def _tier(name, path, keys, mice: Mapping[str, Mouse]) -> str:
    tiers = Counter(mice[m].tier(k) for m, k in keys if m in mice)
    found = most_common(t for t in tiers.elements() if t)
    if found is None:
        raise UserError(
            f"{name} holds no trial of the recordings {', '.join(mice)}. {AGAIN}"
        )
    if len(set(tiers)) > 1:
        raise UserError(f"{name} mixes trials of {dict(tiers)}. {AGAIN}")
    return found


def _source(
    truth: Any, mice: Mapping[str, Mouse], year: int, about: Any
) -> AbstractContextManager[Labels]:
    if truth is None:
        return nullcontext(labels.Recorded(mice))
    if isinstance(truth, str | Path):
        fault = readable.unreadable(str(truth), Path(truth), year)
        if fault:
            raise UserError(f"{truth}: {fault.finding}; {fault.remedy}.")
        return labels.filed(Path(truth), year, about)
    return nullcontext(labels.Recorded({s.name: expected.mouse(s) for s in truth}))


def _labelled(name, keys, mice, source: Labels, tier) -> tuple[list[str], list[str]]:
    given = list(dict.fromkeys(m for m, _ in keys))
    strange = [str(m) for m in given if m not in mice]
    if strange:
        raise UserError(
            f"{name} speaks of {strange[0]}; the recordings are of {', '.join(mice)}. "
            "Give the recordings that it is about with --data."
        )
    try:
        known = [m for m in given if source.trials(m, tier)]
    except KeyError as error:
        raise UserError(
            f"The ground truth knows nothing of {error}; {name} does. Give the one "
            "that belongs to it."
        ) from None
    hidden = [m for m in given if m not in known]
    if not known:
        raise labels.hidden(hidden, tier)
    return known, hidden


def _complete(name, keys, wanted: Mapping[str, list[Any]], tier) -> None:
    for mouse, trials in wanted.items():
        given = Counter(k for m, k in keys if m == mouse)
        missing = [k for k in trials if k not in given]
        twice = [k for k, n in given.items() if n > 1]
        extra = [k for k in given if k not in set(trials)]
        for what, found in (("lacks", missing), ("repeats", twice), ("adds", extra)):
            if found:
                words = trials_words(found, len(trials))
                raise UserError(f"{name} {what} {words} of {tier} of {mouse}. {AGAIN}")


def _aligned_rows(
    name: str, rows: Iterable[Row | str], known: Sequence[str], source: Labels
) -> Iterator[tuple[str, Any, Any, Any]]:
    for row in rows:
        if isinstance(row, str):
            raise UserError(f"{name}, {row}. {AGAIN}")
        if row.mouse in known:
            yield _aligned(name, row, source)


def _aligned(name: str, row: Row, source: Labels) -> tuple[str, Any, Any, Any]:
    """Mouse, trial, prediction [n, t] and responses [n, t], neuron by neuron."""
    mouse = str(row.mouse)
    where = f"{name}, trial {row.trial} of {mouse}"
    if len(set(row.lengths_n.tolist())) != 1:
        raise UserError(f"{where}: neurons of different lengths. {AGAIN}")
    responses_nt, x_nt = source.responses(mouse, row.trial), row.prediction_nt
    ids, recorded = row.ids_n, source.ids(mouse)
    if ids is None or len(ids) != len(x_nt) or set(ids) != set(recorded.tolist()):
        raise UserError(f"{where}: neuron_ids are not those of the mouse. {AGAIN}")
    if not np.array_equal(ids, recorded):
        x_nt = x_nt[np.argsort(ids)][np.argsort(np.argsort(recorded))]
    if x_nt.shape[1] > responses_nt.shape[1]:
        raise UserError(
            f"{where}: {x_nt.shape[1]} frames, the recording has "
            f"{responses_nt.shape[1]} from frame 50 on. Drop the first 50. {AGAIN}"
        )
    return mouse, row.trial, x_nt, responses_nt[:, : x_nt.shape[1]]


def _stimuli(mouse: Mouse, trials: Sequence[Any]) -> dict[Any, int]:
    rows = [mouse.rows[k] for k in trials]
    if mouse.session.year == 2022:
        shown = expected.image_ids(mouse.session)[rows]
    else:
        shown = stimuli(mouse.session, rows)
    return dict(zip(trials, shown.tolist(), strict=True))


def _verdict(name, year, tier, scores: Mapping[str, Scores], hidden, missing):
    def means(what: str) -> tuple[float | None, float | None]:
        parts = [getattr(s, what) for s in scores.values()]
        if any(p is None for p in parts):
            return None, None
        pooled = float(np.concatenate(parts).mean())
        return pooled, float(np.mean([p.mean() for p in parts]))

    single, to_average = means("single_trial_n"), means("to_average_n")
    feve = None
    if year == 2022:
        feve = next(iter(scores.values())).feve
    return Verdict(
        name,
        year,
        tier,
        *(single[0] or 0.0, single[1] or 0.0),
        *to_average,
        feve,
        sum(s.undefined for s in scores.values()),
        sum(s.trials for s in scores.values()),
        {m: s.summary() for m, s in scores.items()},
        hidden,
        missing,
    )
