"""Films, signals, times and tables of trials that lie in files of their own.

Each is described by a mapping such as {file: run.npz, variable: speed, rate: 100}, or
by the name of the file alone.
"""

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax.data.formats import clocks, films, lazy
from sensorium_jax.data.formats.clocks import Clock
from sensorium_jax.data.formats.foreign import (
    NONE,
    Choices,
    Film,
    Series,
    Signal,
    Table,
    parts,
    spikes,
)
from sensorium_jax.data.session import BEHAVIOR, PUPIL
from sensorium_jax.errors import UserError, unknown

ARRAY = ("file", "variable", "time_axis")
CLOCK = ("times", "rate", "start")
COLOR = "color"
SPIKES = ("spike_times", "spike_units")
STARTS, STOPS = ("start", "start_time", "onset"), ("stop", "stop_time", "end", "offset")
TIERS = ("tier", "tiers", "split")


class Place(NamedTuple):
    """Where files are looked for, and what stays open while they are read."""

    folder: Path
    stack: contextlib.ExitStack


def keys(spec: Any, allowed: Iterable[str], where: str) -> dict[str, Any]:
    """A description as a dictionary; a name alone is that of the file."""
    if isinstance(spec, str):
        return {"file": spec}
    if not isinstance(spec, Mapping):
        raise UserError(
            f"{where} is {spec!r:.80}. Expected a file's name, or keys such as "
            f"{{{', '.join(allowed)}}}."
        )
    for key in spec:
        if key not in allowed:
            raise unknown("key", str(key), allowed, f"It is in {where}.")
    return dict(spec)


def _number(spec: Mapping[str, Any], key: str, where: str) -> float | None:
    value = spec.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{where}: {key} is {value!r:.60}. Expected a number.")
    return float(value)


def _path(spec: Mapping[str, Any], place: Place, where: str) -> Path:
    name = spec.get("file")
    if not isinstance(name, str) or not name:
        raise UserError(f"{where} names no file. Expected file: NAME.")
    return place.folder / name


def array(spec: Any, place: Place, where: str) -> lazy.Lazy:
    """An array of a file, time first; several variables become columns."""
    spec = keys(spec, ARRAY, where)
    path = _path(spec, place, where)
    axis = spec.get("time_axis", 0)
    if type(axis) is not int:
        raise UserError(f"{where}: time_axis is {axis!r:.40}. Expected 0, 1, ...")
    names = spec.get("variable")
    if not isinstance(names, list):
        return lazy.opened(path, _word(names, where), place.stack, axis)
    several = [lazy.opened(path, _word(n, where), place.stack, axis) for n in names]
    if not several or len({s.shape[0] for s in several}) != 1:
        raise UserError(
            f"{where}: the variables {names} have {[s.shape[0] for s in several]} "
            "samples. Expected as many of each."
        )
    width = sum(int(np.prod(s.shape[1:])) for s in several)

    def read(first: int, stop: int) -> np.ndarray:
        columns = [s.read(first, stop).reshape(stop - first, -1) for s in several]
        return np.hstack(columns)

    name, dtype = f"{path.name}:{'+'.join(names)}", several[0].dtype
    return lazy.Lazy(name, (several[0].shape[0], width), dtype, read)


def _word(name: Any, where: str) -> str | None:
    if name is not None and not isinstance(name, str):
        raise UserError(f"{where}: variable is {name!r:.60}. Expected a name.")
    return name


def times(spec: Any, place: Place, where: str) -> np.ndarray:
    """Times in seconds, [t]."""
    values = array(spec, place, f"{where}: times").whole()
    return values.reshape(-1) if values.ndim == 2 and 1 in values.shape else values


def _clock(spec: Mapping[str, Any], place: Place, count: int, where: str) -> Clock:
    if spec.get("times") is not None:
        clock = clocks.timed(times(spec["times"], place, where), where)
        start = _number(spec, "start", where)
        if start:
            moved = clock.times(0, clock.count) + start
            clock = clock._replace(start=clock.start + start, times_t=moved)
        return clock
    rate = _number(spec, "rate", where)
    if rate is None:
        raise UserError(
            f"Nothing says when the samples of {where} were taken. Give times: FILE "
            "(seconds), or rate: SAMPLES PER SECOND and start: SECONDS."
        )
    return clocks.steady(count, rate, _number(spec, "start", where) or 0.0, name=where)


def film(spec: Any, place: Place, where: str, *, transpose: bool = False) -> Film:
    """A film from a stack of frames, a movie, or a folder of pictures."""
    spec = keys(spec, (*ARRAY, *CLOCK, COLOR), where)
    path, color = _path(spec, place, where), bool(spec.get(COLOR, False))
    if path.suffix.lower() in films.MOVIES:
        if not path.exists():
            raise UserError(f"{path} does not exist. Check the path.")
        frames = films.movie(path, color=color)
    elif path.is_dir() and path.suffix != ".zarr":
        frames = films.folder(path, color=color)
    else:
        part = {k: v for k, v in spec.items() if k in ARRAY}
        frames = films.stack(array(part, place, where), transpose=transpose)
    if frames.times_t is not None and not {"times", "rate"} & spec.keys():
        moved = frames.times_t + (_number(spec, "start", where) or 0.0)
        return frames.on(clocks.timed(moved, where))
    return frames.on(_clock(spec, place, frames.count, where))


