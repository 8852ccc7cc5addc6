"""Weights and card from disk, without the code that trained them."""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from sensorium_jax import trees
from sensorium_jax.checkpoints import digests, layout
from sensorium_jax.checkpoints.card import read_card

KEPT = ("params/", "batch_stats/", "info/")
# What arrays may take in memory: so many times their files, which are compressed, and
# so many bytes more, as of arrays of zeros little is left.
MOST, SPARE = 100, 64 << 20
BLOCK = 512  # bytes, as st_blocks counts them


def card_of(folder: Path) -> dict[str, Any]:
    """The card of one checkpoint, without the checksums of its arrays."""
    path = layout.card_path(folder)
    card = read_card(path)
    if digests.changed(card):
        print(f"note: {path} was changed after it was written", file=sys.stderr)
    return {k: v for k, v in card.items() if k != digests.DIGESTS}


def weights(folder: Path) -> dict[str, np.ndarray]:
    """Leaves by name of params, batch_stats and info; averaged where the run averages.

    Optimizer moments, twice the size of the weights, are never read. Every leaf is held
    against its checksum.
    """
    card = read_card(layout.card_path(folder))
    expected = digests.opened(card, str(folder))
    reader, path = ocp.PyTreeCheckpointHandler(), epath.Path(folder / layout.STATE)
    with digests.reading(folder), closing(reader):
        shapes = trees.named_leaves(reader.metadata(path).tree)
        if expected is not None:
            known = {n: x.shape for n, x in shapes.items()}
            _refuse(folder, digests.other_leaves(expected, known))
        averaged = any(n.startswith("ema/") for n in shapes)
        wanted = {n: s for n, s in shapes.items() if _kept(n, averaged=averaged)}
        check_size(folder, wanted)
        leaves = _restore(reader, path, wanted)
    if expected is None:
        digests.say_unchecked(folder)
    else:
        mice = [mouse["name"] for mouse in card.get("mice", ())]
        _refuse(folder, digests.differences(expected, leaves, mice))
    return {n.removeprefix("ema/"): v for n, v in leaves.items()}


def check_size(folder: Path, shapes: Mapping[str, Any]) -> None:
    """Refuse arrays that could not come out of the bytes that are there.

    Parts of an array that no file holds are zeros, so that a small folder may claim
    arrays of any size.
    """
    infos = [p.stat() for p in (folder / layout.STATE).rglob("*")]
    # Holes in files take no room, whatever their size is.
    stored = sum(min(i.st_size, BLOCK * i.st_blocks) for i in infos)
    claimed = sum(
        math.prod(x.shape) * np.dtype(x.dtype).itemsize for x in shapes.values()
    )
    if claimed > SPARE + MOST * stored:
        raise digests.DamagedError(
            f"The checkpoint {folder} claims arrays of {claimed / 1e9:.1f} GB and has "
            f"files of {stored / 1e6:.1f} MB. Copy or download it again."
        )


def _refuse(folder: Path, wrong: Sequence[str]) -> None:
    if wrong:
        raise digests.damaged(folder, wrong)


def _kept(name: str, *, averaged: bool) -> bool:
    if averaged and not name.startswith("info/"):
        return name.removeprefix("ema/").startswith(KEPT) and name.startswith("ema/")
    return name.startswith(KEPT)


def _restore(
    reader: Any, path: Any, wanted: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    item = trees.unflatten(wanted)
    as_numpy: Callable[..., Any] = lambda _: ocp.RestoreArgs(restore_type=np.ndarray)  # noqa: E731
    restored = reader.restore(
        path,
        args=ocp.args.PyTreeRestore(
            item=item,
            restore_args=jax.tree.map(as_numpy, item),
            partial_restore=True,
        ),
    )
    return trees.named_leaves(restored)
