"""Steps that cannot be read: named, set aside, and the one before them taken."""

import sys
from itertools import count
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from sensorium_jax.checkpoints import digests
from sensorium_jax.checkpoints.card import read_card
from sensorium_jax.checkpoints.digests import DamagedError, Digest
from sensorium_jax.checkpoints.layout import NUMBER, card_path, numbered
from sensorium_jax.errors import UserError
from sensorium_jax.io import plain_json

# What orbax writes beside the state and the card, the first as metrics/metrics.
METRICS, OF_ORBAX = "metrics", "_CHECKPOINT_METADATA"
ASIDE = "damaged-{step}"


def screen(steps: Path) -> None:
    """Set aside what would keep a run's folder of checkpoints from being opened."""
    if jax.process_index() == 0:
        folders = numbered(steps)
        for name in sorted(p.name for p in steps.glob("*") if _is_odd(p.name)):
            why = f"{steps / name} has a number that no run writes."
            put_aside(steps, name, why, left=bool(folders))
        wrong = {step: why for step in folders if (why := _fault(folders[step]))}
        for step in sorted(wrong, reverse=True):
            left = len(folders) > len(wrong)
            put_aside(steps, step, wrong[step], left=left)
    together("screened")


def _is_odd(name: str) -> bool:
    """Whether orbax takes a name for the number of a step, and we do not."""
    return name.isdigit() and not NUMBER.fullmatch(name)


def _fault(folder: Path) -> str:
    """What is wrong with the small files of a checkpoint; '' if nothing is."""
    try:
        card = read_card(card_path(folder))
        digests.opened(card, str(folder))
    except DamagedError as error:
        return str(error)
    if digests.changed(card):
        return f"The card {card_path(folder)} is not as it was written."
    # Orbax goes on without either of these, but not with a broken one.
    for path in (folder / OF_ORBAX, folder / METRICS / METRICS):
        try:
            said = plain_json.load(path, "")
            rank = said["rank"] if path.name == METRICS else -1
        except FileNotFoundError:
            continue
        except (UserError, TypeError, KeyError) as error:
            return f"{path} cannot be read ({error})."
        if rank not in (int(folder.name), -1):
            return f"{path} has rank {rank}, expected {folder.name} or -1."
    return ""


def put_aside(steps: Path, step: int | str, why: str, *, left: bool) -> None:
    """Rename the folder of a step, with a warning; the last one that is left stays."""
    if not left:
        raise DamagedError(
            f"{why} No other checkpoint of {steps.parent} is left to go on from. Bring "
            "that folder back from a copy, or start over with --fresh."
        )
    names = (f"{ASIDE.format(step=step)}{f'-{n}' if n else ''}" for n in count())
    target = next(p for name in names if not (p := steps / name).exists())
    (steps / str(step)).rename(target)
    print(
        f"warning: {why} It was set aside as {target}; the run goes on from the "
        "checkpoint before it.",
        file=sys.stderr,
        flush=True,
    )


def together(where: str) -> None:
    """Wait for the other processes, if there are any."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(f"sensorium-{where}")


def anywhere(wrong: Any) -> bool:
    """Whether something is wrong in any process; all of them must ask."""
    if jax.process_count() == 1:
        return bool(wrong)
    return bool(np.any(multihost_utils.process_allgather(np.array(bool(wrong)))))


def joined(held: dict[str, Digest]) -> dict[str, Digest]:
    """Digests with the rows that other processes hold."""
    if jax.process_count() == 1:
        return held
    flat = [s for digest in held.values() for s in digest.sums]
    here = np.array([[s is not None, s or 0] for s in flat], np.uint32)
    every = multihost_utils.process_allgather(here)
    first = np.argmax(every[:, :, 0], axis=0)  # of the processes that hold a row
    known, sums = np.moveaxis(every[first, np.arange(len(flat))], -1, 0)
    words = [int(s) if k else None for k, s in zip(known, sums, strict=True)]
    whole, at = {}, 0
    for name, digest in held.items():
        size = len(digest.sums)
        whole[name] = digest._replace(sums=tuple(words[at : at + size]))
        at += size
    return whole
