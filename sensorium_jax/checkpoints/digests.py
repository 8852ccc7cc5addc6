"""A checksum of every leaf, in the card: what a disk or a copy changed is noticed.

CRC-32 from zlib, as it is the fastest of the standard library (50 MB in 20 ms, BLAKE2b
takes 90, SHA-256 40 where the processor helps and 200 where not) and misses one change
in four billion. It guards against accidents, not against somebody who also writes the
card. A leaf that leads with mice has one checksum for each, so that every process of a
run sums up the mice that it holds.
"""

import inspect
import json
import os
import re
import sys
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from sensorium_jax.errors import UserError
from sensorium_jax.trees import is_row

DIGESTS = "digests"  # field of the card
NOTES: set[Path] = set()  # folders of which it was said that they have none


# What the storage library says where the system refused, and nothing is damaged; that a
# file is not there (2) is damage.
REFUSED = re.compile(r"OS error (?!2\b)\d+|RESOURCE_EXHAUSTED")
GONE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class DamagedError(UserError):
    """A checkpoint that does not hold what was written."""


class Digest(NamedTuple):
    """What is known of one leaf; a sum is None where another process holds the row."""

    dtype: str
    shape: tuple[int, ...]
    sums: tuple[int | None, ...]  # of every row, or of the whole


def of_leaves(leaves: Mapping[str, Any]) -> dict[str, Digest]:
    """The digest of every leaf, as far as this process holds it."""
    return {name: of_leaf(name, x) for name, x in leaves.items()}


def of_leaf(name: str, x: Any) -> Digest:
    """The digest of one array of numpy or jax."""
    by_row = is_row(name) and len(x.shape) > 0
    sums: list[int | None] = [None] * (x.shape[0] if by_row else 1)
    for first, part in _parts(x, by_row=by_row):
        for i, row in enumerate(part):
            if sums[first + i] is None:
                sums[first + i] = _sum(row)
    return Digest(np.dtype(x.dtype).name, tuple(x.shape), tuple(sums))


def _parts(x: Any, *, by_row: bool) -> Iterator[tuple[int, np.ndarray]]:
    """Pieces of whole rows that are here, and the number of their first row.

    A piece of a jax array is its copy on the host, which saving makes anyway and which
    jax keeps.
    """
    if not isinstance(x, jax.Array):
        yield 0, np.asarray(x) if by_row else np.asarray(x)[None]
        return
    for shard in x.addressable_shards:
        whole = shard.data.shape[int(by_row) :] == x.shape[int(by_row) :]
        if not whole:  # cut along another axis
            continue
        part = np.asarray(shard.data)
        yield (shard.index[0].start or 0, part) if by_row else (0, part[None])


def _sum(x: np.ndarray) -> int:
    content = np.ascontiguousarray(x).reshape(-1).view(np.uint8)
    return zlib.crc32(content.data)


def sealed(card: Mapping[str, Any], leaves: Mapping[str, Digest]) -> dict[str, Any]:
    """The card with the digests of the leaves and one of itself."""
    plain = {
        name: {
            "dtype": d.dtype,
            "shape": list(d.shape),
            "crc32": [None if s is None else f"{s:08x}" for s in d.sums],
        }
        for name, d in leaves.items()
    }
    bare = {k: v for k, v in card.items() if k != DIGESTS}
    return {**bare, DIGESTS: {"card": _card_sum(bare, plain), "leaves": plain}}


def _card_sum(card: Mapping[str, Any], leaves: Any) -> str:
    # Twice through JSON, so that names and numbers are those that a file gives back.
    words = json.dumps(json.loads(json.dumps([card, leaves])), sort_keys=True)
    return f"{zlib.crc32(words.encode()):08x}"


def changed(card: Mapping[str, Any]) -> bool:
    """Whether a card is not as it was written; False where that is not known."""
    seal = card.get(DIGESTS)
    if seal is None:
        return False
    bare = {k: v for k, v in card.items() if k != DIGESTS}
    try:
        return _card_sum(bare, seal.get("leaves")) != seal.get("card")
    except RecursionError:  # nobody wrote a card as deep as this one
        return True