def series(spec: Any, place: Place, where: str) -> Signal:
    """A signal, or spikes of units."""
    if isinstance(spec, Mapping) and SPIKES[0] in spec:
        return _spikes(keys(spec, SPIKES, where), place, where)
    spec = keys(spec, (*ARRAY, *CLOCK), where)
    samples = array({k: v for k, v in spec.items() if k in ARRAY}, place, where)
    if len(samples.shape) not in (1, 2) or 0 in samples.shape:
        raise UserError(
            f"{where}: {samples.name} has shape {samples.shape}, time first. Expected "
            "[time] or [time, signals]; give time_axis where time is not first."
        )
    if samples.dtype.kind not in "biuf":
        raise UserError(f"{where}: {samples.name} holds {samples.dtype}, no numbers.")
    clock = _clock(spec, place, samples.shape[0], where)
    if clock.count != samples.shape[0]:
        other = clock.count in samples.shape
        hint = f" Its axis {samples.shape.index(clock.count)} has." if other else ""
        raise UserError(
            f"{where}: {samples.name} has {samples.shape[0]} samples, but there are "
            f"{clock.count} times.{hint} Expected one time for each; give time_axis "
            "where time is not the first axis."
        )
    width = int(np.prod(samples.shape[1:]))
    return Series(samples.name, clock, width, samples.read)


def _spikes(spec: Mapping[str, Any], place: Place, where: str) -> Signal:
    times_e = array(spec["spike_times"], place, where).whole().reshape(-1)
    if SPIKES[1] not in spec:
        raise UserError(f"{where} has spike_times, but no spike_units beside them.")
    units_e = array(spec["spike_units"], place, where).whole().reshape(-1)
    if len(times_e) != len(units_e) or units_e.dtype.kind not in "iuf":
        raise UserError(
            f"{where}: {len(times_e)} spike_times, {len(units_e)} spike_units. "
            "Expected a time and a unit's number for each spike."
        )
    order = np.lexsort((times_e, units_e))
    _, counts = np.unique(units_e, return_counts=True)
    return spikes(times_e[order], np.cumsum(counts), where)


def table(spec: Any, place: Place, where: str, tiers: str | None = None) -> Table:
    """Trials from a .csv file with columns start, stop, tier, or from such arrays."""
    spec = keys(spec, ("file", *STARTS[:1], *STOPS[:1], *TIERS[:1]), where)
    if "file" in spec:
        path = _path(spec, place, where)
        if path.suffix.lower() != ".csv":
            raise UserError(
                f"{where} is {path.name}. Expected a .csv file with the columns start, "
                "stop and perhaps tier, or start: and stop: with an array each."
            )
        if not path.exists():
            raise UserError(f"{path} does not exist. Check the path.")
        columns = lazy.table(path)
    else:
        columns = {
            k: array(v, place, f"{where}: {k}").whole().reshape(-1)
            for k, v in spec.items()
        }
    start, stop = (
        next((columns[n] for n in names if n in columns), None)
        for names in (STARTS, STOPS)
    )
    if start is None or stop is None or "U" in start.dtype.kind + stop.dtype.kind:
        raise UserError(
            f"{where} has the columns {', '.join(columns)}. Expected start and stop, "
            "in seconds, and perhaps tier."
        )
    names = TIERS if tiers is None else (tiers,)
    tier = next((columns[n] for n in names if n in columns), None)
    if tier is None and tiers not in (None, NONE):
        raise unknown("column", str(tiers), columns, f"It is looked for in {where}.")
    if len({len(start), len(stop), len(start) if tier is None else len(tier)}) != 1:
        raise UserError(f"{where} has columns of different lengths.")
    words = None if tier is None else tier.astype(str)
    return Table(where, start.astype(np.float64), stop.astype(np.float64), words)


# What the flags of the command line name, relative to where the command was called.


def _flag(path: str, clock: str | None) -> dict[str, Any]:
    """A file and its times, or its samples per second where a number stands instead."""
    if clock is None:
        return {"file": path}
    with contextlib.suppress(ValueError):
        return {"file": path, "rate": float(clock)}
    return {"file": path, "times": clock}


def flag_film(choices: Choices, stack: contextlib.ExitStack) -> Film:
    """The film of --stimulus and --stimulus-times."""
    spec = _flag(choices.stimulus or "", choices.stimulus_times)
    place = Place(Path(), stack)
    return film(spec, place, "--stimulus", transpose=choices.transpose)


def flag_times(path: str | None, stack: contextlib.ExitStack) -> np.ndarray | None:
    """The times of a flag such as --response-times."""
    return (
        None if path is None else times(path, Place(Path(), stack), "--response-times")
    )


def flag_signals(
    choices: Choices, stack: contextlib.ExitStack
) -> dict[str, tuple[Signal, ...]]:
    """The signals of --behavior and --pupil, with their times."""
    signals = {}
    for what, flag in ((BEHAVIOR, "behavior"), (PUPIL, "pupil")):
        files = [p for p in parts(getattr(choices, flag)) if p != NONE]
        times_of = parts(getattr(choices, f"{flag}_times"))
        if files and len(times_of) not in (1, len(files)):
            raise UserError(
                f"--{flag} has {len(files)} files, --{flag}-times {len(times_of)}. "
                "Expected times (a file, or samples per second) for each, or for all."
            )
        times_of = times_of * (len(files) if len(times_of) == 1 else 1)
        several = [
            series(_flag(f, t), Place(Path(), stack), f"--{flag}")
            for f, t in zip(files, times_of, strict=False)
        ]
        if several:
            signals[what] = tuple(several)
    return signals


def flag_table(choices: Choices) -> Table | None:
    """The trials of --trials."""
    if choices.trials in (None, NONE):
        return None
    place = Place(Path(), contextlib.ExitStack())
    return table(choices.trials, place, "--trials", choices.tiers)
