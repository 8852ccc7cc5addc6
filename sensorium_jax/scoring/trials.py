"""Which trials a score is over: tiers, their stimuli, and what all of them fit into."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sensorium_jax.data.session import Session
from sensorium_jax.data.stream.pools import labelled
from sensorium_jax.errors import UserError
from sensorium_jax.scoring import accumulate, kinds
from sensorium_jax.scoring.accumulate import Sizes


class Planned(NamedTuple):
    """Which trials of a mouse make up a tier, and what they show."""

    session: Session
    rows: np.ndarray
    stimulus_b: np.ndarray
    kinds: list[str]  # of each stimulus


def tiers_of(sessions: Sequence[Session], tier: str) -> list[str]:
    """The tiers to score: one by its name, or every labelled one but `train`."""
    if tier == "val":
        return ["oracle" if sessions[0].year == 2023 else "validation"]
    if tier != "all":
        return [tier]
    names = {str(t): None for s in sessions for t in s.tiers}
    known = [n for n in names if n not in ("none", "train")]
    found = [n for n in sorted(known) if any(_rows(s, n).size for s in sessions)]
    if not found:
        raise UserError(
            f"The recordings have labelled trials of no tier but 'train' (found "
            f"{', '.join(names)}). Name that one with --tier."
        )
    return found


def _rows(session: Session, tier: str) -> np.ndarray:
    """Labelled trials of a tier with frames to score."""
    rows = np.flatnonzero(session.tiers == tier)
    enough = accumulate.skip(session)
    keep = [
        labelled(session, row) and session.reader.length(row) > enough
        for row in rows.tolist()
    ]
    return rows[np.array(keep, bool)]


def plan(
    sessions: Sequence[Session], tiers: Sequence[str], *, stimuli: str = "classifier"
) -> dict[str, list[Planned]]:
    """The mice of each tier that have labelled trials of it; stimuli as in kinds."""
    found = {}
    for tier in tiers:
        mice = []
        for session in sessions:
            rows = _rows(session, tier)
            if not rows.size:
                continue
            shown = kinds.shown(session, rows)
            names = kinds.kinds(session, rows, shown, stimuli)
            mice.append(Planned(session, rows, shown, names))
        if not mice:
            for session in sessions:
                session.trials_of(tier)  # says which tiers there are
            raise UserError(
                f"No mouse has labelled trials of tier '{tier}': the responses are "
                "hidden (zeros). Score a labelled tier, or submit your predictions."
            )
        found[tier] = mice
    return found


def sizes(planned: Mapping[str, Sequence[Planned]]) -> Sizes:
    """What every tier and mouse fits into."""
    every = [p for mice in planned.values() for p in mice]
    return Sizes(
        max(len(p.kinds) for p in every),
        max(
            p.session.reader.length(int(row)) - accumulate.skip(p.session)
            for p in every
            for row in p.rows
        ),
        max(p.session.neurons for p in every),
    )
