"""What a store says of itself, believed only where it fits together.

A store comes from a folder or an address that anybody may have written: names become
parts of paths, sizes become memory.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax.data.session import (
    BEHAVIOR,
    MODALITIES,
    MOST_FRAMES,
    MOST_TRIAL,
    PUPIL,
    RESPONSES,
    STATISTICS,
    VIDEO,
)
from sensorium_jax.data.store import layout
from sensorium_jax.errors import UserError
from sensorium_jax.io import names, npy, plain_json
from sensorium_jax.rules import KINDS, RELEASES

AGAIN = "Convert the recordings again, or fetch the store from where it was made."
MOST_MICE = 10_000
# Of meta.npz unpacked: this, and so many times what it has packed.
META, META_RATIO = 384 << 20, 20
MOST_CHUNK = 256 << 20  # bytes that are unpacked at a time, unless a trial has more
TYPES = {VIDEO: ("uint8", "float32"), RESPONSES: ("float32", "float16")}
SHARD = re.compile(rf"({'|'.join(MODALITIES)})/c/[0-9]{{1,7}}(/0){{2,4}}")
CODECS = ("bytes", "blosc", "crc32c", "gzip", "zstd", "transpose", "sharding_indexed")


class Header(NamedTuple):
    """What the zarr.json of a mouse says."""

    name: str
    kind: str  # pictures or films
    frames: int  # of the longest trial
    frame_shape: tuple[int, int, int]
    behaviors: int
    has_pupil: bool
    dtypes: Mapping[str, str]
    said: Mapping[str, Any]  # all of it: rules, sizes


def _count(value: Any) -> bool:
    return type(value) is int and 0 < value < 1 << 40


def _shape(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(map(_count, value))


FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "kind": (lambda x: x in KINDS, " or ".join(KINDS)),
    "frame_shape": (_shape, "[rows, columns, colors]"),
    "frames": (lambda x: _count(x) and x <= MOST_FRAMES, "a number of frames"),
    "behaviors": (lambda x: x == 0 or _count(x), "0 or more"),
    "has_pupil": (lambda x: isinstance(x, bool), "true or false"),
    "dtypes": (lambda x: isinstance(x, dict), "a type for each array"),
}


def sessions(content: bytes, where: str) -> list[str]:
    """The mice that the zarr.json of a store names."""
    root = _object(content, f"{where}/{layout.HEADER}")
    attributes = root.get("attributes")
    facts = attributes.get("sensorium") if isinstance(attributes, dict) else None
    if facts is None:
        raise UserError(
            f"{where} is a zarr group, but not a store of recordings. Make one with: "
            "sensorium convert DATA STORE."
        )
    version = facts.get("version") if isinstance(facts, dict) else None
    if version != layout.VERSION:
        raise UserError(
            f"{where} is a store of version {version!r:.40}, expected "
            f"{layout.VERSION}. Convert the recordings again with this version of "
            "sensorium-jax."
        )
    listed = facts.get("sessions")
    if not isinstance(listed, list) or not 0 < len(listed) <= MOST_MICE:
        raise _wrong(where, f"its sessions are {listed!r:.60}", "a list of names")
    return names.check_names(listed, where)


def header(content: bytes, where: str, name: str) -> Header:
    """What the zarr.json of the mouse of a name says."""
    said = _object(content, f"{where}/{layout.HEADER}").get("attributes")
    if not isinstance(said, dict):
        raise _wrong(where, "its zarr.json says nothing of a mouse", "attributes")
    if said.get("name") != name:
        raise _wrong(where, f"it is named {said.get('name')!r:.80}", f"'{name}'")
    old = said.get("year")  # of stores that were made before they carried rules
    release = RELEASES.get(str(old)) if old is not None else None
    said = {**said, "kind": release.kind} if release else said
    for field, (fits, expected) in FIELDS.items():
        if not fits(said.get(field)):
            raise _wrong(where, f"{field} is {said.get(field)!r:.60}", expected)
    frames, behaviors, dtypes = said["frames"], said["behaviors"], said["dtypes"]
    height, width, channels = said["frame_shape"]
    optional = {BEHAVIOR: behaviors > 0, PUPIL: said["has_pupil"]}
    for what in (w for w in MODALITIES if optional.get(w, True)):
        known = TYPES.get(what, ("float32",))
        if dtypes.get(what) not in known:
            given = f"the type of {what} is {dtypes.get(what)!r:.40}"
            raise _wrong(where, given, " or ".join(known))
    pixels = height * width * channels * np.dtype(dtypes[VIDEO]).itemsize
    if frames * max(pixels, 4 * behaviors) > MOST_TRIAL:
        words = f"a trial has {frames} frames of {height} x {width} x {channels}"
        raise _wrong(where, words, "at most 4 GB")
    return Header(
        name,
        said["kind"],
        frames,
        (height, width, channels),
        behaviors,
        said["has_pupil"],
        dtypes,
        said,
    )


def complete(content: bytes, where: str) -> dict[str, Any]:
    """What complete.json says; labelled is a list of booleans."""
    said = _object(content, f"{where}/complete.json")
    labelled = said.get("labelled")
    if not isinstance(labelled, list) or not all(type(x) is bool for x in labelled):
        raise _wrong(f"{where}/complete.json", "labelled is no list of booleans", "one")
    return said


def mark(content: bytes, where: str) -> dict[str, Any]:
    """What the file of a group says: shards of this mouse, lengths, labels."""
    said = _object(content, where)
    files, lengths = said.get("files"), said.get("lengths")
    if not isinstance(files, dict) or not all(map(_is_sum, files.values())):
        raise _wrong(where, "is no list of checksums", "names, sizes and checksums")
    for name in files:
        if not SHARD.fullmatch(name):
            raise _wrong(where, f"it names the file {name!r:.80}", "shards of arrays")
    if not isinstance(lengths, list) or not all(
        type(n) is int and 0 <= n <= MOST_FRAMES for n in lengths
    ):
        raise _wrong(where, f"lengths are {lengths!r:.60}", "whole numbers")
    labelled = said.get("labelled")
    if not isinstance(labelled, list) or len(labelled) != len(lengths):
        raise _wrong(where, f"labelled is {labelled!r:.60}", "one for each length")
    return said


def _is_sum(value: Any) -> bool:
    """Whether a value is a file's size and checksum."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and type(value[0]) is int
        and isinstance(value[1], str)
    )


