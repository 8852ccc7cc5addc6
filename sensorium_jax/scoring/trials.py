"""Which trials a score is over: tiers, their stimuli, and what all of them fit into."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sensorium_jax.data.session import Session, tier_named
from sensorium_jax.data.stream.pools import labelled
from sensorium_jax.errors import UserError
from sensorium_jax.rules import TRAIN, UNUSED
from sensorium_jax.scoring import kinds

NUMBERS = 4_000_000  # responses that are added together
MOST, MANY = 4, 128  # films of a batch, pictures of a batch


class Planned(NamedTuple):
    """Which trials of a mouse make up a tier, and what they show."""

    session: Session
    rows: np.ndarray
    stimulus_b: np.ndarray
    kinds: list[str]  # of each stimulus

    @property
    def repeats(self) -> bool:
        """Whether any stimulus is shown more than once."""
        return bool(np.bincount(self.stimulus_b).max() > 1)


class Sizes(NamedTuple):
    """What all mice are padded to, so that one program serves them."""

    stimuli: int  # of mice that are shown any more than once; others need no slot
    frames: int
    neurons: int

    @property
    def batch(self) -> int:
        """Trials that are added together."""
        most = MOST if self.frames > 1 else MANY
        return int(np.clip(NUMBERS // (self.frames * self.neurons), 1, most))


def tiers_of(sessions: Sequence[Session], tier: str) -> list[str]:
    """The tiers to score: one by its name, or every labelled one but `train`."""
    if tier != "all":
        return [tier_named(tier, sessions)]
    names = {str(t): None for s in sessions for t in s.tiers}
    known = [n for n in names if n not in (UNUSED, TRAIN)]
    told = [n for n in sorted(known) if any(rows_of(s, n).size for s in sessions)]
    if not told:
        raise UserError(
            f"The recordings have labelled trials of no tier but 'train' (found "
            f"{', '.join(names)}). Name that one with --tier."
        )
    return told


def rows_of(session: Session, tier: str) -> np.ndarray:
    """Labelled trials of a tier with frames to score."""
    rows = np.flatnonzero(session.tiers == tier)
    rows = rows[session.lengths(rows) > session.rules.skip]
    return rows[[labelled(session, row) for row in rows.tolist()]]


def planned(
    session: Session, rows: np.ndarray, *, stimuli: str | None = "classifier"
) -> Planned:
    """What the trials of some rows show; stimuli as in kinds.

    With None no film is looked at: each trial counts as a stimulus of its own.
    """
    if stimuli is None:
        return Planned(session, rows, np.arange(len(rows)), [kinds.UNKNOWN] * len(rows))
    shown = kinds.shown(session, rows)
    return Planned(session, rows, shown, kinds.kinds(session, rows, shown, stimuli))


def plan(
    sessions: Sequence[Session],
    tiers: Sequence[str],
    *,
    stimuli: str | None = "classifier",
) -> dict[str, list[Planned]]:
    """The mice of each tier that have labelled trials of it; stimuli as in planned."""
    plans = {}
    for tier in tiers:
        rows = [rows_of(session, tier) for session in sessions]
        if not any(r.size for r in rows):
            raise _nothing(sessions, tier)
        plans[tier] = [
            planned(session, r, stimuli=stimuli)
            for session, r in zip(sessions, rows, strict=True)
            if r.size
        ]
    return plans


def _nothing(sessions: Sequence[Session], tier: str) -> UserError:
    """Why a tier has no trial to score: no such tier, too short, or hidden."""
    having = [s for s in sessions if tier in s.tiers] or sessions
    # trials_of says which tiers there are.
    longest = max(int(s.lengths(s.trials_of(tier)).max()) for s in having)
    rules = sessions[0].rules
    if longest <= rules.skip:
        return UserError(
            f"The trials of tier '{tier}' have at most {longest} frames, and by "
            f"the rules '{rules.name}' the first {rules.skip} are not scored. Give "
            "--rules own, which skips none, or longer recordings."
        )
    return UserError(
        f"No mouse has labelled trials of tier '{tier}': the responses are "
        "hidden (zeros). Score a labelled tier, or submit your predictions."
    )


def sizes(plans: Mapping[str, Sequence[Planned]] | Iterable[Planned]) -> Sizes:
    """What every tier and mouse fits into."""
    if isinstance(plans, Mapping):
        plans = [p for mice in plans.values() for p in mice]
    every = list(plans)
    return Sizes(
        max((len(p.kinds) for p in every if p.repeats), default=0),
        max(int(p.session.lengths(p.rows).max()) - p.session.rules.skip for p in every),
        max(p.session.neurons for p in every),
    )
