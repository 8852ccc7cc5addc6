"""Results as zarr v3 groups: an array for each name, all words as attributes.

Whoever wants a few neurons of many opens the arrays themselves; they are cut by neuron.
"""

import json
import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore as ts  # pyright: ignore[reportMissingImports]

from sensorium_jax.errors import UserError
from sensorium_jax.io import atomic, plain_json, regular
from sensorium_jax.io.names import is_inside

HEADER = "zarr.json"
CHUNK = 1 << 22  # bytes of a chunk, about
SPARE, MOST = 256 << 20, 100  # bytes of an array, and times what its files have
AGAIN = "Delete it and run the experiment again."


def save(
    path: str | Path, arrays: Mapping[str, np.ndarray], words: Mapping[str, Any]
) -> Path:
    """Write a group, whole or not at all; names with / become groups in it."""
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _group(part, {**words, "arrays": sorted(arrays)})
        for folder in {name.rpartition("/")[0] for name in arrays} - {""}:
            _group(part / folder, {})
        for name, array in arrays.items():
            _write(part / name, np.asarray(array))
        if path.is_dir():
            shutil.rmtree(path)
        atomic.put(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return path


def load(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """All arrays of a group, and its words."""
    path = Path(path)
    words = dict(plain_json.load(path / HEADER, AGAIN)["attributes"])
    names = words.pop("arrays")
    if not all(map(is_inside, names)):
        raise UserError(f"{path} names arrays outside of it. {AGAIN}")
    return {name: _read(path / name) for name in names}, words


def _group(folder: Path, words: Mapping[str, Any]) -> None:
    header = {"zarr_format": 3, "node_type": "group", "attributes": dict(words)}
    atomic.write(folder / HEADER, json.dumps(header, indent=1))


def _write(folder: Path, array: np.ndarray) -> None:
    spec: dict[str, Any] = _spec(folder)
    if array.ndim:
        row = max(array[:1].nbytes, 1)
        rows = min(max(CHUNK // row, 1), max(len(array), 1))
        chunk = [rows, *(max(n, 1) for n in array.shape[1:])]
        grid = {"name": "regular", "configuration": {"chunk_shape": chunk}}
        spec["metadata"] = {"chunk_grid": grid}
    store = ts.open(
        spec, create=True, dtype=ts.dtype(array.dtype.name), shape=array.shape
    ).result()
    if array.size:
        store.write(array).result()


def _read(folder: Path) -> np.ndarray:
    files = [p for p in folder.rglob("*") if not p.is_dir()]
    stored = sum(map(regular.check, files))
    store = ts.open(_spec(folder), open=True).result()
    claimed = math.prod(store.shape) * store.dtype.numpy_dtype.itemsize
    # Chunks of zeros are in no file.
    if claimed > SPARE + MOST * stored:
        raise UserError(
            f"{folder} claims {claimed / 1e9:.1f} GB and has {stored / 1e6:.1f} MB. "
            f"{AGAIN}"
        )
    return np.asarray(store.read().result())


def _spec(folder: Path) -> dict[str, Any]:
    return {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": f"{folder.absolute()}/"},
    }
