"""Files that are written whole or not at all, and room on the disk for them."""

import glob
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from sensorium_jax.errors import UserError

PARTIAL = ".partial"  # folder of what is being written, beside what is whole


@contextmanager
def whole(
    path: str | Path, *, partial: str | Path | None = None, durable: bool = False
) -> Iterator[Path]:
    """A temporary path to write to, which takes its final name when the block ends.

    A kill or an error leaves the old file, or none. The temporary file lies beside the
    final one, or in the folder `partial`, which must be on the same disk. durable: wait
    for the disk, so that a power cut costs no more than a kill.
    """
    path = Path(path)
    folder = Path(partial) if partial else path.parent
    folder.mkdir(parents=True, exist_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Trials of several modalities share their names, hence the name of the folder too.
    temporary = folder / f".{path.parent.name}-{path.name}.{os.getpid()}"
    try:
        yield temporary
        put(temporary, path, durable=durable)
    finally:
        temporary.unlink(missing_ok=True)


def discard_left(path: str | Path) -> None:
    """Delete what killed writers of a file left beside it; for who alone writes it."""
    path = Path(path)
    name = glob.escape(f".{path.parent.name}-{path.name}.")
    for left in path.parent.glob(f"{name}[0-9]*"):
        left.unlink(missing_ok=True)


def put(temporary: str | Path, path: str | Path, *, durable: bool = False) -> None:
    """Give a whole file, or a folder, its final name."""
    if durable:
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
    os.replace(temporary, path)


def write(path: str | Path, content: bytes | str, **options: Any) -> None:
    """Write a small file; options go to whole."""
    data = content.encode() if isinstance(content, str) else content
    with whole(path, **options) as temporary:
        temporary.write_bytes(data)


def write_json(path: str | Path, value: Any, **options: Any) -> None:
    """Write a value as JSON; equal values give equal bytes."""
    write(path, json.dumps(value, indent=1, default=float) + "\n", **options)


def save_npy(path: str | Path, array: Any, partial: str | Path | None = None) -> None:
    """Write one .npy file."""
    with whole(path, partial=partial) as temporary, open(temporary, "wb") as file:
        np.save(file, np.asarray(array))


def need_place(path: str | Path, *, folder: bool) -> None:
    """Refuse a path that cannot become a file or a folder, before the work for it.

    Nothing is left there.
    """
    path = Path(path)
    nearest = next(p for p in (path, *path.absolute().parents) if p.exists())
    if nearest == path and not folder and path.is_dir():
        raise UserError(f"{path} is a folder, expected a file; give another path.")
    if not nearest.is_dir() and (folder or nearest != path):
        raise UserError(f"{nearest} is a file, expected a folder; give another path.")
    try:
        with tempfile.TemporaryFile(dir=nearest if nearest.is_dir() else path.parent):
            pass
    except OSError as error:
        raise UserError(
            f"Nothing can be written to {path} ({error.strerror}). Give another path, "
            "or see to its permissions and the disk."
        ) from None


def free_bytes(folder: str | Path) -> int:
    """Bytes free on the disk of a folder."""
    return shutil.disk_usage(folder).free


def need_space(folder: str | Path, need: int, what: str, remedy: str = "") -> None:
    """Refuse to begin what the disk of a folder cannot hold."""
    free = free_bytes(folder)
    if need > free:
        raise UserError(
            f"{folder} has {free / 1e9:.2f} GB free, {need / 1e9:.2f} GB are needed "
            f"{what}. {remedy or 'Free some space or choose another folder.'}"
        )
