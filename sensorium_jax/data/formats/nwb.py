"""Neurodata Without Borders: HDF5 files whose groups say what type of data they hold.

Read through h5py alone, by the `neurodata_type` that the standard puts on every group,
so that files of any version of the standard open, and from a URL only what is needed is
fetched. Schema: https://nwb-schema.readthedocs.io
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax.data.formats import clocks, films, hdf5
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
    Spikes,
    Table,
    inner_name,
    parts,
    safe_name,
    some_columns,
    spikes,
    with_columns,
)
from sensorium_jax.data.session import BEHAVIOR, PUPIL, RESPONSES
from sensorium_jax.errors import UserError
from sensorium_jax.io import remote
from sensorium_jax.text import align

STIMULUS, TRIALS, TEMPLATE = "stimulus", "trials", "template"
FILMS = ("ImageSeries", "OpticalSeries", "ImageMaskSeries", "IndexSeries")
RUNNING = r"run|speed|wheel|treadmill|velocity|locomotion"
EYE = r"pupil|eye|gaze"
SIZE = r"size|area|diameter|dilation|radius|width|height"
SUFFIXES = (".nwb", ".h5", ".hdf5")
TIER_COLUMNS = ("tier", "tiers", "split")
MASKS = 64 << 20  # bytes of image masks at a time


UNREAD = dict.fromkeys(TIMES, "each series has its own times") | {
    "neuropil": "only suite2p's F needs it"
}


class Entry(NamedTuple):
    """One thing in the file that may be of use."""

    path: str
    kind: str  # its neurodata_type
    use: str  # what it could be; "" if nothing here


@contextlib.contextmanager
def opened(source: str, choices: Choices) -> Iterator[Foreign]:
    """A file by path or URL, as the user's choices say, or as its types say."""
    with hdf5.opened(source) as file:
        yield _foreign(file, source, choices)


def listed(source: str) -> list[Listed]:
    """All that could be stimulus, response, behavior, pupil or a table of trials."""
    with hdf5.opened(source) as file:
        return [_listed(file, e) for e in entries(file)]


def entries(file: Any) -> list[Entry]:
    """What could be of use, by type and name, in order of use and path."""
    if "nwb_version" not in file.attrs and "neurodata_type" not in file.attrs:
        raise UserError(
            f"{file.filename} is an HDF5 file but no NWB file: it says no nwb_version. "
            "Describe it in a YAML file instead (docs/importing.md)."
        )
    groups: list[Entry] = []

    def visit(path: str, item: Any) -> None:
        kind = item.attrs.get("neurodata_type") if hasattr(item, "keys") else None
        if kind is not None:
            above = item.parent.attrs.get("neurodata_type", "")
            kind, above = _text(kind), _text(above)
            use = use_of(path, kind, above, _shape(item))
            groups.append(Entry(path, kind, use))

    file.visititems(visit)
    order = (STIMULUS, RESPONSES, BEHAVIOR, PUPIL, TRIALS, TEMPLATE)
    useful = [e for e in groups if e.use]
    return sorted(useful, key=lambda e: (order.index(e.use), e.path))


def use_of(path: str, kind: str, above: str, shape: tuple[int, ...]) -> str:
    """What a group could be, by its path, its type, its parent's type and its shape."""
    name = path.lower()
    if kind == "RoiResponseSeries" or (kind == "Units" and path == "units"):
        return RESPONSES
    if kind == "TimeIntervals":
        return TRIALS
    if path.startswith("stimulus/templates/"):
        return TEMPLATE if len(shape) >= 3 or kind in FILMS else ""
    if kind in FILMS or (path.startswith("stimulus/") and len(shape) >= 3):
        return STIMULUS
    if len(shape) not in (1, 2):
        return ""
    eye = re.search(EYE, name)
    if eye and len(shape) == 2 and shape[1] >= 2 and kind != "ElectricalSeries":
        return PUPIL
    if eye and re.search(SIZE, name):
        return BEHAVIOR
    told = above in ("BehavioralTimeSeries", "PupilTracking")
    return BEHAVIOR if told or re.search(RUNNING, name) else ""


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _shape(group: Any) -> tuple[int, ...]:
    try:
        data = hdf5.item(group, "data")
    except UserError:  # a link to another file
        return ()
    return tuple(getattr(data, "shape", None) or ())


