"""Where a checkpoint's parts lie: every name on disk, once.

RUN/checkpoints/<step>/state/            arrays, written and read by orbax
RUN/checkpoints/<step>/card/card.json    what they are of
ENSEMBLE/card/card.json                  which checkpoints it is of; arrays of its own
ENSEMBLE/members/<i>/                    the checkpoint of each
"""

import re
from collections.abc import Mapping
from pathlib import Path

from sensorium_jax.checkpoints.card import read_card
from sensorium_jax.errors import UserError

STEPS = "checkpoints"  # folder of a run that holds a folder for every saved step
STATE, CARD = "state", "card"
CARD_FILE = "card.json"
MEMBERS = "members"
NUMBER = re.compile("0|[1-9][0-9]{0,17}")  # of a step
ENSEMBLE = "ensemble"  # field of a card: one entry for each member


def card_path(folder: Path) -> Path:
    """The card of a checkpoint; it is there only when the checkpoint is whole."""
    return folder / CARD / CARD_FILE


def member(folder: Path, index: int) -> Path:
    """The checkpoint of one member of an ensemble."""
    return folder / MEMBERS / str(index)


def numbered(steps: Path) -> dict[int, Path]:
    """Folders of steps by their number, whole or not.

    Only names as a run writes them count: '08' or '1²' are folders of somebody else.
    """
    named = (p for p in steps.glob("[0-9]*") if NUMBER.fullmatch(p.name))
    return {int(p.name): p for p in named}


def saved_steps(run: Path) -> dict[int, Path]:
    """Every whole checkpoint of a run, or of its folder of steps, by step."""
    steps = run / STEPS if (run / STEPS).is_dir() else run
    pairs = sorted(numbered(steps).items())
    return {step: folder for step, folder in pairs if card_path(folder).is_file()}


def find(folder: Path, step: int | None = None) -> Path:
    """One checkpoint, from its own folder or from the run that holds it.

    Of a run it is the best step unless one is named.
    """
    if card_path(folder).is_file() and step is None:
        return folder
    whole = saved_steps(folder)
    if not whole:
        holds = "does not exist"
        if folder.is_dir():
            names = sorted(p.name for p in folder.iterdir())
            holds = f"holds {', '.join(names[:5]) or 'nothing'}"
        raise UserError(
            f"No checkpoint in {folder}: it {holds}. Expected {CARD}/{CARD_FILE}, or a "
            f"run with {STEPS}/<step>/{CARD}/{CARD_FILE}."
        )
    if step is not None and step not in whole:
        raise UserError(f"{folder} has no step {step}; it has {sorted(whole)}.")
    return whole[best_step(whole) if step is None else step]


def best_step(whole: Mapping[int, Path]) -> int:
    """The step that the run found best, as its newest card says; else the last."""
    last = max(whole)
    progress = read_card(card_path(whole[last])).get("progress", {})
    best = progress.get("best_step", -1) if isinstance(progress, Mapping) else -1
    return best if best in whole else last
