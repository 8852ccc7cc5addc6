"""What `sensorium score` does: a model and recordings in, the judges' numbers out."""

import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium_jax import progress
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.session import Session
from sensorium_jax.errors import UserError, unknown
from sensorium_jax.run import Outcome
from sensorium_jax.scoring import paired, suites, tables, trials as plan
from sensorium_jax.scoring.accumulate import Rates
from sensorium_jax.simulation.cortex import truth

CEILINGS = ("auto", "truth", "repeats")


def score(
    data: str,
    *,
    workdir: str | None = None,
    model: str | None = None,
    tier: str = "val",
    stimuli: str = "classifier",
    ceiling: str = "auto",
    against: str | None = None,
    step: int | None = None,
    draws: int = suites.DRAWS,
    csv: str | None = None,
) -> Outcome:
    """Score a model on one tier, or on all that are labelled.

    The ceiling is the correlation of true rates with the responses where the recordings
    are simulated, else it is estimated from repeats; `ceiling` asks for one of them.
    """
    from sensorium_jax.zoo import load

    source = model or workdir
    if not source:
        raise UserError(
            "Nothing to score: give a run with --workdir, or a folder or name with "
            "--model."
        )
    if draws < 1:
        raise UserError(f"{draws} resamples were asked for; expected at least 1.")
    recordings = Recordings.open(data)
    twins = [load.load(source, step=step)]
    if against:
        twins.append(load.load(against))
    sessions = known_sessions(twins[0], recordings)
    planned = plan.plan(sessions, plan.tiers_of(sessions, tier), stimuli=stimuli)
    options = {"truth": true_rates(sessions, ceiling), "draws": draws}
    found = {}
    for name, (first, *others) in predict_tiers(twins, planned, options).items():
        found[name] = suites.report(first)
        for other in others:
            comparison = paired.compare(first, other)
            found[name]["against"] = {"model": str(against), **comparison}
    if csv:
        tables.write_csv(csv, tables.flat(found))
    return Outcome(found, tables.tables(found))


def predict_tiers(
    twins: Sequence[Any],
    planned: Mapping[str, Sequence[plan.Planned]],
    options: Mapping[str, Any],
) -> dict[str, list[list[suites.Mouse]]]:
    """Every tier predicted by every twin."""
    found, fit = {}, plan.sizes(planned)
    for tier, mice in planned.items():
        trials = len(twins) * sum(len(p.rows) for p in mice)
        with progress.bar(f"Scoring {tier}", trials) as bar:
            more: Any = {**options, "seen": lambda bar=bar: bar.add(1)}
            found[tier] = [suites.measured(t, mice, fit, **more) for t in twins]
    return found


def known_sessions(twin: Any, recordings: Recordings) -> list[Session]:
    """The recorded mice that the twin was made of; their neurons must be the same."""
    found = [s for s in recordings.sessions if s.name in twin.mice]
    if not found:
        raise UserError(
            f"The model knows {', '.join(twin.mice)}; {recordings.path} holds "
            f"{', '.join(recordings.names)}. Give the recordings it was made of."
        )
    left = [n for n in recordings.names if n not in twin.mice]
    if left:
        print(f"note: the model does not know {', '.join(left)}", file=sys.stderr)
    card = getattr(twin, "card", {})
    digests = {m["name"]: m.get("unit_ids") for m in card.get("mice", ())}
    for session in found:
        wanted = digests.get(session.name)
        ids = hashlib.sha256(session.unit_ids_n.tobytes()).hexdigest()
        if wanted and wanted != ids:
            raise UserError(
                f"{session.where} has other neurons (unit ids) than the mouse of that "
                "name that the model was trained on. Give that recording."
            )
    return found


def true_rates(sessions: Sequence[Session], ceiling: str) -> Rates | None:
    """Reads the true rates [t, n] of simulated recordings; None for real ones."""
    if ceiling not in CEILINGS:
        raise unknown("ceiling", ceiling, CEILINGS, "Set --ceiling.")
    if ceiling == "repeats":
        return None
    bare = [
        s for s in sessions if not (Path(s.where) / truth.FOLDER / "rates").is_dir()
    ]
    if bare and ceiling == "truth":
        raise UserError(
            f"{bare[0].where} has no {truth.FOLDER}/rates: its true rates are unknown. "
            "Take the ceiling from repeats (--ceiling repeats)."
        )
    return None if bare else _read_rates


def _read_rates(session: Session, row: int) -> np.ndarray:
    path = truth.rates_file(Path(session.where), int(session.files[row]))
    return np.load(path).reshape(session.neurons, -1).T[: session.reader.length(row)]