def opened(card: Mapping[str, Any], where: str) -> dict[str, Digest] | None:
    """The digests in a card; None where it was written before there were any."""
    if DIGESTS not in card:
        return None
    try:
        return {
            name: Digest(
                str(plain["dtype"]),
                tuple(map(int, plain["shape"])),
                tuple(None if s is None else int(s, 16) for s in plain["crc32"]),
            )
            for name, plain in card[DIGESTS]["leaves"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedError(
            f"The checksums in the card of {where} cannot be read ({error!r}). Copy "
            "the folder again."
        ) from None


def say_unchecked(folder: Path) -> None:
    """Tell, once for each folder, that nothing vouches for its arrays."""
    if folder not in NOTES:
        NOTES.add(folder)
        print(
            f"note: {folder} was written before checkpoints had checksums; its arrays "
            "are taken as they are",
            file=sys.stderr,
        )


def other_leaves(
    expected: Mapping[str, Digest], shapes: Mapping[str, Sequence[int]]
) -> list[str]:
    """How the names and shapes on disk differ from those that were written."""
    wrong = [f"{name} is not there" for name in expected if name not in shapes]
    wrong += [f"{name} is not in the card" for name in shapes if name not in expected]
    return wrong + [
        f"{name} has shape {tuple(shape)}, expected {expected[name].shape}"
        for name, shape in shapes.items()
        if name in expected and tuple(shape) != expected[name].shape
    ]


def differences(
    expected: Mapping[str, Digest],
    leaves: Mapping[str, Any],
    mice: Sequence[str] = (),
) -> list[str]:
    """Leaves whose content is not what was written, with the mice that it is of."""
    found = []
    for name, x in leaves.items():
        there, was = of_leaf(name, x), expected[name]
        if there.dtype != was.dtype or len(there.sums) != len(was.sums):
            found.append(f"{name} is {there.dtype}, expected {was.dtype}")
            continue
        rows = [
            row
            for row, (a, b) in enumerate(zip(there.sums, was.sums, strict=True))
            if a is not None and b is not None and a != b
        ]
        if rows and is_row(name):
            named = [mice[row] if row < len(mice) else f"row {row}" for row in rows]
            found.append(f"{name} of {', '.join(named)}")
        elif rows:
            found.append(name)
    return found


def is_left_behind(args: Any) -> bool:
    """Whether what cannot be raised any more is only what orbax left undone.

    When one array fails, it ends without waiting for the others, and without its loop
    where that could not be begun.
    """
    closed = "Event loop is closed" in str(args.exc_value)
    loop = getattr(args.object, "__qualname__", "") == "BaseEventLoop.__del__"
    return closed or loop or inspect.iscoroutine(args.object)


def hush_left_behind() -> None:
    """Say nothing of coroutines that a failure has left without anybody to wait."""
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Say in words what goes wrong while a checkpoint is read inside.

    Files that are cut, changed or gone are damage; a file that the system does not let
    us read (permissions, too many open files, a bad disk) is not.
    """
    _only_files(folder)
    before = sys.unraisablehook

    def late(args: Any) -> None:
        if not is_left_behind(args):
            before(args)

    sys.unraisablehook = late
    try:
        yield
        sys.unraisablehook = before  # after a failure it stays, as the others come late
    except (UserError, MemoryError):
        raise
    except Exception as error:  # orbax raises Exception itself, and many kinds of it
        hush_left_behind()
        reason = error.__cause__ if type(error) is Exception else error
        words = " ".join(str(reason).split())[:300] or type(reason).__name__
        said = f"The weights in {folder} cannot be read ({words})"
        system = isinstance(error, OSError) and not isinstance(error, GONE)
        if system or REFUSED.search(str(reason)):
            raise UserError(f"{said}. See to the disk and its limits.") from error
        raise DamagedError(
            f"{said}. The folder may be incomplete: copy or download it again."
        ) from error


def _only_files(folder: Path) -> None:
    """Refuse what no save has written: reading a pipe or a device may never end."""
    for place, below, files in os.walk(folder):
        odd = [n for n in below if os.path.islink(os.path.join(place, n))]
        odd += [n for n in files if not os.path.isfile(os.path.join(place, n))]
        if odd:
            raise DamagedError(
                f"{os.path.join(place, odd[0])} is a link, a pipe or a device, and no "
                "file. Copy the checkpoint again."
            )


def damaged(folder: Path, wrong: Sequence[str]) -> DamagedError:
    """What to say of a checkpoint with such differences."""
    more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    return DamagedError(
        f"The checkpoint {folder} is damaged: {'; '.join(wrong[:3])}{more} differ from "
        "what was written. Copy the folder again, or take another step of the run."
    )
