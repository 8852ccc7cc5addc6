"""Experanto and Enigma-Mouse experiments: a folder per device, each with a meta.yml.

    screen/       timestamps.npy, data/<i>.npy (or .mp4), meta/<i>.yml, meta.yml
    responses/    data.npy or data.mem, meta.yml: a sequence, or spikes
    eye_tracker/  treadmill/    likewise

Every item of the screen is a video, an image or blank; its .yml says its first frame
in timestamps.npy and its tier. https://experanto.readthedocs.io
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax.data.formats import clocks, films, lazy, yaml_file
from sensorium_jax.data.formats.clocks import Clock
from sensorium_jax.data.formats.foreign import (
    NONE,
    TIMES,
    Choices,
    Film,
    Foreign,
    Listed,
    Series,
    Signal,
    Table,
    inner_name,
    parts,
    safe_name,
    some_columns,
    spikes,
    with_columns,
)
from sensorium_jax.data.session import BEHAVIOR, PUPIL, RESPONSES
from sensorium_jax.errors import UserError, unknown
from sensorium_jax.io import plain_json, regular

SCREEN, EYE = "screen", "eye_tracker"
USUAL_RATE = 30.0  # frames per second, where only pictures were shown
MOST_YAML = 64 << 20  # bytes; spikes list the end of every unit
KEPT = 4  # films in memory
VIDEO_ITEM, IMAGE, BLANKS = "video", "image", ("blank", "invalid")


UNREAD = dict.fromkeys(TIMES, "each device has its own times") | {
    "stimulus": "the film is what screen/ holds",
    "trials": "every item of screen/ is a trial; --trials none cuts the recording",
    "tiers": "an item's .yml says its tier; --tiers none ignores that",
    "neuropil": "only suite2p's F needs it",
}


class Item(NamedTuple):
    """Something shown: a film, a picture, or nothing."""

    key: str
    kind: str
    first: int  # frame of timestamps.npy
    frames: int
    tier: str
    grey: float  # of a blank screen
    path: Path | None
    size: tuple[int, ...]


def is_source(folder: Path) -> bool:
    """Whether a folder is an experiment."""
    return (folder / SCREEN / "meta.yml").exists()


@contextlib.contextmanager
def opened(source: str, choices: Choices) -> Iterator[Foreign]:
    """An experiment; devices other than the usual may be chosen by their folders."""
    folder = Path(source)
    items, times_t = _items(folder / SCREEN)
    film = _film(folder / SCREEN, items, times_t, transpose=choices.transpose)
    devices = _devices(folder)
    eye = [EYE] if EYE in devices else []
    columns = _columns(folder / EYE) if eye else 0
    rest = [f"{EYE}:{c}" for c in range(2, columns)]
    rest += ["treadmill"] if "treadmill" in devices else []
    center = [f"{EYE}:0-1"] if eye else []
    asked = {
        RESPONSES: parts(choices.response) or ["responses"],
        BEHAVIOR: rest if choices.behavior is None else parts(choices.behavior),
        PUPIL: center if choices.pupil is None else parts(choices.pupil),
    }
    signals = {
        what: tuple(_device(folder, name, devices) for name in names)
        for what, names in asked.items()
        if names and names != [NONE]
    }
    notes = []
    if choices.pupil is None and eye:
        notes.append(f"the first two columns of {EYE} count as the pupil's x and y")
    table = None
    if choices.trials != NONE:
        table = _table(items, film, times_t, tiers=choices.tiers != NONE)
    yield Foreign(
        name=safe_name(folder.resolve().name),
        form="experanto",
        film=film,
        signals=signals,
        table=table,
        notes=tuple(notes),
    )


def listed(source: str) -> list[Listed]:
    """The devices of an experiment."""
    folder = Path(source)
    items, times_t = _items(folder / SCREEN)
    kinds = [i.kind for i in items]
    counts = ", ".join(f"{kinds.count(k)} {k}" for k in dict.fromkeys(kinds))
    lines = [Listed(SCREEN, counts, (len(times_t),), None, "", "stimulus")]
    uses = {"responses": RESPONSES, EYE: "pupil, behavior", "treadmill": BEHAVIOR}
    for name in _devices(folder):
        signal = _device(folder, name, _devices(folder))
        steady = isinstance(signal, Series)
        count = signal.clock.count if steady else len(signal.times_e)
        rate = signal.clock.rate if steady else None
        shape, kind = (count, signal.columns), "sequence" if steady else "spikes"
        lines.append(
            Listed(name, kind, shape, rate, signal.unit, uses.get(name, BEHAVIOR))
        )
    return lines


def _yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml_file.read(path, MOST_YAML, "Reading experanto's meta.yml")
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing. Expected an experiment as experanto writes it."
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error}).") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds {type(content).__name__}, expected keys.")
    return content


def _number(
    meta: Mapping[str, Any], key: str, path: Path, usual: float | None = None
) -> float:
    value = meta.get(key, usual)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{path}: {key} is {value!r:.60}. Expected a number.")
    return float(value)


def _whole(
    meta: Mapping[str, Any], key: str, path: Path, usual: int | None = None
) -> int:
    value = _number(meta, key, path, usual)
    if value != int(value) or value < 0:
        raise UserError(
            f"{path}: {key} is {value}. Expected a whole number, 0 or more."
        )
    return int(value)


def _items(screen: Path) -> tuple[list[Item], np.ndarray]:
    """What was shown, in order, and the time of every frame."""
    times_t = lazy.mapped(screen / "timestamps.npy").whole()
    times_t = clocks.timed(times_t, "screen/timestamps.npy").times_t
    meta = _yaml(screen / "meta.yml")
    if meta.get("modality") != SCREEN:
        raise UserError(
            f"{screen / 'meta.yml'} has the modality {meta.get('modality')!r:.40}. "
            f"Expected '{SCREEN}'."
        )
    named = bool(meta.get("use_stimuli_names", False))
    folder = screen / "meta"
    names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    keys = sorted(n[:-4] for n in names if re.fullmatch(r"\d+\.yml", n))
    if keys:
        metas = {k: _yaml(folder / f"{k}.yml") for k in keys}
    else:
        metas = _combined(screen / "combined_meta.json")
    items = [_item(screen, k, m, named=named) for k, m in metas.items()]
    items.sort(key=lambda i: i.first)
    assert times_t is not None
    for item, after in zip(items, [*items[1:], None], strict=True):
        end = len(times_t) if after is None else after.first
        if item.first + item.frames > end:
            raise UserError(
                f"{screen}: item {item.key} has frames {item.first} to "
                f"{item.first + item.frames - 1}, but the next begins at frame {end}. "
                "Expected frames one after the other, with a timestamp each."
            )
    return items, times_t


def _combined(path: Path) -> dict[str, Any]:
    try:
        metas = plain_json.load(path, "Write it again.", most=MOST_YAML)
    except OSError:
        raise UserError(
            f"{path.parent / 'meta'} has no .yml of anything shown, and {path.name} "
            "cannot be read. Expected one .yml for each item of data/."
        ) from None
    if not isinstance(metas, dict) or not all(
        isinstance(m, dict) for m in metas.values()
    ):
        raise UserError(f"{path} does not describe items by their keys.")
    return metas


def _item(screen: Path, key: str, meta: Mapping[str, Any], *, named: bool) -> Item:
    path = screen / "meta" / f"{key}.yml"
    kind = str(meta.get("modality", "")).lower()
    if kind not in (VIDEO_ITEM, IMAGE, *BLANKS):
        raise unknown("modality", kind, (VIDEO_ITEM, IMAGE, *BLANKS), f"In {path}.")
    size = meta.get("image_size")
    if not isinstance(size, list) or not all(type(n) is int and n > 0 for n in size):
        raise UserError(
            f"{path}: image_size is {size!r:.60}. Expected [height, width]."
        )
    name = inner_name(str(meta.get("stimulus_name")) if named else key, str(path))
    data = None
    if kind not in BLANKS:
        data = screen / "data" / f"{name}.npy"
        if not data.exists() and (screen / "data" / f"{name}.mp4").exists():
            data = screen / "data" / f"{name}.mp4"
    return Item(
        key,
        kind,
        _whole(meta, "first_frame_idx", path),
        _whole(meta, "num_frames", path) if kind == VIDEO_ITEM else 1,
        str(meta.get("tier", "")),
        _number(meta, "interleave_value", path, 0.0) if kind in BLANKS else 0.0,
        data,
        tuple(size),
    )


def _film(
    screen: Path, items: list[Item], times_t: np.ndarray, *, transpose: bool
) -> Film:
    """All that was shown, as one film."""
    shows = [i for i in items if i.path is not None]
    if not shows:
        raise UserError(
            f"{screen} shows nothing but blanks. Expected films or pictures."
        )
    first = _frames(shows[0], transpose=transpose)
    shape, dtype = first.frame_shape, first.dtype
    # Blanks may be between grey levels, and are no reason to store all as float.
    starts = np.array([i.first for i in items])
    cache: dict[str, films.Frames] = {shows[0].key: first}

    def one(item: Item, begin: int, end: int) -> np.ndarray:
        if item.path is None:
            grey = np.rint(item.grey) if dtype.kind in "iu" else item.grey
            return np.full((end - begin, *shape), grey, dtype)
        if item.key not in cache:
            while len(cache) >= KEPT:
                del cache[next(iter(cache))]
            cache[item.key] = _frames(item, transpose=transpose)
        frames = cache[item.key]
        if frames.frame_shape != shape:
            raise UserError(
                f"{item.path} has frames {frames.frame_shape}, the first item {shape}. "
                "Expected one size for all."
            )
        part = frames.read(begin, end)
        exact = dtype.kind == "f" or part.dtype == dtype
        return part.astype(dtype, copy=False) if exact else np.rint(part).astype(dtype)

    def read(begin: int, stop: int) -> np.ndarray:
        out = np.empty((stop - begin, *shape), dtype)
        i = max(int(np.searchsorted(starts, begin, side="right")) - 1, 0)
        while i < len(items) and items[i].first < stop:
            item = items[i]
            after = int(starts[i + 1]) if i + 1 < len(items) else len(times_t)
            low, high = max(begin, item.first), min(stop, after)
            if low < high:
                # The last frame of an item stays until the next item.
                numbers = np.arange(low, high) - item.first
                numbers = numbers.clip(max=item.frames - 1)
                first, last = int(numbers[0]), int(numbers[-1])
                part = one(item, first, last + 1)
                out[low - begin : high - begin] = part[numbers - first]
            i += 1
        return out

    return Film(SCREEN, _screen_clock(items, times_t), shape, dtype, read)


def _screen_clock(items: list[Item], times_t: np.ndarray) -> Clock:
    """The clock of the frames; its rate is that of the videos."""
    clock = clocks.timed(times_t, SCREEN)
    steps = [
        np.diff(times_t[i.first : i.first + i.frames])
        for i in items
        if i.kind == VIDEO_ITEM and i.frames > 1
    ]
    if not steps:
        return clock._replace(rate=USUAL_RATE)
    step = float(np.median(np.concatenate(steps)))
    if step <= 0:
        raise UserError(
            "screen/timestamps.npy has films whose frames share their times."
        )
    return clock._replace(rate=float(f"{1 / step:.9g}"))


def _frames(item: Item, *, transpose: bool) -> films.Frames:
    """The frames of a film or picture; pictures are [h, w] or [h, w, channels]."""
    assert item.path is not None
    if item.path.suffix == ".mp4":
        frames = films.movie(item.path)
    else:
        array = lazy.mapped(item.path)
        if item.kind == IMAGE:
            picture = array.whole()[None]
            shape = picture.shape
            array = array._replace(shape=shape, read=lambda a, b: picture[a:b])
        frames = films.stack(array, transpose=transpose)
    if frames.count < item.frames:
        raise UserError(
            f"{item.path} has {frames.count} frames, its .yml says {item.frames}. "
            "Expected the same; the file may be cut short."
        )
    return frames


def _table(items: list[Item], film: Film, times_t: np.ndarray, *, tiers: bool) -> Table:
    """Every film and every picture is a trial; blanks are not."""
    shows = [i for i in items if i.path is not None]
    nexts = {i.key: a.first for i, a in zip(items, items[1:], strict=False)}
    step = film.clock.interval
    starts, stops = [], []
    for item in shows:
        start = float(times_t[item.first])
        after = nexts.get(item.key, len(times_t))
        usual = float(times_t[item.first + item.frames - 1]) + step
        stop = float(times_t[after]) if after < len(times_t) else usual
        # A film ends with its own frames, a picture when something else is shown.
        stops.append(min(stop, usual) if item.kind == VIDEO_ITEM else stop)
        starts.append(start)
    named = np.array([i.tier for i in shows])
    given = tiers and (named != "").all()
    return Table(SCREEN, np.array(starts), np.array(stops), named if given else None)


def _devices(folder: Path) -> list[str]:
    """Folders of signals, by name."""
    there = [p.parent.name for p in folder.glob("*/meta.yml")]
    kinds = {n: _yaml(folder / n / "meta.yml").get("modality") for n in sorted(there)}
    return [n for n, kind in kinds.items() if kind in ("sequence", "spikes")]


def _columns(folder: Path) -> int:
    return _whole(_yaml(folder / "meta.yml"), "n_signals", folder / "meta.yml")


def _device(folder: Path, choice: str, devices: list[str]) -> Signal:
    name, columns = with_columns(choice)
    if name not in devices:
        raise unknown("device", name, devices, f"Looked for in {folder}.")
    place = folder / name
    path = place / "meta.yml"
    meta = _yaml(path)
    if meta["modality"] == "spikes":
        return _spikes(place, meta, name)
    count, samples = _samples(place, meta)
    width = samples.shape[1]
    rate, start = (
        _number(meta, "sampling_rate", path),
        _number(meta, "start_time", path),
    )
    clock = clocks.steady(count, rate, start, name=name)
    delay_n = None
    if meta.get("phase_shift_per_signal"):
        delay_n = lazy.mapped(place / "meta/phase_shifts.npy").whole().astype(float)
        if delay_n.shape != (width,) or not np.isfinite(delay_n).all():
            raise UserError(
                f"{place}/meta/phase_shifts.npy has shape {delay_n.shape}, expected "
                f"one number for each of the {width} signals."
            )
    return some_columns(
        Series(name, clock, width, samples.read, delay_n=delay_n), columns
    )


def _samples(place: Path, meta: Mapping[str, Any]) -> tuple[int, lazy.Lazy]:
    """Samples [t, n] of a sequence, from data.mem or data.npy."""
    path = place / "meta.yml"
    width = _whole(meta, "n_signals", path)
    if not meta.get("is_mem_mapped"):
        array = lazy.mapped(place / "data.npy")
        if array.shape != (array.shape[0], width) or array.dtype.kind not in "fiu":
            raise UserError(
                f"{place / 'data.npy'} has shape {array.shape} and type {array.dtype}. "
                f"Expected numbers [time, {width}], as {path.name} says."
            )
        return array.shape[0], array
    array = memory(
        place / "data.mem", meta, (_whole(meta, "n_timestamps", path), width)
    )
    return array.shape[0], array


def memory(path: Path, meta: Mapping[str, Any], shape: tuple[int, ...]) -> lazy.Lazy:
    """A file of bare numbers, whose shape and type meta.yml says."""
    try:
        dtype = np.dtype(str(meta.get("dtype", "float64")))
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind not in "fiu":
        raise UserError(f"{path.parent}/meta.yml: dtype is {meta.get('dtype')!r:.40}.")
    if not path.exists():
        raise UserError(f"{path} is missing. Expected the numbers of this device.")
    size, want = regular.check(path), int(np.prod(shape, dtype=object)) * dtype.itemsize
    if size != want or not want:
        raise UserError(
            f"{path} has {size} bytes, but meta.yml says {shape} of {dtype}, {want} "
            "bytes. Copy the file again."
        )

    def read(first: int, stop: int) -> np.ndarray:
        return np.array(np.memmap(path, dtype, "r", shape=shape)[first:stop])

    return lazy.Lazy(path.name, shape, dtype, read)


def _spikes(place: Path, meta: Mapping[str, Any], name: str) -> Signal:
    ends = meta.get("spike_indices")
    if not isinstance(ends, list) or not all(type(n) is int and n >= 0 for n in ends):
        raise UserError(f"{place}/meta.yml: spike_indices is no list of whole numbers.")
    if len(ends) < 2:
        raise UserError(f"{place} has no units. Choose another --response.")
    if meta.get("is_mem_mapped"):
        array = memory(place / "spikes.mem", meta, (ends[-1],))
    else:
        array = lazy.mapped(place / "spikes.npy")
    units = spikes(array.whole().reshape(-1), np.array(ends[1:]), name)
    path = place / "meta.yml"
    span = _number(meta, "start_time", path), _number(meta, "end_time", path)
    return units._replace(span=span)
