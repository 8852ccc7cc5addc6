"""Writes a store, one mouse at a time and in bounded memory; a kill loses one group."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorstore as ts  # pyright: ignore[reportMissingImports]

from sensorium_jax.axes import Trial
from sensorium_jax.data import config
from sensorium_jax.data.session import (
    BEHAVIOR,
    MODALITIES,
    PUPIL,
    RESPONSES,
    VIDEO,
    Session,
)
from sensorium_jax.data.store import facts, layout
from sensorium_jax.errors import UserError
from sensorium_jax.io import atomic, plain_json, regular
from sensorium_jax.io.names import check_names


def begin_store(store: str | Path, names: Sequence[str]) -> None:
    """Write what lies at the top of a store; a store of other mice is refused."""
    store = Path(store)
    check_names(names, "The recordings")
    attributes = {"sensorium": {"version": layout.VERSION, "sessions": list(names)}}
    content, path = layout.zarr_group(attributes), store / layout.HEADER
    if path.exists() and path.read_bytes() != content:
        raise UserError(
            f"{store} holds another store. Expected none, or one of exactly "
            f"{', '.join(names)}. Choose another folder, or remove this one."
        )
    options: dict[str, Any] = {"partial": store / atomic.PARTIAL, "durable": True}
    atomic.write(store / layout.LICENSE_FILE, layout.LICENSE, **options)
    atomic.write(path, content, **options)


class Group(NamedTuple):
    """Trials that are written together; arrays are zero beyond a trial's length."""

    arrays: dict[str, np.ndarray]  # [trial, t, ...] of every modality there is
    lengths: np.ndarray


