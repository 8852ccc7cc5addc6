"""Opens a store of converted recordings, from disk or from a URL."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import tensorstore as ts  # pyright: ignore[reportMissingImports]

from sensorium_jax.data import config
from sensorium_jax.data.config import Told
from sensorium_jax.data.session import VIDEO, Session, Stats
from sensorium_jax.data.store.layout import HEADER, VERSION, unpack
from sensorium_jax.errors import UserError
from sensorium_jax.io.served import check_host
from sensorium_jax.rules import RELEASES

LOCAL_CACHE = 16 << 20  # bytes; shard indexes stay in memory
REMOTE_CACHE = 256 << 20
RETRIES = 5


@dataclass(frozen=True)
class Reading:
    """A read on its way; errors say which file they concern."""

    future: Any
    where: str

    def result(self) -> None:
        """Wait until the frames are there."""
        try:
            self.future.result()
        except ValueError as error:
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
    context: ts.Context
    arrays: dict[str, ts.TensorStore] = field(default_factory=dict)

    def length(self, trial: int) -> int:
        """Valid frames of a trial."""
        return int(self.lengths[trial])

    def responds(self, trial: int) -> bool:
        """Whether any response of the trial differs from zero."""
        return bool(self.labels[trial])

    def array(self, what: str) -> ts.TensorStore:
        """One modality, [trial, t, ...], opened when first asked for."""
        if what not in self.arrays:
            spec = {
                "driver": "zarr3",
                "kvstore": _below(self.place, what),
                "fill_missing_data_reads": False,
                "recheck_cached_data": False,
                "recheck_cached_metadata": False,
            }
            try:
                opened = ts.open(spec, open=True, context=self.context).result()
            except ValueError as error:
                raise UserError(
                    f"{self.where}/{what} cannot be opened: {error}."
                ) from None
            self.arrays[what] = opened
        return self.arrays[what]

    def read(self, what: str, trial: int, frames: slice, out: np.ndarray) -> Any:
        """Read frames of one trial straight into out, of any strides and dtype."""
        part = self.array(what)[trial, frames]
        part = part.translate_to[(0,) * part.rank]
        if part.dtype.numpy_dtype != out.dtype:
            part = ts.cast(part, out.dtype)
        where = f"{self.where}/{what}, trial {trial},"
        return Reading(ts.array(out).write(part), where)


def open_store(path: str | Path, rules: str | None = None) -> list[Session]:
    """Every mouse of a store, in the store's order; reads no trial.

    path: a folder, or a URL that tensorstore knows (http, https, gs, s3). rules: as in
    Recordings.open.
    """
    path = str(path)
    remote = "://" in path
    if path.startswith(("http://", "https://")):
        check_host(path)
    pool = {"total_bytes_limit": REMOTE_CACHE if remote else LOCAL_CACHE}
    retries = {"max_retries": RETRIES, "initial_delay": "0.2s", "max_delay": "5s"}
    context = ts.Context({"cache_pool": pool, "http_request_retries": retries})
    place = path.rstrip("/") + "/" if remote else _folder(path)
    root = json.loads(_get(place, HEADER, path, context))
    facts = root.get("attributes", {}).get("sensorium")
    if facts is None:
        raise UserError(
            f"{path} is a zarr group, but not a store of recordings. Make one with: "
            "sensorium convert DATA STORE."
        )
    if facts["version"] != VERSION:
        raise UserError(
            f"{path} is a store of version {facts['version']}, expected {VERSION}. "
            "Convert the recordings again with this version of sensorium-jax."
        )
    sessions, said = [], []
    for name in facts["sessions"]:
        below, where = _below(place, name), f"{path.rstrip('/')}/{name}"
        header = json.loads(_get(below, HEADER, where, context))["attributes"]
        said.append(_told(header, where, rules))
        sessions.append(_session(below, where, header, said[-1], context))
    config.note(path, said)
    return sessions


def _told(header: dict[str, Any], where: str, rules: str | None) -> Told:
    """What the header says of the recording."""
    old = header.get("year")  # of stores that were made before they carried rules
    kind = header["kind"] if old is None else RELEASES[str(old)].kind
    return config.told(header, kind, where, rules)


def _folder(path: str) -> dict[str, str]:
    return {"driver": "file", "path": str(Path(path).expanduser().absolute()) + "/"}


def _below(place: Any, name: str) -> Any:
    if isinstance(place, str):
        return f"{place}{quote(name)}/"
    return place | {"path": f"{place['path']}{name}/"}


def _get(place: Any, key: str, where: str, context: ts.Context) -> bytes:
    try:
        opened = ts.KvStore.open(place, context=context).result()
        read = opened.read(key).result()
    except ValueError as error:
        raise UserError(
            f"{where} is out of reach: {error}. Check the address and that its server "
            "is running."
        ) from None
    if read.state != "value":
        if key == "complete.json":
            raise UserError(
                f"{where} is not converted to its end. Run the same `sensorium "
                "convert` again: it continues where it stopped."
            )
        raise UserError(
            f"{where} has no {key}. Expected a store made by `sensorium convert`."
        )
    return read.value


def _session(
    place: Any, where: str, header: dict[str, Any], said: Told, context: ts.Context
) -> Session:
    complete = json.loads(_get(place, "complete.json", where, context))
    arrays = unpack(_get(place, "meta.npz", where, context))

    def under(prefix: str) -> dict[str, np.ndarray]:
        chosen = {k: v for k, v in arrays.items() if k.startswith(prefix)}
        return {k.removeprefix(prefix): v for k, v in chosen.items()}

    statistics: dict[str, dict[str, np.ndarray]] = {}
    for key, value in under("statistics/").items():
        what, kind = key.split("/")
        statistics.setdefault(what, {})[kind] = value
    lengths, labels = arrays["lengths"], np.array(complete["labelled"], bool)
    return Session(
        name=header["name"],
        rules=said.rules,
        where=where,
        tiers=arrays["tiers"],
        files=arrays["files"],
        unit_ids_n=arrays["unit_ids"],
        coordinates_n3=arrays.get("coordinates"),
        frame_shape=tuple(header["frame_shape"]),
        video_dtype=np.dtype(header["dtypes"][VIDEO]),
        behaviors=header["behaviors"],
        has_pupil=header["has_pupil"],
        statistics={what: Stats(**kinds) for what, kinds in statistics.items()},
        reader=StoreReader(place, where, lengths, labels, context),
        columns=under("columns/"),
        unit_columns=under("unit_columns/"),
        frames_per_second=said.frames_per_second,
        degrees_per_pixel=said.degrees_per_pixel,
    )