def _listed(file: Any, entry: Entry) -> Listed:
    group, rate, unit, shape = hdf5.get(file, entry.path), None, "", ()
    try:
        if entry.use == TRIALS:
            names = [n for n in group if n not in ("id",) and not n.endswith("_index")]
            return Listed(
                *(entry.path, entry.kind, hdf5.get(group, "id").shape, None),
                *(",".join(sorted(names))[:60], entry.use),
            )
        if entry.kind == "Units":
            units = hdf5.get(group, "id").shape
            return Listed(entry.path, entry.kind, units, None, "", entry.use)
        shape = _shape(group)
        unit = _text(hdf5.get(group, "data").attrs.get("unit", ""))
        rate = _clock(group, shape[0] if shape else 0, entry.path).rate
    except (UserError, KeyError):
        pass  # what cannot be read is told when it is chosen
    return Listed(entry.path, entry.kind, shape, rate, unit, entry.use)


def _foreign(file: Any, source: str, choices: Choices) -> Foreign:
    known = entries(file)
    film = films.joined(
        [
            _film(file, p, source, choices)
            for p in _chosen(known, STIMULUS, choices.stimulus)
        ]
    )
    responses = [_signal(file, p) for p in _chosen(known, RESPONSES, choices.response)]
    every = _chosen(known, BEHAVIOR, choices.behavior, several=True, needed=False)
    eyes = _chosen(known, PUPIL, choices.pupil, needed=False)
    pupil = [_signal(file, p) for p in eyes]
    if choices.pupil is None:
        pupil = [some_columns(s, "0-1") if s.columns > 2 else s for s in pupil]
    if pupil and sum(s.columns for s in pupil) != 2:
        raise UserError(
            f"{', '.join(s.name for s in pupil)} has {sum(s.columns for s in pupil)} "
            "columns. Expected the pupil's center, 2 columns: choose with --pupil "
            "PATH, --pupil PATH:0-1, or --pupil none."
        )
    ids_n, places = _units(file, responses)
    signals = {
        RESPONSES: tuple(responses),
        BEHAVIOR: tuple(_signal(file, p) for p in every),
        PUPIL: tuple(pupil),
    }
    return Foreign(
        name=safe_name(_name(file, source)),
        form="NWB",
        film=film,
        signals={k: v for k, v in signals.items() if v},
        table=_table(file, known, choices),
        ids_n=ids_n,
        coordinates_n3=places,
        facts={"nwb_version": _text(file.attrs.get("nwb_version", ""))},
    )


def _name(file: Any, source: str) -> str:
    """The file's name; what it calls itself where an address has none."""
    path = Path(remote.hidden(source) if "://" in source else source)
    if path.suffix.lower() in SUFFIXES:
        return path.stem
    said = (hdf5.item(file, name) for name in ("general/session_id", "identifier"))
    words = (_text(item[()]) for item in said if item is not None)
    return next(filter(None, words), path.stem)


def _chosen(
    known: list[Entry],
    use: str,
    choice: str | None,
    *,
    several: bool = False,
    needed: bool = True,
) -> list[str]:
    """Paths that the user chose, else the only one of its use, or all of several."""
    if choice == NONE and not needed:
        return []
    if choice:
        return parts(choice)
    paths = [e.path for e in known if e.use == use]
    if use == STIMULUS:
        # What was presented is filed so; films elsewhere may be of the animal.
        paths = [p for p in paths if p.startswith("stimulus/")] or paths
    if len(paths) == 1 or (several and paths) or (not paths and not needed):
        return paths
    flag = {RESPONSES: "response", PUPIL: "pupil"}.get(use, use)
    if not paths:
        raise UserError(
            f"Nothing in the file is known as a {flag}. Choose one with --{flag} PATH; "
            "--list shows what there is."
        )
    rows = [(e.path, e.kind) for e in known if e.path in paths]
    lines = "\n  ".join(align(rows))
    rest = " (or none)" if not needed else ""
    raise UserError(
        f"{len(paths)} things could be the {flag}. Choose with --{flag} PATH{rest}:\n"
        f"  {lines}"
    )


