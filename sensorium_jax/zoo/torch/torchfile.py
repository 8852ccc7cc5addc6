"""Reads PyTorch's zip checkpoints without torch and without running pickle code.

A checkpoint is a zip archive: ``data.pkl`` describes tensors as views of storages, and
``data/<key>`` holds each storage's bytes. The description is interpreted by the machine
in ``pickled.py``, which can build containers and tensor layouts and nothing else.
"""

import math
import zipfile
from pathlib import Path

import numpy as np

from sensorium_jax.errors import UserError
from sensorium_jax.io import archive as zips, regular
from sensorium_jax.io.pickled import Layout, Refused, Storage, interpret

MOST_PICKLE = 8 << 20  # bytes of description; the published files need 10 KB
LONGEST_NAME = 500
RESAVE = (
    "Re-save it where it was made with torch.save(model.state_dict(), path) "
    "from torch 1.6 or newer."
)
WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "nn_state_dict",
)  # what trainers wrap it in

DTYPES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype("<u2"),  # widened to float32 when read
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("u1"),
}


def load(path: str | Path) -> dict[str, np.ndarray]:
    """Every tensor of a saved state dict, by name and in order; bfloat16 as float32."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"No file {path}. Expected a PyTorch checkpoint (.pth, .pt).")
    try:
        with zips.opened(path, str(path)) as archive:
            return _Archive(path, archive).state()
    except Refused as error:
        raise UserError(f"{path} was refused: {error} {RESAVE}") from None
    except (*zips.FAILURES, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise _not_zip(path, zips.words(error)) from None


def _not_zip(path: Path, why: str) -> UserError:
    with regular.opened(path) as file:
        head = file.read(64)
    if head.startswith(b"PK"):
        return UserError(
            f"{path} is truncated or damaged ({why}; {path.stat().st_size} bytes). "
            "Download it again and compare its checksum."
        )
    if head.startswith(b"version https://git-lfs"):
        return UserError(
            f"{path} is a git-lfs pointer, not the file. Run git lfs pull."
        )
    if head.lstrip()[:1] == b"<":
        return UserError(
            f"{path} is a web page, not a checkpoint. Download the raw file."
        )
    if head[:1] == b"\x80":
        return UserError(
            f"{path} is a bare pickle (PyTorch's format before 1.6), which is never "
            f"opened because reading it can run code. {RESAVE}"
        )
    return UserError(
        f"{path} is not a PyTorch checkpoint: expected a zip archive, found a file "
        f"beginning with {head[:8]!r}."
    )


class _Archive:
    """One open checkpoint; every read is checked against what the file really holds."""

    def __init__(self, path: Path, archive: zipfile.ZipFile):
        self.archive, self.size = archive, path.stat().st_size
        # A view can repeat its storage without bound; real state dicts never do.
        self.budget = 4 * self.size + (16 << 20)
        if wrong := zips.overlap(archive.infolist(), self.size):
            raise Refused(f"{wrong}.")
        roots = [n for n in archive.namelist() if n.split("/", 1)[-1] == "data.pkl"]
        if len(roots) != 1:
            raise Refused(f"expected one member '*/data.pkl', found {len(roots)}.")
        self.root = roots[0].removesuffix("data.pkl")
        self.storages: dict[str, tuple[str, np.ndarray]] = {}

    def member(self, name: str, most: int) -> bytes:
        try:
            info = self.archive.getinfo(self.root + name)
        except KeyError:
            raise Refused(f"its member '{name}' is missing.") from None
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise Refused(f"its member '{name}' is compressed or encrypted.")
        if info.file_size > min(most, self.size):
            raise Refused(f"its member '{name}' claims {info.file_size} bytes.")
        return self.archive.read(info)

    def state(self) -> dict[str, np.ndarray]:
        if self.root + "byteorder" in self.archive.namelist():
            order = self.member("byteorder", 16)
            if order != b"little":
                raise Refused(f"its byte order is {order!r}, expected b'little'.")
        described = _unwrap(interpret(self.member("data.pkl", MOST_PICKLE)))
        for name in described:
            if not name.isprintable() or len(name) > LONGEST_NAME:
                raise Refused(f"a tensor has the name {name!r:.80}.")
        return {name: self.array(name, layout) for name, layout in described.items()}

    def array(self, name: str, layout: Layout) -> np.ndarray:
        data = self.storage(layout.storage)
        shape, strides = layout.shape, layout.strides
        if len(shape) != len(strides):
            sizes = f"{len(shape)} sizes and {len(strides)} strides"
            raise Refused(f"'{name}' has {sizes}.")
        if min((*shape, *strides, layout.offset), default=0) < 0:
            raise Refused(f"'{name}' has a negative size, stride or offset.")
        last = sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
        if math.prod(shape) and layout.offset + last >= data.size:
            raise Refused(
                f"'{name}' reads entry {layout.offset + last} "
                f"of a storage of {data.size}."
            )
        self.budget -= math.prod(shape) * data.itemsize
        if self.budget < 0:
            raise Refused(
                f"'{name}' of shape {shape} is larger than the file can hold."
            )
        if not math.prod(shape):
            if max(shape) > 1 << 30:
                raise Refused(f"'{name}' claims the shape {shape}.")
            return np.zeros(shape, _final_dtype(layout.storage, data))
        step = tuple(s * data.itemsize for s in strides)
        view = np.lib.stride_tricks.as_strided(data[layout.offset :], shape, step)
        return _convert(layout.storage, view.copy())

    def storage(self, storage: Storage) -> np.ndarray:
        if storage.key in self.storages:
            kind, data = self.storages[storage.key]
            if kind != storage.kind:
                raise Refused(f"storage {storage.key} is of two types.")
            return data
        if storage.kind not in DTYPES:
            known = ", ".join(DTYPES)
            raise Refused(f"its storage type '{storage.kind}' is not one of {known}.")
        if not storage.key.isascii() or not storage.key.isalnum():
            raise Refused(f"its storage key {storage.key[:40]!r} is not alphanumeric.")
        raw = self.member(f"data/{storage.key}", self.size)
        dtype = DTYPES[storage.kind]
        if len(raw) != storage.size * dtype.itemsize:
            raise Refused(
                f"storage {storage.key} holds {len(raw)} bytes, its description says "
                f"{storage.size} entries of {dtype.itemsize}."
            )
        data = np.frombuffer(raw, dtype)
        self.storages[storage.key] = storage.kind, data
        return data


def _convert(storage: Storage, array: np.ndarray) -> np.ndarray:
    if storage.kind == "BoolStorage":
        return array != 0
    if storage.kind == "BFloat16Storage":
        return (array.astype("<u4") << 16).view("<f4")
    return array


def _final_dtype(storage: Storage, data: np.ndarray) -> np.dtype:
    return _convert(storage, np.zeros(1, data.dtype)).dtype


def _unwrap(found: object) -> dict[str, Layout]:
    """The state dict itself, also from inside a trainer's dictionary."""
    if isinstance(found, dict):
        for key in WRAPPERS:
            inner = found.get(key)
            if isinstance(inner, dict) and _is_state(inner):
                return inner
        if _is_state(found):
            return found
        kinds = sorted({type(v).__name__ for v in found.values()})
        raise Refused(f"expected names and tensors, found values of type {kinds}.")
    raise Refused(f"expected a dictionary of tensors, found a {type(found).__name__}.")


def _is_state(found: dict) -> bool:
    return bool(found) and all(
        isinstance(k, str) and isinstance(v, Layout) for k, v in found.items()
    )