def sums(said: Mapping[str, Any], where: str) -> dict[str, list[Any]]:
    """Checksums that complete.json has: of meta.npz, and of every zarr.json if any."""
    headers = said.get("headers", {})
    if not isinstance(headers, dict):
        raise _wrong(f"{where}/complete.json", "headers are no list", "size and sum")
    every = {"meta.npz": said.get("meta"), **headers}
    known = {"meta.npz", layout.HEADER, *(f"{w}/{layout.HEADER}" for w in MODALITIES)}
    if not set(every) <= known or not all(map(_is_sum, every.values())):
        raise _wrong(f"{where}/complete.json", "it has odd checksums", "size and sum")
    return every


def arrays(content: bytes, where: str, head: Header, trials: int) -> dict[str, Any]:
    """The small arrays of a mouse by name, of fitting shapes and types."""
    where = f"{where}/meta.npz"
    most = META + META_RATIO * len(content)
    given = npy.members(content, where, most)
    tiers, lengths = given.get("tiers"), given.get("lengths")
    for name, value in given.items():
        if value.dtype.kind == "U" and not npy.is_text(value):
            raise _wrong(where, f"{name!r:.60} holds numbers for letters", "text")
    for name, kinds in (("tiers", "U"), ("files", "iu"), ("lengths", "iu")):
        _check(where, name, given.get(name), kinds, (trials,))
    assert tiers is not None and lengths is not None
    if lengths.size and not 0 <= lengths.min() <= lengths.max() <= head.frames:
        raise _wrong(where, "lengths are not of its trials", f"0 to {head.frames}")
    ids = given.get("unit_ids")
    neurons = len(ids) if ids is not None and ids.ndim == 1 else 0
    _check(where, "unit_ids", ids, "iu", (max(neurons, 1),))
    _check_shown(where, given, lengths)
    if neurons * head.frames * 4 > MOST_TRIAL:
        raise _wrong(where, f"{neurons} neurons", "at most 4 GB in a trial")
    if "coordinates" in given:
        _check(where, "coordinates", given["coordinates"], "f", (neurons, 3))
    for key, value in given.items():
        _column(where, key, value, trials, neurons)
    _check_statistics(where, given, head)
    return given


def _check_shown(
    where: str, given: Mapping[str, np.ndarray], lengths: np.ndarray
) -> None:
    """Refuse trials that show the video of a later one, or one of another length."""
    first = given.get("first_shown")
    if first is None:
        return
    _check(where, "first_shown", first, "iu", lengths.shape)
    rows = np.arange(len(first))
    fits = (first >= 0) & (first <= rows)
    # An index that is out of range is replaced, so that the rest can be looked at.
    first = np.where(fits, first, rows)
    fits &= (first[first] == first) & (lengths[first] == lengths)
    if not fits.all():
        trial = int(np.argmin(fits))
        found = f"first_shown of trial {trial} is {given['first_shown'][trial]}"
        raise _wrong(where, found, "an earlier trial of the same length, or itself")


def _column(where: str, key: str, value: np.ndarray, trials: int, neurons: int) -> None:
    """Refuse arrays that nobody knows, and columns of another length."""
    group, _, name = key.partition("/")
    rows = {"columns": trials, "unit_columns": neurons}.get(group)
    if rows is None:
        known = ("tiers", "files", "lengths", "unit_ids", "coordinates", "first_shown")
        if group != "statistics" and key not in known:
            raise _wrong(where, f"it holds {key!r:.60}", "only what convert writes")
    elif not names.is_inside(name) or "/" in name:
        raise _wrong(where, f"a column is named {name!r:.60}", "a name without folders")
    elif group == "columns" and (not value.ndim or len(value) != rows):
        raise _wrong(where, f"{key} has shape {value.shape}", f"{rows} rows")


