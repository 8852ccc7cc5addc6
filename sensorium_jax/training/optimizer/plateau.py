"""The counters of the official trainers: when stages end, when the rate falls."""

from typing import NamedTuple


class Plateau(NamedTuple):
    """The two counters of the official trainers, which run independently.

    `stage` ends at its `patience`-th bad epoch and the best weights come back. The rate
    falls one bad epoch later, so only if the next stage begins badly as well.
    """

    best: float
    stage: int = 0
    bad: int = 0
    rate_best: float = float("-inf")
    rate_bad: int = 0
    rate: float = 1.0


class PlateauMove(NamedTuple):
    """What an epoch's score means for the run."""

    plateau: Plateau
    improved: bool
    restore: bool
    finished: bool


def plateau_step(
    plateau: Plateau,
    score: float,
    *,
    stages: int = 4,
    patience: int = 5,
    factor: float = 0.3,
    tolerance: float = 1e-6,
    lowest: float = 0.0,
) -> PlateauMove:
    """Move both counters by one epoch's score (higher is better).

    `lowest` is the smallest factor the rate may fall to (1e-4 / 0.005 officially).
    """
    rate, rate_best, rate_bad = plateau.rate, plateau.rate_best, plateau.rate_bad
    if score > rate_best + tolerance:
        rate_best, rate_bad = score, 0
    else:
        rate_bad += 1
    if rate_bad > patience:
        rate, rate_bad = max(rate * factor, lowest), 0

    improved = score > plateau.best + tolerance
    best = score if improved else plateau.best
    bad = 0 if improved else plateau.bad + 1
    ended = bad >= patience
    stage = plateau.stage + ended
    after = Plateau(best, stage, 0 if ended else bad, rate_best, rate_bad, rate)
    return PlateauMove(after, improved, ended, stage >= stages)
