"""HDF5 files, read with care: only what lies in the file itself, and no more than that.

An HDF5 file may point at other files on the disk and may claim arrays of any size.
Neither is followed nor believed.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sensorium_jax.data.formats.foreign import MOST_MEMORY, check_claim
from sensorium_jax.errors import UserError, did_you_mean, need_extra
from sensorium_jax.io import regular, remote

MOST_LINKS = 16  # one after the other
FAILURES = (OSError, RuntimeError, ValueError, KeyError, TypeError)  # of the library
SAID = ("unable to", "can't", "cannot", "not a")  # how its errors begin


def library() -> Any:
    """The package h5py."""
    try:
        import h5py
    except ImportError:
        raise need_extra("h5py", "formats", "Reading HDF5 (NWB, MATLAB 7.3)") from None
    return h5py


@contextlib.contextmanager
def opened(source: str, *, block: int = remote.BLOCK) -> Iterator[Any]:
    """An HDF5 file by path, or by address, of which only what is needed is fetched."""
    if source.startswith(("http://", "https://")):
        name = remote.hidden(source)
        with remote.opened(source, block=block) as file, _file(file, name) as inside:
            yield inside
    else:
        regular.check(source)
        with _file(source, source) as inside:
            yield inside


@contextlib.contextmanager
def _file(source: Any, name: str) -> Iterator[Any]:
    h5py = library()
    try:
        file = h5py.File(source, "r")
    except FileNotFoundError:
        raise UserError(f"{name} does not exist. Check the path.") from None
    except FAILURES as error:
        if getattr(source, "failure", None):
            raise
        begins = _begins(source)
        hint = ""
        if begins.lstrip()[:1] in (b"<", b"{"):
            hint = f" It begins {begins[:40]!r}: a page or a message, not the file."
        words = (str(error).splitlines() or [""])[0][:120]
        raise UserError(
            f"{name} is no whole HDF5 file ({words}).{hint} Expected one, as NWB and "
            "MATLAB 7.3 files are; it may be cut short: fetch it again."
        ) from None
    with file:
        try:
            yield file
        except FAILURES as error:
            # Errors of the disk that is written to have a number, and pass.
            said = str(error).strip("'\"").lower().startswith(SAID)
            if (
                isinstance(error, UserError)
                or getattr(error, "errno", None)
                or not said
            ):
                raise
            words = (str(error).splitlines() or [""])[0][:160]
            raise UserError(
                f"{name} is damaged: {words}. Fetch or write the file again."
            ) from error


def _begins(source: Any) -> bytes:
    try:
        if isinstance(source, str | Path):
            with open(source, "rb") as file:
                return file.read(64)
        source.seek(0)
        return source.read(64)
    except (OSError, ValueError):
        return b""


def get(group: Any, path: str) -> Any:
    """The group or dataset at a path; only links inside the file are followed."""
    return _get(group, [p for p in path.split("/") if p], path, 0)


def _get(group: Any, names: list[str], path: str, depth: int) -> Any:
    h5py, here = library(), group
    for i, name in enumerate(names):
        if not isinstance(here, h5py.Group) or name not in here:
            known = list(here)[:50] if isinstance(here, h5py.Group) else []
            raise UserError(
                f"{here.file.filename} has no '{path}'. {did_you_mean(name, known)}"
                f"In '{here.name}' are: {', '.join(known[:12]) or 'nothing'}. "
                "See what there is with --list."
            )
        link = here.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise UserError(
                f"'{path}' in {here.file.filename} lies in another file "
                f"('{link.filename[:80]}'), which is not opened. Copy it here."
            )
        if isinstance(link, h5py.SoftLink):
            if depth == MOST_LINKS:
                raise UserError(f"'{path}' is a link that leads in circles.")
            start = here.file if link.path.startswith("/") else here
            target = [p for p in link.path.split("/") if p and p != "."]
            return _get(start, target + names[i + 1 :], path, depth + 1)
        here = here[name]
    return here


def item(group: Any, name: str) -> Any:
    """What a group holds under a name, or None."""
    there = hasattr(group, "keys") and group.get(name, getlink=True) is not None
    return get(group, name) if there else None


def checked(dataset: Any, name: str) -> Any:
    """A dataset of numbers or text whose content lies in the file."""
    if not hasattr(dataset, "shape") or dataset.shape is None:
        raise UserError(f"'{name}' holds no array. Choose another with --list.")
    if dataset.is_virtual or dataset.external:
        raise UserError(
            f"'{name}' keeps its numbers in other files, which are not opened. Write "
            "them into this file."
        )
    check_claim(
        dataset.size * dataset.dtype.itemsize, dataset.id.get_storage_size(), name
    )
    return dataset


def whole(dataset: Any, name: str) -> np.ndarray:
    """A small dataset, in memory; text as text."""
    dataset = checked(dataset, name)
    if dataset.size * dataset.dtype.itemsize > MOST_MEMORY:
        raise UserError(
            f"'{name}' has {dataset.size} values, too many to hold in memory. Choose "
            "another, or write it at a lower rate."
        )
    values = dataset[()]
    if library().check_string_dtype(dataset.dtype):
        return np.asarray(dataset.asstr()[()], str)
    return np.asarray(values)