def sizes(head: Header, neurons: int) -> dict[str, tuple[int, ...]]:
    """The axes of every modality there is, after those of trials and frames."""
    every = {
        VIDEO: head.frame_shape,
        RESPONSES: (neurons,),
        BEHAVIOR: (head.behaviors,),
        PUPIL: (2,),
    }
    has = {BEHAVIOR: head.behaviors > 0, PUPIL: head.has_pupil}
    return {what: size for what, size in every.items() if has.get(what, True)}


def _check_statistics(
    where: str, given: Mapping[str, np.ndarray], head: Header
) -> None:
    rows = sizes(head, len(given["unit_ids"]))
    for what in rows:
        for kind in STATISTICS[:2]:
            if f"statistics/{what}/{kind}" not in given:
                raise _wrong(where, f"no {kind} of {what}", "statistics of every array")
    for key, value in given.items():
        if not key.startswith("statistics/"):
            continue
        what, _, kind = key.removeprefix("statistics/").partition("/")
        if what not in rows or kind not in STATISTICS:
            raise _wrong(where, f"it holds {key!r:.60}", "only what convert writes")
        full = (value.shape[0] if value.ndim else 1, *rows[what])
        fits = value.ndim <= len(full) and all(
            n in (1, m) for n, m in zip(value.shape[::-1], full[::-1], strict=False)
        )
        if value.dtype.kind not in "fiu" or not fits:
            found = f"{key} has shape {value.shape} and type {value.dtype}"
            raise _wrong(where, found, f"numbers that fit {rows[what]}")


def _check(
    where: str, name: str, value: Any, kinds: str, shape: tuple[int, ...]
) -> None:
    if value is None:
        raise _wrong(where, f"it has no {name}", "all that convert writes")
    if value.dtype.kind not in kinds or value.shape != shape:
        found = f"{name} has shape {value.shape} and type {value.dtype}"
        raise _wrong(where, found, f"the shape {shape}")


def array(content: bytes, where: str, shape: tuple[int, ...], dtype: str) -> Any:
    """The metadata of one array, of this shape and type and of known codecs."""
    said = _object(content, f"{where}/{layout.HEADER}")
    if said.get("node_type") != "array" or said.get("zarr_format") != 3:
        raise _wrong(where, "its zarr.json is of no array", "zarr version 3")
    given = said.get("shape")
    if given != list(shape) or said.get("data_type") != dtype:
        kind = said.get("data_type")
        found = f"it has shape {given!r:.60} and type {kind!r:.30}"
        raise _wrong(where, found, f"{list(shape)} and {dtype}, as the mouse says")
    if said.get("storage_transformers"):
        raise _wrong(where, "it has storage_transformers", "none")
    rank = len(shape)
    grid = _chunk(said.get("chunk_grid"), where, rank)
    one = math.prod(shape[1:]) * np.dtype(dtype).itemsize
    for codec in _codecs(said.get("codecs"), where):
        if codec["name"] == "sharding_indexed":
            grid = _chunk(codec, where, rank)
            inner = codec["configuration"]
            _codecs(inner.get("codecs"), where)
            _codecs(inner.get("index_codecs"), where)
    if math.prod(grid) * np.dtype(dtype).itemsize > max(MOST_CHUNK, 2 * one):
        raise _wrong(where, f"chunks of {grid}", "a trial at most")
    return said


def _chunk(part: Any, where: str, rank: int) -> list[int]:
    options = part.get("configuration") if isinstance(part, dict) else None
    shape = options.get("chunk_shape") if isinstance(options, dict) else None
    if not isinstance(shape, list) or len(shape) != rank or not all(map(_count, shape)):
        raise _wrong(where, f"its chunks are {shape!r:.60}", f"{rank} whole numbers")
    return shape


def _codecs(given: Any, where: str) -> list[dict[str, Any]]:
    known = (
        isinstance(given, list)
        and 0 < len(given) <= 8
        and all(isinstance(c, dict) and c.get("name") in CODECS for c in given)
    )
    if not known:
        raise _wrong(where, f"its codecs are {given!r:.120}", ", ".join(CODECS))
    return given


def _object(content: bytes, where: str) -> dict[str, Any]:
    value = plain_json.loads(content, where, AGAIN)
    if not isinstance(value, dict):
        raise _wrong(where, f"it holds {value!r:.60}", "a JSON object")
    return value


def _wrong(where: str, found: str, expected: str) -> UserError:
    return UserError(
        f"{where} is not what a conversion writes: {found}, expected {expected}. "
        f"{AGAIN}"
    )