def _clock(group: Any, count: int, path: str) -> Clock:
    """When the samples of a TimeSeries were taken."""
    if "timestamps" in group:
        name = f"{path}/timestamps"
        times_t = hdf5.whole(hdf5.get(group, "timestamps"), name)
        clock = clocks.timed(times_t, path)
        if count and clock.count != count:
            raise UserError(
                f"{path} has {count} samples but {clock.count} timestamps. Expected "
                "one for each; the file may not be whole."
            )
        return clock
    start = hdf5.get(group, "starting_time")
    rate = float(np.asarray(start.attrs.get("rate", 0.0)).reshape(-1)[0])
    return clocks.steady(
        count, rate, float(np.asarray(start[()]).reshape(-1)[0]), name=path
    )


def _series_group(file: Any, path: str) -> Any:
    group = hdf5.get(file, path)
    if not hasattr(group, "keys") or "data" not in group:
        raise UserError(
            f"'{path}' is no series of data. Expected a group with data and "
            "timestamps; see --list."
        )
    return group


def _film(file: Any, path: str, source: str, choices: Choices) -> Film:
    group = _series_group(file, path)
    if "external_file" in group:
        return _external(group, path, source)
    kind = _text(group.attrs.get("neurodata_type", ""))
    data = hdf5.checked(hdf5.get(group, "data"), f"{path}/data")
    if kind == "IndexSeries" or len(data.shape) == 1:
        return _indexed(file, group, data, path, choices)
    frames = films.stack(_frames(data, path), transpose=choices.transpose)
    return frames.on(_clock(group, frames.count, path))


def _frames(data: Any, path: str) -> films.Lazy:
    return films.Lazy(path, data.shape, data.dtype, lambda a, b: data[a:b])


def _indexed(file: Any, group: Any, data: Any, path: str, choices: Choices) -> Film:
    """Frames that are numbers of frames in a stack shown from."""
    index_t = hdf5.whole(data, f"{path}/data")
    targets = (hdf5.item(group, f"indexed_{n}") for n in ("timeseries", "images"))
    target = next((t for t in targets if t is not None), None)
    if target is None or index_t.dtype.kind not in "iuf" or index_t.ndim != 1:
        raise UserError(
            f"'{path}' holds numbers but no frames, and names no stack of them. Choose "
            "another --stimulus."
        )
    if hdf5.item(target, "data") is not None:
        name = target.name.strip("/")
        stack = hdf5.checked(hdf5.get(target, "data"), name)
        frames = films.stack(_frames(stack, name), transpose=choices.transpose)
        one = lambda i: frames.read(i, i + 1)[0]  # noqa: E731
        count, shape, dtype = frames.count, frames.frame_shape, frames.dtype
    else:
        images = _images(target)
        count, shape, dtype = len(images), images[0].shape, images[0].dtype
        one = images.__getitem__
    index_t = index_t.astype(np.int64)
    if index_t.size and not 0 <= index_t.min() <= index_t.max() < count:
        raise UserError(
            f"'{path}' shows frames {index_t.min()} to {index_t.max()} of a stack of "
            f"{count}. Expected numbers from 0 to {count - 1}."
        )

    def read(first: int, stop: int) -> np.ndarray:
        wanted, place = np.unique(index_t[first:stop], return_inverse=True)
        return np.stack([one(int(i)) for i in wanted])[place]

    return Film(path, _clock(group, len(index_t), path), shape, dtype, read)


