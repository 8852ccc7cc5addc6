"""Runs judged by the recordings that they were trained on: each alone, or two."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sensorium_jax import progress
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.io import atomic
from sensorium_jax.run import logged
from sensorium_jax.run.logged import BOUNDS, SCORED
from sensorium_jax.run.score import (
    known_sessions,
    measure_tiers,
    opened,
    report,
    true_rates,
)
from sensorium_jax.scoring import paired, trials
from sensorium_jax.scoring.tables import Comparison
from sensorium_jax.zoo import load


def keep_scores(
    workdirs: Sequence[Path], data: str | None, tier: str, draws: int
) -> None:
    """Judge the best step of every run, and keep what it scores in its workdir."""
    for workdir in progress.track(workdirs, "Judging runs", len(workdirs)):
        twin = load.load(workdir.absolute())
        sessions = known_sessions(twin, recordings_of(workdir, data))
        found = report(twin, sessions, tier=tier, draws=draws)
        (scores,) = [scores.all.as_dict() for scores in found.tiers.values()]
        names = ("single_trial", "single_trial_interval", *BOUNDS, "ceiling_from")
        kept = {name: scores[name] for name in names}
        step = int(twin.card["progress"]["best_step"])
        atomic.write_json(workdir / SCORED, {"step": step, "tier": tier, **kept})


def compared(
    first: Path, second: Path, data: str | None, tier: str, draws: int
) -> Comparison:
    """How much better the first of two runs is, on the same resampled trials."""
    recordings = recordings_of(first, data)
    mice = []
    for workdir in (first, second):
        twin = load.load(workdir.absolute())
        sessions = known_sessions(twin, recordings)
        plans = trials.plan(sessions, trials.tiers_of(sessions, tier))
        measured = measure_tiers(twin, plans, truth=true_rates(sessions, "repeats"))
        mice.append([m for some in measured.values() for m in some])
    return paired.compare(*mice, model=str(second), draws=draws)


def recordings_of(workdir: Path, data: str | None) -> Any:
    """The recordings that a run was trained on, or others that were named."""
    given = logged.read(workdir).config["data"]
    recordings: Recordings = opened(data or given["root"], given.get("rules") or None)
    return recordings
