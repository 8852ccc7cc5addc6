"""Where trials begin, how many frames each has, and what has to be left out."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from sensorium_jax.data.formats import clocks
from sensorium_jax.data.formats.foreign import (
    Choices,
    Film,
    Foreign,
    Series,
    Signal,
    Spikes,
    Table,
    kept_units,
    trial_values,
)
from sensorium_jax.data.session import RESPONSES
from sensorium_jax.errors import UserError
from sensorium_jax.rules import TRAIN

FLICKER = 3.0  # frames; a film stands still so long before it counts as a gap
RATES = (0.1, 1000.0)  # frames per second of any film


class Trial(NamedTuple):
    """One trial to write: when it begins, its frames, and its tier where known."""

    begin: float  # seconds
    frames: int
    tier: str = ""


class Plan(NamedTuple):
    """All that is to be written."""

    foreign: Foreign  # without units that have no number at all
    trials: tuple[Trial, ...]
    rate: float  # frames per second
    methods: dict[str, tuple[str, ...]]  # of each signal of a modality
    notes: tuple[str, ...]


def plan(foreign: Foreign, choices: Choices) -> Plan:
    """What an import will write; raises where there is nothing to write."""
    rate = frame_rate(foreign.film, choices)
    width = 1 / rate
    every = [s for signals in foreign.signals.values() for s in signals]
    begin, end = overlap(foreign, width)
    notes = list(foreign.notes)
    if foreign.table is None:
        trials = _cut(foreign.film, begin, end, rate, choices)
        whole = f"cut into {len(trials)} trials of {choices.trial_seconds:g} s"
        notes.append(f"there is no table of trials, so the recording was {whole}")
    else:
        trials = _of_table(foreign.table, rate, pictures=choices.pictures)
    after = choices.window[1] if choices.pictures else 0.0
    inside = [t for t in trials if _fits(t, begin, end, width, after)]
    if len(inside) < len(trials):
        notes.append(
            f"{len(trials) - len(inside)} of {len(trials)} trials lie outside of "
            f"{begin:.6g} to {end:.6g} s, where everything was recorded; left out"
        )
    begins, ends = holes(foreign.film, every, choices)
    kept = [
        t
        for t in inside
        # Means of pictures tell by themselves when their window is empty.
        if choices.pictures
        or not ((begins < t.begin + (t.frames - 0.5) * width) & (ends > t.begin)).any()
    ]
    if len(kept) < len(inside):
        notes.append(
            f"{len(inside) - len(kept)} of {len(inside)} trials lie in gaps longer "
            f"than {choices.max_gap:g} s (--max-gap); left out"
        )
    if not kept:
        raise UserError(
            f"No trial can be written: {'; '.join(notes)}. Check with --list that all "
            "times are in seconds on one clock, and --trials, --trial-seconds, "
            "--max-gap."
        )
    _check_tiers(kept, foreign.table)
    notes += _said_gaps(foreign.film, every, kept, width)
    methods = {
        what: tuple(method_of(s, width, choices) for s in signals)
        for what, signals in foreign.signals.items()
    }
    alive, dead = living(foreign, kept, rate, methods, choices)
    if dead:
        notes.append(dead)
    places = alive.coordinates_n3
    if places is not None and not np.isfinite(places).all():
        lost = int((~np.isfinite(places)).any(1).sum())
        notes.append(
            f"coordinates left out: NaN or infinity in {lost} of {len(places)}"
        )
        alive = alive._replace(coordinates_n3=None)
    return Plan(alive, tuple(kept), rate, methods, tuple(notes))


def frame_rate(film: Film, choices: Choices) -> float:
    """Frames per second to write: as asked for, or those of the film."""
    rate = choices.rate or film.clock.rate
    if choices.pictures and not choices.rate:
        return 1.0  # one frame each; the window says what it lasts
    if not RATES[0] <= rate <= RATES[1]:
        raise UserError(
            f"{film.name} shows {rate:.6g} frames per second, which no screen does. "
            "Times must be in seconds; if pictures follow each other slowly, say with "
            "--rate how many frames per second are to be written."
        )
    return float(rate)


def overlap(foreign: Foreign, width: float) -> tuple[float, float]:
    """First and last time at which everything was recorded, in seconds.

    The last frame stays for one interval, and a signal is known half a frame around
    its samples.
    """
    begin, end = foreign.film.clock.span
    spans = {foreign.film.name: (begin, end + (foreign.film.clock.interval or width))}
    for signals in foreign.signals.values():
        for signal in signals:
            first, last = signal.span
            step = 0.0 if isinstance(signal, Spikes) else signal.clock.interval
            slack = max(step, width) / 2
            spans[signal.name] = (first - slack, last + slack)
    begin, end = max(s[0] for s in spans.values()), min(s[1] for s in spans.values())
    if begin + width > end:
        words = "; ".join(f"{n}: {a:.6g} to {b:.6g} s" for n, (a, b) in spans.items())
        raise UserError(
            f"The recordings do not overlap in time: {words}. Expected times in "
            "seconds on one clock; some may be in milliseconds, or count from another "
            "start."
        )
    return begin, end


def method_of(signal: Signal, width: float, choices: Choices) -> str:
    """How a signal is brought to frames."""
    if isinstance(signal, Spikes):
        return clocks.COUNT
    if choices.pictures:
        return "mean"
    usual = clocks.method_for(signal.clock.interval, width)
    if signal.delay_n is not None and "mean" in (choices.method or usual):
        return "linear"
    return choices.method or usual


def _cut(
    film: Film, begin: float, end: float, rate: float, choices: Choices
) -> list[Trial]:
    """Trials of one length, within stretches where the film did not stop."""
    if choices.pictures:
        raise UserError(
            "Pictures need a table of trials that says when each was shown. Give "
            "--trials."
        )
    frames = round(choices.trial_seconds * rate)
    if frames < 1:
        raise UserError(
            f"--trial-seconds {choices.trial_seconds} is less than a frame."
        )
    gaps = clocks.gaps(film.clock)
    long = gaps.ends_g - gaps.begins_g > _patience(film, choices)
    starts = [begin, *gaps.ends_g[long]]
    ends = [*(gaps.begins_g[long] + film.clock.interval), end]
    trials = []
    for first, last in zip(starts, ends, strict=True):
        first, last = max(first, begin), min(last, end)
        count = int((last - first) * rate / frames + 1e-6)
        step = frames / rate
        trials += [Trial(first + i * step, frames) for i in range(count)]
    if not trials:
        raise UserError(
            f"The recording lasts {end - begin:.4g} s where everything was recorded, "
            f"less than one trial of {choices.trial_seconds:g} s. Give shorter "
            "--trial-seconds."
        )
    return trials


def _of_table(table: Table, rate: float, *, pictures: bool) -> list[Trial]:
    lasts = table.stops - table.starts
    if not len(lasts):
        raise UserError(f"{table.name} has no trials. Choose another with --trials.")
    if not np.isfinite(lasts).all() or (lasts <= 0).any():
        odd = int(np.argmax(~(lasts > 0)))
        raise UserError(
            f"Trial {odd} of {table.name} goes from {table.starts[odd]:.6g} to "
            f"{table.stops[odd]:.6g} s. Expected an end after each start, in seconds."
        )
    frames = np.ones(len(lasts), int) if pictures else usual_frames(lasts * rate)
    tiers = np.full(len(lasts), "") if table.tiers is None else table.tiers
    order = np.argsort(table.starts, kind="stable")
    return [Trial(float(table.starts[i]), int(frames[i]), str(tiers[i])) for i in order]


def usual_frames(lengths: np.ndarray) -> np.ndarray:
    """Whole frames of each trial; a trial one off takes a more common length.

    Else the repeats of a film would not be equal.
    """
    frames = np.maximum(np.round(lengths), 1).astype(int)
    values, counts = np.unique(frames, return_counts=True)
    common = dict(zip(values.tolist(), counts.tolist(), strict=True))
    near = {n: max((n, n - 1, n + 1), key=lambda m: common.get(m, 0)) for n in common}
    return np.array([near[n] for n in frames.tolist()])


def _fits(trial: Trial, begin: float, end: float, width: float, after: float) -> bool:
    slack = width / 2
    last = trial.begin + (after or trial.frames * width)
    return begin - slack <= trial.begin and last <= end + slack


def _patience(film: Film, choices: Choices) -> float:
    return max(choices.max_gap, FLICKER * film.clock.interval)


def holes(
    film: Film, signals: Iterable[Signal], choices: Choices
) -> tuple[np.ndarray, np.ndarray]:
    """Begins and ends of all gaps that are too long to bridge, in seconds."""
    gaps = clocks.gaps(film.clock)
    wide = gaps.ends_g - gaps.begins_g > _patience(film, choices)
    # The frame before a gap is shown as usual; the gap begins after it.
    begins, ends = [gaps.begins_g[wide] + film.clock.interval], [gaps.ends_g[wide]]
    for signal in signals:
        if isinstance(signal, Series):
            gaps = clocks.gaps(signal.clock)
            wide = gaps.ends_g - gaps.begins_g > choices.max_gap
            begins.append(gaps.begins_g[wide])
            ends.append(gaps.ends_g[wide])
    return np.concatenate(begins), np.concatenate(ends)


def _said_gaps(
    film: Film, signals: Iterable[Signal], trials: list[Trial], width: float
) -> list[str]:
    """What is missing of signals, and of the film within trials, in words."""
    notes = []
    clocked = [(s.name, s.clock) for s in signals if isinstance(s, Series)]
    for name, clock in [(film.name, film.clock), *clocked]:
        gaps = clocks.gaps(clock)
        inside = np.ones(len(gaps.begins_g), bool)
        if clock is film.clock:  # between trials nothing has to be shown
            begins = np.array([t.begin for t in trials])
            ends = begins + width * (np.array([t.frames for t in trials]) - 0.5)
            trial = np.searchsorted(begins, gaps.begins_g, side="right") - 1
            inside = (trial >= 0) & (gaps.ends_g < ends[trial.clip(0)])
        if inside.any():
            steps = (gaps.ends_g - gaps.begins_g)[inside]
            lost = int((np.round(steps * clock.rate) - 1).sum())
            notes.append(
                f"{name}: {len(steps)} gaps, about {lost} samples missing, the longest "
                f"{steps.max():.3g} s; "
                + ("the frame before stays" if clock is film.clock else "bridged")
            )
    return notes


def _check_tiers(trials: list[Trial], table: Table | None) -> None:
    names = sorted({t.tier for t in trials})
    if names != [""] and TRAIN not in names and table is not None:
        raise UserError(
            f"{table.name} has the tiers {', '.join(names)}, none of them '{TRAIN}', "
            "where statistics come from. Choose another column with --tiers, or "
            "--tiers none to hold out repeated stimuli."
        )


def onsets(
    trial: Trial, film: Film, rate: float, choices: Choices
) -> tuple[np.ndarray, np.ndarray, float]:
    """Onsets of a trial's frames; middles and width of what is taken of signals there.

    All in seconds. Signals are taken at the frames, but for pictures: from a window
    after the one frame.
    """
    if choices.pictures:
        first, last = choices.window
        middle = trial.begin + (first + last) / 2
        return np.array([trial.begin]), np.array([middle]), last - first
    onset_t = clocks.onsets(film.clock, trial.begin, trial.frames, 1 / rate)
    return onset_t, onset_t, 1 / rate


def living(
    foreign: Foreign,
    trials: list[Trial],
    rate: float,
    methods: dict[str, tuple[str, ...]],
    choices: Choices,
) -> tuple[Foreign, str]:
    """A recording without units that are NaN in the first, middle and last trial.

    Also what was left out, in words. Reading so much shows early what is damaged.
    """
    signals = foreign.signals[RESPONSES]
    alive_n = np.zeros(sum(s.columns for s in signals), bool)
    for i in sorted({0, len(trials) // 2, len(trials) - 1}):
        _, middle_t, width = onsets(trials[i], foreign.film, rate, choices)
        begin = 0
        for s, method in zip(signals, methods[RESPONSES], strict=True):
            values_tn, _ = trial_values(s, middle_t, width, method, choices.max_gap)
            alive_n[begin : begin + s.columns] |= np.isfinite(values_tn).any(0)
            begin += s.columns
    dead = int((~alive_n).sum())
    if dead == len(alive_n):
        names = ", ".join(s.name for s in signals)
        raise UserError(
            f"{names}: every one of the {dead} units is NaN throughout the trials "
            "looked at. Choose another response, or other trials."
        )
    if not dead:
        return foreign, ""
    ids, places = foreign.ids_n, foreign.coordinates_n3
    foreign = foreign._replace(
        signals={**foreign.signals, RESPONSES: kept_units(signals, alive_n)},
        ids_n=np.flatnonzero(alive_n) if ids is None else ids[alive_n],
        coordinates_n3=None if places is None else places[alive_n],
    )
    return foreign, f"{dead} units are NaN throughout; left out"
