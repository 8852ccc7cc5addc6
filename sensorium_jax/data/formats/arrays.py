"""Arrays and films in files of one's own, described by ten lines of YAML.

    stimulus:  {file: film.npy, times: frame_times.npy}
    responses: {file: session.mat, variable: dff, rate: 9.8, start: 0.2, time_axis: 1}
    behavior:  [{file: running.npz, variable: speed, rate: 100}]
    pupil:     {file: eye.csv, variable: [x, y], times: {file: eye.csv, variable: t}}
    trials:    trials.csv

Paths are relative to the description. docs/importing.md lists every key.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sensorium_jax.data.formats import files, suite2p, yaml_file
from sensorium_jax.data.formats.files import Place
from sensorium_jax.data.formats.foreign import (
    NONE,
    TIMES,
    Choices,
    Foreign,
    Listed,
    Series,
    Signal,
    safe_name,
)
from sensorium_jax.data.session import BEHAVIOR, PUPIL, RESPONSES
from sensorium_jax.errors import UserError, unknown

KEYS = ("name", "stimulus", "responses", "behavior", "pupil", "trials")
UNITS = ("ids", "coordinates")
SUITE2P = ("suite2p", "signal", "neuropil", "times")
MOST_YAML = 1 << 18  # bytes
NAMED = "the YAML file names it; change it there"
UNREAD = dict.fromkeys(
    (*TIMES, "stimulus", "response", "behavior", "pupil", "trials", "neuropil"), NAMED
)


@contextlib.contextmanager
def opened(source: str, choices: Choices) -> Iterator[Foreign]:
    """The recording that a YAML file describes."""
    path = Path(source)
    spec = description(path)
    with contextlib.ExitStack() as stack:
        place = Place(path.parent, stack)
        responses, units, notes = _responses(spec["responses"], place)
        signals: dict[str, tuple[Signal, ...]] = {RESPONSES: responses}
        for what, key in ((BEHAVIOR, "behavior"), (PUPIL, "pupil")):
            if spec.get(key) is not None and getattr(choices, key) != NONE:
                signals[what] = _several(spec[key], place, key)
        pupil = sum(s.columns for s in signals.get(PUPIL, ()))
        if pupil not in (0, 2):
            raise UserError(
                f"{path}: pupil has {pupil} columns. Expected 2, x and y of its "
                "center; its size belongs to behavior."
            )
        table = None
        if spec.get("trials") is not None and choices.trials != NONE:
            table = files.table(spec["trials"], place, "trials", choices.tiers)
        for key in UNITS:
            if key in spec:
                units[key] = files.array(spec[key], place, key).whole()
        ids_n, places = _check_units(units, sum(s.columns for s in responses))
        stimulus = spec["stimulus"]
        yield Foreign(
            name=safe_name(str(spec.get("name", path.stem))),
            form="arrays",
            film=files.film(stimulus, place, "stimulus", transpose=choices.transpose),
            signals=signals,
            table=table,
            ids_n=ids_n,
            coordinates_n3=places,
            notes=notes,
        )


def listed(source: str) -> list[Listed]:
    """What the description names, as it was found."""
    with opened(source, Choices()) as foreign:
        film = foreign.film
        shape = (film.clock.count, *film.frame_shape)
        kind = str(film.dtype)
        lines = [Listed(film.name, kind, shape, film.clock.rate, "", "stimulus")]
        for what, signals in foreign.signals.items():
            for s in signals:
                count = s.clock.count if isinstance(s, Series) else len(s.times_e)
                rate = s.clock.rate if isinstance(s, Series) else None
                shape = (count, s.columns)
                lines.append(Listed(s.name, "signal", shape, rate, s.unit, what))
        if foreign.table is not None:
            trials = (len(foreign.table.starts),)
            lines.append(
                Listed(foreign.table.name, "table", trials, None, "", "trials")
            )
    return lines


def description(path: Path) -> dict[str, Any]:
    """What a YAML file says, with known keys only."""
    try:
        spec = yaml_file.read(path, MOST_YAML, "Reading a YAML file", "YAML file")
    except OSError as error:
        raise UserError(f"{path} is no YAML file that can be read ({error}).") from None
    if not isinstance(spec, Mapping):
        raise UserError(
            f"{path} holds {type(spec).__name__}. Expected keys: {', '.join(KEYS)}."
        )
    for key in spec:
        if key not in (*KEYS, *UNITS):
            raise unknown("key", str(key), (*KEYS, *UNITS), f"It is in {path}.")
    for key in ("stimulus", "responses"):
        if spec.get(key) is None:
            raise UserError(f"{path} says no {key}. Expected {key}: FILE at least.")
    return dict(spec)


def _several(spec: Any, place: Place, where: str) -> tuple[Signal, ...]:
    every = spec if isinstance(spec, list) else [spec]
    if not every:
        raise UserError(f"{where} is an empty list. Leave it out, or name a file.")
    return tuple(files.series(s, place, where) for s in every)


def _responses(
    spec: Any, place: Place
) -> tuple[tuple[Signal, ...], dict[str, Any], tuple[str, ...]]:
    """Responses, with ids and places where a suite2p folder knows them."""
    if not isinstance(spec, Mapping) or "suite2p" not in spec:
        return _several(spec, place, "responses"), {}, ()
    spec = files.keys(spec, SUITE2P, "responses")
    times = spec.get("times")
    series, ids_n, places, notes = suite2p.responses(
        place.folder / str(spec["suite2p"]),
        signal=str(spec.get("signal", suite2p.SPKS)),
        neuropil=float(spec.get("neuropil", 0.7)),
        times=None if times is None else files.times(times, place, "responses"),
    )
    units = {"ids": ids_n, "coordinates": places}
    return series, {k: v for k, v in units.items() if v is not None}, notes


def _check_units(
    units: Mapping[str, np.ndarray], count: int
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Ids [n] and coordinates [n, 3], where they are given and fit the neurons."""
    ids_n, places = units.get("ids"), units.get("coordinates")
    if ids_n is not None:
        ids_n = ids_n.reshape(-1)
        whole = ids_n.dtype.kind in "iu" or (
            ids_n.dtype.kind == "f" and (ids_n == np.round(ids_n)).all()
        )
        if len(ids_n) != count or not whole or len(np.unique(ids_n)) != count:
            raise UserError(
                f"ids are {len(ids_n)} of type {ids_n.dtype}, the neurons {count}. "
                "Expected one whole number for each, all different."
            )
        ids_n = ids_n.astype(np.int64)
    if places is None:
        return ids_n, None
    fits = places.ndim == 2 and len(places) == count and places.shape[1] in (2, 3)
    if not fits or places.dtype.kind not in "fiu" or not np.isfinite(places).all():
        raise UserError(
            f"coordinates have shape {places.shape}, the neurons are {count}. Expected "
            "numbers [neurons, 3] (or 2), in micrometres."
        )
    wide = np.zeros((count, 3), np.float32)
    wide[:, : places.shape[1]] = places
    return ids_n, wide