class StoreWriter:
    """Writes one mouse of a store, trial after trial.

    After a kill, open it again with the same arguments and go on with trial `next`: the
    finished store has the same bytes. Begin the store with begin_store.
    """

    def __init__(
        self,
        store: str | Path,
        session: Session,
        *,
        frames: int,
        video_dtype: Any = np.uint8,
        response_dtype: Any = np.float32,
        durable: bool = True,
        first_shown: np.ndarray | None = None,
    ):
        """session says what is known before the first trial; its reader is not used.

        frames: of the longest trial. Statistics may come at the end (see finish).
        first_shown: for each trial the row of the first of the same video, the only one
        whose video is written.
        durable: wait for the disk, so that a power cut costs no more than a kill.
        """
        self.durable = durable
        self.store, self.session, self.frames = Path(store), session, frames
        check_names([session.name], session.where)
        self.folder = self.store / session.name
        layout.check_inside(self.store, self.folder / "groups")
        self.partial = self.store / atomic.PARTIAL
        self.size = layout.group_size(frames)
        self.groups = -(-session.trials // self.size)
        whats = [what for what in MODALITIES if session.has(what)]
        self.dtypes = {what: np.dtype(np.float32) for what in whats}
        self.dtypes |= {
            VIDEO: np.dtype(video_dtype),
            RESPONSES: np.dtype(response_dtype),
        }
        self.rows_r = np.arange(session.trials)
        self.first_r = self.rows_r if first_shown is None else first_shown
        self._write_header()
        self._arrays = {what: self._open(what) for what in whats}
        self.done = 0
        self._skip_done()
        self._waiting, self._count = self.empty(self.done), 0

    @property
    def next(self) -> int:
        """Row of the trial to be added next."""
        return min(self.done * self.size + self._count, self.session.trials)

    @property
    def _shared(self) -> dict[str, np.ndarray]:
        """Where videos lie, if any is shown again."""
        if np.array_equal(self.first_r, self.rows_r):
            return {}
        return {"first_shown": self.first_r}

    def _write_header(self) -> None:
        path = self.folder / layout.HEADER
        there = path.read_bytes() if path.exists() else None
        # A store that was begun before videos were shared goes on without it.
        for first_r in (self.first_r, self.rows_r):
            self.first_r = first_r
            header, old = self._header()
            if there in (None, header, old):
                self._save(path, header)
                return
        raise UserError(
            f"{self.folder} was begun from other recordings or with other options "
            "(rules are one). Finish it as it was begun, choose another folder, or "
            "remove it."
        )

    def _header(self) -> tuple[bytes, bytes]:
        """The zarr.json of the mouse, and as it was before stores carried rules."""
        s = self.session
        identity = layout.pack(s, **self._shared)
        sizes = {
            "name": s.name,
            "frames": self.frames,
            "frame_shape": list(s.frame_shape),
            "behaviors": s.behaviors,
            "has_pupil": s.has_pupil,
            "dtypes": {what: dtype.name for what, dtype in self.dtypes.items()},
            "identity": blake2b(identity, digest_size=16).hexdigest(),
        }
        said = {
            "kind": s.rules.kind,
            config.RULES: s.rules.as_json(),
            config.FRAMES_PER_SECOND: s.frames_per_second,
            config.DEGREES_PER_PIXEL: s.degrees_per_pixel,
        }
        old = sizes | {"year": int(s.rules.layout)}
        return layout.zarr_group(sizes | said), layout.zarr_group(old)

    def _open(self, what: str) -> ts.TensorStore:
        metadata = layout.array_metadata(
            self.session, what, self.frames, self.dtypes[what]
        )
        spec = {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": f"{self.folder.absolute()}/{what}/"},
            "metadata": metadata,
            # Zeros are stored too, so that a shard that is gone is an error.
            "store_data_equal_to_fill_value": True,
            "fill_missing_data_reads": False,
        }
        layout.check_inside(self.store, self.folder / what)
        context = ts.Context({"file_io_sync": self.durable})
        return ts.open(spec, open=True, create=True, context=context).result()

    def _save(self, path: Path, content: bytes) -> None:
        atomic.write(path, content, partial=self.partial, durable=self.durable)

    def _skip_done(self) -> None:
        while self.done < self.groups and self._mark(self.done).exists():
            self.done += 1

    def _headers(self) -> Iterator[tuple[str, bytes]]:
        """Every zarr.json of the mouse, by its name."""
        for name in (layout.HEADER, *(f"{w}/{layout.HEADER}" for w in self._arrays)):
            yield name, (self.folder / name).read_bytes()

    def _mark(self, group: int) -> Path:
        return self.folder / "groups" / f"{group:05d}.json"

    def _marked(self, group: int) -> dict[str, Any]:
        path = self._mark(group)
        return facts.mark(regular.content(path, plain_json.MOST), str(path))

    def rows(self, group: int) -> range:
        """Rows of the trials of a group."""
        return range(self.session.trials)[group * self.size : (group + 1) * self.size]

    def empty(self, group: int) -> Group:
        """Zeros to be filled with the trials of a group."""
        rows = len(self.rows(group))
        arrays = {
            what: np.zeros(
                (rows, *self.session.shape(what, self.frames)),
                np.float32 if what == RESPONSES else dtype,
            )
            for what, dtype in self.dtypes.items()
        }
        return Group(arrays, np.zeros(rows, np.int64))

    def add(self, trial: Trial) -> None:
        """Take the next trial, raw and time first; every full group goes to disk."""
        fields: dict[str, Any] = {
            VIDEO: trial.video_thwc,
            BEHAVIOR: trial.behavior_tk,
            PUPIL: trial.pupil_t2,
            RESPONSES: trial.responses_tn,
        }
        length = len(trial.video_thwc)
        for what, place in self._waiting.arrays.items():
            x = np.asarray(fields[what])
            if x.shape != self.session.shape(what, length) or length > self.frames:
                raise UserError(
                    f"Trial {self.next}: {what} has shape {x.shape}, expected "
                    f"{self.session.shape(what, length)} and at most {self.frames} "
                    "frames, time first."
                )
            place[self._count, :length] = x
        self._waiting.lengths[self._count] = length
        self._count += 1
        if self._count == len(self._waiting.lengths):
            self.write(self._waiting)
            self._waiting, self._count = self.empty(self.done), 0

    def write(self, group: Group) -> None:
        """Write the next whole group: shards first, then the mark that they are good.

        Every modality is one shard and one write; of videos that were shown before
        nothing is written.
        """
        rows = self.rows(self.done)
        mark: dict[str, Any] = {"files": {}, "lengths": group.lengths.tolist()}
        responses = group.arrays[RESPONSES]
        mark["labelled"] = [bool(x.any()) for x in responses]
        stored = dict(group.arrays)
        if self.dtypes[RESPONSES] != responses.dtype:
            with np.errstate(over="ignore"):  # refused below, in words
                stored[RESPONSES] = responses.astype(self.dtypes[RESPONSES])
            mark["rounding"] = _rounding(responses, stored[RESPONSES], self.folder)
        for what, x in stored.items():
            shard = "/".join(["c", str(self.done), *["0"] * (x.ndim - 1)])
            # What a kill left there is not to be merged with.
            (self.folder / what / shard).unlink(missing_ok=True)
            part = self._arrays[what][rows.start : rows.stop]
            if what == VIDEO and self._shared:
                new = np.flatnonzero(self.first_r[rows] == self.rows_r[rows])
                if not new.size:
                    continue
                part, x = part.translate_to[(0,) * part.rank][new], x[new]
            part.write(x, can_reference_source_data_indefinitely=True).result()
            content = (self.folder / what / shard).read_bytes()
            mark["files"][f"{what}/{shard}"] = checksum(content)
        self._save(self._mark(self.done), layout.as_json(mark))
        self._skip_done()

    def finish(self, session: Session | None = None) -> dict[str, Any]:
        """Write the small arrays and declare the mouse whole; returns what was said.

        session: the same one with the statistics that were not known at the start.
        """
        if self.next < self.session.trials:
            raise UserError(
                f"{self.folder} has {self.next} trials, expected {self.session.trials}."
            )
        marks = [self._marked(g) for g in range(self.groups)]
        lengths = np.concatenate([np.array(m["lengths"], np.int64) for m in marks])
        of = session or self.session
        meta = layout.pack(of, lengths=lengths, **self._shared)
        self._save(self.folder / "meta.npz", meta)
        for stale in self.folder.rglob("*.__lock"):
            stale.unlink()
        said: dict[str, Any] = {
            "labelled": [bool(x) for m in marks for x in m["labelled"]],
            "meta": checksum(meta),
            "headers": {name: checksum(x) for name, x in self._headers()},
            "bytes": sum(size for m in marks for size, _ in m["files"].values()),
        }
        if "rounding" in marks[0]:
            worst, error, power = zip(*(m["rounding"] for m in marks), strict=True)
            said["response_rounding"] = {
                "largest_error": max(worst),
                "relative_rms": float(np.sqrt(sum(error) / max(sum(power), 1e-300))),
            }
        self._save(self.folder / "complete.json", layout.as_json(said))
        return said


def checksum(content: bytes) -> list[Any]:
    """Size and checksum of a file, as the small files of a store have them."""
    return [len(content), blake2b(content, digest_size=16).hexdigest()]


def _rounding(exact: np.ndarray, stored: np.ndarray, where: Path) -> list[float]:
    """Largest error, sum of squared errors and of squares of a group."""
    if not np.isfinite(stored).all():
        raise UserError(
            f"{where}: responses reach {np.abs(exact).max():.3g}, more than "
            f"{stored.dtype} holds. Convert with responses as float32."
        )
    error = (exact - stored.astype(np.float32)).astype(np.float64)
    power = float(np.sum(np.square(exact, dtype=np.float64)))
    return [float(np.abs(error).max()), float(np.sum(error * error)), power]