def _images(group: Any) -> list[np.ndarray]:
    """The pictures of an Images container, in their order, [h, w, c]."""
    order = hdf5.item(group, "order_of_images")
    if order is not None:
        pictures = [group.file[r] for r in order[()]]
    else:
        every = [hdf5.get(group, n) for n in group]
        pictures = [p for p in every if len(getattr(p, "shape", ())) > 1]
    stacked = [np.atleast_3d(hdf5.whole(p, p.name.strip("/"))) for p in pictures]
    if not stacked or len({p.shape for p in stacked}) != 1:
        raise UserError(f"'{group.name}' holds no pictures of one size.")
    return stacked


def _external(group: Any, path: str, source: str) -> Film:
    """A film in video files beside the NWB file."""
    names = [_text(n) for n in hdf5.get(group, "external_file")[()]]
    if "://" in source:
        raise UserError(
            f"'{path}' lies in {', '.join(names)[:100]} beside the file, which is not "
            "fetched. Download both and give the path."
        )
    folder = Path(source).parent
    several = []
    for name in names:
        name = inner_name(name.removeprefix("./"), f"'{path}'")
        several.append(films.movie(folder / name))
    count = sum(f.count for f in several)
    clock = _clock(group, count, path)
    ends = np.cumsum([f.count for f in several])
    return films.joined(
        [
            f.on(Clock(f.count, clock.start, clock.rate, clock.times(e - f.count, e)))
            for f, e in zip(several, ends, strict=True)
        ]
    )


def _signal(file: Any, choice: str) -> Series | Any:
    path, columns = with_columns(choice)
    group = hdf5.get(file, path)
    if hasattr(group, "keys") and "spike_times" in group:
        return _spikes(group, path)
    group = _series_group(file, path)
    data = hdf5.checked(hdf5.get(group, "data"), f"{path}/data")
    if (
        len(data.shape) not in (1, 2)
        or 0 in data.shape
        or data.dtype.kind not in "biuf"
    ):
        raise UserError(
            f"'{path}' has data of shape {data.shape} and type {data.dtype}. Expected "
            "numbers [time] or [time, signals]; see --list."
        )
    turned = _is_turned(group, data)
    clock = _clock(group, data.shape[-1] if turned else data.shape[0], path)
    scale = float(data.attrs.get("conversion", 1.0))
    offset = float(data.attrs.get("offset", 0.0))

    def read(first: int, stop: int) -> np.ndarray:
        samples = data[:, first:stop].T if turned else data[first:stop]
        samples = np.asarray(samples, np.float32)
        return samples * scale + offset if (scale, offset) != (1.0, 0.0) else samples

    width = 1 if len(data.shape) == 1 else data.shape[0 if turned else 1]
    unit = _text(data.attrs.get("unit", ""))
    return some_columns(Series(path, clock, int(width), read, unit), columns)


def _is_turned(group: Any, data: Any) -> bool:
    """Whether units come first, which the standard forbids but some files have."""
    if len(data.shape) != 2 or "timestamps" not in group:
        return False
    count = hdf5.get(group, "timestamps").shape[0]
    return data.shape[0] != count == data.shape[1]


def _spikes(group: Any, path: str) -> Spikes:
    times_e = hdf5.whole(hdf5.get(group, "spike_times"), f"{path}/spike_times")
    ends_n = hdf5.whole(
        hdf5.get(group, "spike_times_index"), f"{path}/spike_times_index"
    )
    return spikes(times_e, ends_n, path)


