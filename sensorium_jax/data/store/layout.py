"""How a store lies on disk: zarr v3 groups, sharded arrays, small atomic files.

STORE/zarr.json                 names of the mice
STORE/LICENSE.txt
STORE/<mouse>/zarr.json         rules, sizes: what does not change while trials are
                                written
STORE/<mouse>/videos/           uint8 or float32 [trial, t, h, w, c]; empty where an
                                earlier trial showed the same video (first_shown)
STORE/<mouse>/responses/        float32 or float16 [trial, t, n]
STORE/<mouse>/behavior/         float32 [trial, t, k]
STORE/<mouse>/pupil_center/     float32 [trial, t, 2]
STORE/<mouse>/groups/<g>.json   checksums and lengths of a group of trials
STORE/<mouse>/meta.npz          tiers, files, lengths, ids, coordinates, statistics;
                                first_shown where a video is shown again
STORE/<mouse>/complete.json     checksums of meta.npz and every zarr.json; comes last:
                                without it nobody opens the mouse
"""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sensorium_jax.data.session import (
    BEHAVIOR,
    PUPIL,
    RESPONSES,
    STATISTICS,
    VIDEO,
    Session,
)
from sensorium_jax.errors import UserError

VERSION = 1
HEADER, LICENSE_FILE = "zarr.json", "LICENSE.txt"
CHUNK = 20  # frames; a window of 16 reads two chunks at most, or three with stride 2
GROUP = 20  # trials per shard: the unit of writing, and what a kill can cost
PICTURES = 400  # trials per shard where a trial is one frame
LICENSE = """Terms of the recordings in this store

Recordings converted from the SENSORIUM releases stay under the license of their source,
Creative Commons Attribution-NonCommercial-NoDerivatives 4.0 (CC BY-NC-ND 4.0):
https://creativecommons.org/licenses/by-nc-nd/4.0/
A converted copy is for your own use. Do not publish or pass on this store without
asking the authors of the recordings; ask them too before you publish results, and cite
their papers.

Recordings that you simulated or measured yourself stay under your own terms.
"""


def is_store(path: str | Path) -> bool:
    """Whether a path is a store, begun or whole; a URL can be nothing else."""
    return "://" in str(path) or (Path(path).expanduser() / HEADER).exists()


def group_size(frames: int) -> int:
    """Trials per shard."""
    return GROUP if frames > 1 else PICTURES


def array_metadata(session: Session, what: str, frames: int, dtype: Any) -> dict:
    """The zarr metadata of one modality of `frames` frames at most.

    Small signals are one chunk a trial; the others CHUNK frames. Every shard ends in
    an index with a checksum. Grey levels hardly compress and stay as they are.
    """
    dtype = np.dtype(dtype)
    rest = session.shape(what, 1)[1:]
    small = what in (BEHAVIOR, PUPIL)
    chunk = frames if small else min(CHUNK, frames)
    shard = -(-frames // chunk) * chunk
    codecs: list[dict] = [{"name": "bytes"}]
    if dtype.itemsize > 1:
        codecs = [{"name": "bytes", "configuration": {"endian": "little"}}]
        # Responses are mostly zeros: unshuffled they pack tighter and unpack faster.
        blosc = {"cname": "lz4", "clevel": 5, "shuffle": "noshuffle"}
        # Without shuffling zarr.json keeps no typesize, and who opens the array again
        # assumes 1; another one here would give other bytes after a kill.
        blosc |= {"typesize": 1, "blocksize": 0}
        codecs.append({"name": "blosc", "configuration": blosc})
    index = [{"name": "bytes", "configuration": {"endian": "little"}}]
    sharding = {
        "chunk_shape": [1, chunk, *rest],
        "codecs": codecs,
        "index_codecs": [*index, {"name": "crc32c"}],
        "index_location": "end",
    }
    grid = {"chunk_shape": [group_size(frames), shard, *rest]}
    return {
        "shape": [session.trials, frames, *rest],
        "data_type": dtype.name,
        "fill_value": 0,
        "chunk_grid": {"name": "regular", "configuration": grid},
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "dimension_names": ["trial", "frame", *_names(what)],
    }


def _names(what: str) -> list[str]:
    names = {VIDEO: ["row", "column", "channel"], RESPONSES: ["neuron"]}
    return names.get(what, ["signal"])


def zarr_group(attributes: Mapping[str, Any]) -> bytes:
    """The zarr.json of a group."""
    return as_json(
        {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)}
    )


def as_json(value: Any) -> bytes:
    """The same bytes for the same value."""
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def pack(session: Session, **more: np.ndarray) -> bytes:
    """All small arrays of a session as the bytes of an .npz, the same every time."""
    arrays = {
        "tiers": session.tiers,
        "files": session.files,
        "unit_ids": session.unit_ids_n,
        **more,
    }
    if session.coordinates_n3 is not None:
        arrays["coordinates"] = session.coordinates_n3
    arrays |= {f"columns/{k}": v for k, v in session.columns.items()}
    arrays |= {f"unit_columns/{k}": v for k, v in session.unit_columns.items()}
    for what, stored in session.statistics.items():
        for kind in STATISTICS:
            value = getattr(stored, kind)
            if value is not None:
                arrays[f"statistics/{what}/{kind}"] = np.asarray(value)
    buffer = io.BytesIO()
    plain: dict[str, Any] = {k: _plain(v) for k, v in sorted(arrays.items())}
    np.savez_compressed(buffer, **plain)
    return buffer.getvalue()


def _plain(array: np.ndarray) -> np.ndarray:
    array = np.asarray(array)
    return array.astype(str) if array.dtype.kind == "O" else array


def check_inside(store: Path, place: Path) -> None:
    """Refuse a place that a link leads out of a store, before anything is written."""
    if not place.resolve().is_relative_to(store.resolve()):
        raise UserError(
            f"{place} is a link that leads out of {store}, to {place.resolve()}. "
            "Nothing was written there; remove the link or choose another folder."
        )
