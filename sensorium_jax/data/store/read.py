"""Opens a store of converted recordings, from disk or from a URL."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import tensorstore as ts  # pyright: ignore[reportMissingImports]

from sensorium_jax.data import config
from sensorium_jax.data.session import VIDEO, Session, Stats
from sensorium_jax.data.store import facts
from sensorium_jax.data.store.facts import Header
from sensorium_jax.data.store.layout import HEADER
from sensorium_jax.errors import UserError
from sensorium_jax.io import regular, small
from sensorium_jax.io.served import check_host

LOCAL_CACHE = 16 << 20  # bytes; shard indexes stay in memory
REMOTE_CACHE = 256 << 20
RETRIES = 5
LONGEST = 600.0  # seconds that one read from a URL may take
PROBES = 8  # questions to a server at a time
MOST_JSON, MOST_META = 16 << 20, 1 << 30  # bytes of a file
SCHEMES = ("http://", "https://", "gs://", "s3://")
HTTP = SCHEMES[:2]


@dataclass(frozen=True)
class Reading:
    """A read on its way; errors say which file they concern."""

    future: Any
    where: str

    def result(self) -> None:
        """Wait until the frames are there."""
        try:
            begun = self.future.result(LONGEST)
            if begun is not None:  # a read that waited for its shard to be asked for
                begun.result(LONGEST)
        except TimeoutError:
            raise UserError(
                f"{self.where} did not come within {LONGEST:.0f} seconds. Check the "
                "connection, or copy the store here."
            ) from None
        except ValueError as error:
            if isinstance(error, UserError):
                raise
            raise UserError(
                f"{self.where} cannot be read: {error}. The store is damaged or out "
                "of reach; `sensorium convert DATA STORE --verify` mends it."
            ) from None


@dataclass(frozen=True)
class StoreReader:
    """Reads one mouse of a store; every read runs in the background."""

    place: Any  # key-value store of the mouse
    where: str
    lengths: np.ndarray
    labels: np.ndarray
    shapes: dict[str, tuple[tuple[int, ...], str]]  # and types, as the mouse says
    context: ts.Context
    first: np.ndarray | None = None  # rows where videos lie; None: each at its own
    arrays: dict[str, ts.TensorStore] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)  # addresses of shards that are sound

    def length(self, trial: int) -> int:
        """Valid frames of a trial."""
        return int(self.lengths[trial])

    def responds(self, trial: int) -> bool:
        """Whether any response of the trial differs from zero."""
        return bool(self.labels[trial])

    def videos(self, rows: np.ndarray) -> np.ndarray:
        """Where the videos of trials lie among the stored ones."""
        return rows if self.first is None else self.first[rows]

    def metadata(self, what: str) -> dict[str, Any]:
        """What the zarr.json of one modality says, if it is of such an array."""
        where = f"{self.where}/{what}"
        content = _get(_below(self.place, what), HEADER, where, self.context)
        return facts.array(content, where, *self.shapes[what])

    def array(self, what: str) -> ts.TensorStore:
        """One modality, [trial, t, ...], opened when first asked for."""
        if what not in self.arrays:
            below, where = _below(self.place, what), f"{self.where}/{what}"
            spec = {
                "driver": "zarr3",
                "kvstore": below,
                # What was checked is what is opened: it is not read a second time.
                "metadata": self.metadata(what),
                "assume_metadata": True,
                "fill_missing_data_reads": False,
                "recheck_cached_data": False,
                "recheck_cached_metadata": False,
            }
            if not isinstance(below, str):
                _check_files(Path(below["path"]))
            try:
                opened = ts.open(spec, open=True, context=self.context).result()
            except ValueError as error:
                raise UserError(f"{where} cannot be opened: {error}.") from None
            self.arrays[what] = opened
        return self.arrays[what]

    def read(self, what: str, trial: int, frames: slice, out: np.ndarray) -> Any:
        """Read frames of one trial straight into out, of any strides and dtype."""
        array: Any = self.array(what)
        row = int(self.videos(np.array(trial))) if what == VIDEO else trial
        part = array[row, frames]
        part = part.translate_to[(0,) * part.rank]
        if part.dtype.numpy_dtype != out.dtype:
            part = ts.cast(part, out.dtype)
        where = f"{self.where}/{what}, trial {trial},"

        def begin() -> Any:
            return ts.array(out).write(part)

        if not isinstance(self.place, str) or not self.place.startswith(HTTP):
            return Reading(begin(), where)
        size = array.chunk_layout.write_chunk.shape[0]
        shard = "/".join(["c", str(row // size), *["0"] * (array.rank - 1)])
        address = f"{_below(self.place, what)}{shard}"
        if address in self.asked:
            return Reading(begin(), where)

        def after_probe() -> Any:
            small.check_ranges(address)
            self.asked.add(address)
            return begin()

        return Reading(_probes().submit(after_probe), where)


@cache
def _probes() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(PROBES, thread_name_prefix="store")


def _check_files(folder: Path) -> None:
    """Refuse pipes and devices among the files of an array: to read them may hang."""
    for place, _, files in os.walk(folder):
        for name in files:
            regular.check(Path(place) / name)


def open_store(path: str | Path, rules: str | None = None) -> list[Session]:
    """Every mouse of a store, in the store's order; reads no trial.

    path: a folder, or a URL (http, https, gs, s3). rules: as in Recordings.open.
    """
    path = str(path)
    remote = "://" in path
    if remote and not path.startswith(SCHEMES):
        raise UserError(
            f"'{path}' is no address of a store. Expected a folder, or an address that "
            f"begins with {', '.join(SCHEMES)}."
        )
    if path.startswith(HTTP):
        check_host(path)
    if remote:  # a server that sends nothing, or a byte now and then, is given up
        os.environ.setdefault("TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS", "60")
        os.environ.setdefault("TENSORSTORE_CURL_LOW_SPEED_LIMIT_BYTES", "100")
    pool = {"total_bytes_limit": REMOTE_CACHE if remote else LOCAL_CACHE}
    retries = {"max_retries": RETRIES, "initial_delay": "0.2s", "max_delay": "5s"}
    context = ts.Context({"cache_pool": pool, "http_request_retries": retries})
    place = path.rstrip("/") + "/" if remote else _folder(path)
    sessions, said = [], []
    for name in facts.sessions(_get(place, HEADER, path, context), path):
        below, where = _below(place, name), f"{path.rstrip('/')}/{name}"
        head = facts.header(_get(below, HEADER, where, context), where, name)
        told = config.told(head.said, head.kind, where, rules)
        said.append(told)
        sessions.append(_session(below, where, head, told, context))
    config.note(path, said)
    return sessions


def _folder(path: str) -> dict[str, str]:
    return {"driver": "file", "path": str(Path(path).expanduser().absolute()) + "/"}


def _below(place: Any, name: str) -> Any:
    if isinstance(place, str):
        return f"{place}{quote(name)}/"
    return place | {"path": f"{place['path']}{name}/"}


def _get(place: Any, key: str, where: str, context: ts.Context) -> bytes:
    """A small file of a store, of a limited size and within a limited time."""
    most = MOST_META if key.endswith(".npz") else MOST_JSON
    if not isinstance(place, str):
        file = Path(place["path"]) / key
        content = regular.content(file, most) if file.exists() else None
    elif place.startswith(HTTP):
        content = small.whole(place + key, most)
    else:
        content = _from_bucket(place, key, where, context)
    if content is not None:
        return content
    if key == "complete.json":
        raise UserError(
            f"{where} is not converted to its end. Run the same `sensorium "
            "convert` again: it continues where it stopped."
        )
    raise UserError(
        f"{where} has no {key}. Expected a store made by `sensorium convert`."
    )


def _from_bucket(place: str, key: str, where: str, context: ts.Context) -> bytes | None:
    """A small file of a bucket; the library takes in whatever comes, until LONGEST."""
    most = MOST_META if key.endswith(".npz") else MOST_JSON
    try:
        opened = ts.KvStore.open(place, context=context).result(LONGEST)
        read = opened.read(key).result(LONGEST)
    except (ValueError, TimeoutError) as error:
        words = str(error) or f"nothing came within {LONGEST:.0f} seconds"
        raise UserError(
            f"{where} is out of reach: {words}. Check the address and that its server "
            "is running."
        ) from None
    content = read.value if read.state == "value" else None
    if content is not None and len(content) > most:
        raise UserError(
            f"{where}/{key} sends {len(content)} bytes, expected {most} at most. It is "
            "not a file of its kind; check the address."
        )
    return content


def _session(
    place: Any, where: str, head: Header, told: config.Told, context: ts.Context
) -> Session:
    complete = facts.complete(_get(place, "complete.json", where, context), where)
    labels = np.array(complete["labelled"], bool)
    meta = _get(place, "meta.npz", where, context)
    arrays = facts.arrays(meta, where, head, len(labels))

    def under(prefix: str) -> dict[str, np.ndarray]:
        chosen = {k: v for k, v in arrays.items() if k.startswith(prefix)}
        return {k.removeprefix(prefix): v for k, v in chosen.items()}

    statistics: dict[str, dict[str, np.ndarray]] = {}
    for key, value in under("statistics/").items():
        what, kind = key.split("/")
        statistics.setdefault(what, {})[kind] = value
    sizes = facts.sizes(head, len(arrays["unit_ids"]))
    trials = (len(labels), head.frames)
    shapes = {w: ((*trials, *n), head.dtypes[w]) for w, n in sizes.items()}
    return Session(
        name=head.name,
        rules=told.rules,
        where=where,
        tiers=arrays["tiers"],
        files=arrays["files"],
        unit_ids_n=arrays["unit_ids"],
        coordinates_n3=arrays.get("coordinates"),
        frame_shape=head.frame_shape,
        video_dtype=np.dtype(head.dtypes[VIDEO]),
        behaviors=head.behaviors,
        has_pupil=head.has_pupil,
        statistics={what: Stats(**kinds) for what, kinds in statistics.items()},
        reader=StoreReader(
            place,
            where,
            arrays["lengths"],
            labels,
            shapes,
            context,
            arrays.get("first_shown"),
        ),
        columns=under("columns/"),
        unit_columns=under("unit_columns/"),
        frames_per_second=told.frames_per_second,
        degrees_per_pixel=told.degrees_per_pixel,
    )