def _units(
    file: Any, responses: list[Signal]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Ids of the units, and their places in pixels or micrometres, where known."""
    ids, places = [], []
    for signal in responses:
        path, columns = with_columns(signal.name)
        group = hdf5.get(file, path)
        table, rows = _rois(file, group, columns, signal.columns)
        if table is None or "id" not in table:
            return None, None
        every = _column(table, "id")
        if rows.size and rows.max() >= len(every):
            raise UserError(f"'{path}' names row {rows.max()} of {len(every)} units.")
        ids.append(every[rows])
        spot = _places(table, len(every))
        places.append(None if spot is None else spot[rows])
    ids_n = np.concatenate(ids)
    if ids_n.dtype.kind not in "iu" or len(np.unique(ids_n)) != len(ids_n):
        ids_n = None  # planes count their units each from 0
    known = all(p is not None for p in places)
    return ids_n, np.concatenate(places) if known else None  # type: ignore[arg-type]


def _rois(file: Any, group: Any, columns: str, count: int) -> tuple[Any, np.ndarray]:
    """The table of a response's units, and its rows."""
    if "spike_times" in group:
        return group, np.arange(count)
    region = hdf5.item(group, "rois")
    reference = None if region is None else region.attrs.get("table")
    if not reference or columns:
        return None, np.empty(0, int)
    rows = hdf5.whole(region, f"{group.name}/rois").astype(np.int64)
    if len(rows) != count or (rows < 0).any():
        return None, np.empty(0, int)
    return file[reference], rows


def _column(table: Any, name: str) -> np.ndarray:
    return hdf5.whole(hdf5.get(table, name), f"{table.name}/{name}")


def _places(table: Any, count: int) -> np.ndarray | None:
    """Where each unit is [n, 3]: columns x, y, z, or its mask's middle in pixels."""
    places = np.zeros((count, 3), np.float32)
    if "x" in table and "y" in table:
        for i, name in enumerate("xyz"):
            if name in table:
                places[:, i] = _column(table, name)
        return places
    if "pixel_mask" in table and "pixel_mask_index" in table:
        pixels, ends = _column(table, "pixel_mask"), _column(table, "pixel_mask_index")
        for i, mask in enumerate(np.split(pixels, ends[:-1].astype(np.int64))):
            weight = np.maximum(mask["weight"].astype(np.float64), 1e-9)
            for axis, name in enumerate("xy"):
                if len(mask):
                    places[i, axis] = np.average(mask[name], weights=weight)
        return places
    if "image_mask" in table:
        masks = hdf5.checked(hdf5.get(table, "image_mask"), f"{table.name}/image_mask")
        step = max(1, MASKS // max(int(np.prod(masks.shape[1:])) * 8, 1))
        for begin in range(0, count, step):
            mask_nyx = np.abs(masks[begin : begin + step]).astype(np.float64)
            total = np.maximum(mask_nyx.sum((1, 2)), 1e-9)
            x, y = np.arange(mask_nyx.shape[2]), np.arange(mask_nyx.shape[1])
            places[begin : begin + step, 0] = mask_nyx.sum(1) @ x / total
            places[begin : begin + step, 1] = mask_nyx.sum(2) @ y / total
        return places
    return None


def _table(file: Any, known: list[Entry], choices: Choices) -> Table | None:
    if choices.trials == NONE:
        return None
    path = choices.trials or "intervals/trials"
    if choices.trials is None and path not in [e.path for e in known]:
        return None
    group = hdf5.get(file, path)
    for name in ("start_time", "stop_time"):
        if not hasattr(group, "keys") or name not in group:
            raise UserError(f"'{path}' has no {name}. Choose another with --trials.")
    starts, stops = (
        hdf5.whole(hdf5.get(group, n), f"{path}/{n}").astype(np.float64)
        for n in ("start_time", "stop_time")
    )
    if len(starts) != len(stops):
        raise UserError(f"'{path}' has {len(starts)} starts but {len(stops)} ends.")
    names = list(TIER_COLUMNS) if choices.tiers is None else [choices.tiers]
    column = next((n for n in names if n in group), None)
    if column is None and choices.tiers not in (None, NONE):
        raise UserError(
            f"'{path}' has no column '{choices.tiers}'; it has {', '.join(group)}."
        )
    tiers = None
    if column is not None and choices.tiers != NONE:
        tiers = hdf5.whole(hdf5.get(group, column), f"{path}/{column}").astype(str)
    return Table(path, starts, stops, tiers)
