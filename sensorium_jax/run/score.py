"""What `sensorium score` does: a model and recordings in, the judges' numbers out."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium_jax import asking, normalize, progress
from sensorium_jax.checkpoints.card import unit_digests
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.release.tree import open_npy
from sensorium_jax.data.session import Session
from sensorium_jax.errors import UsageError, UserError, unknown
from sensorium_jax.io import atomic
from sensorium_jax.run import Outcome
from sensorium_jax.run.linear import fitted
from sensorium_jax.run.twins import one_or_ensemble
from sensorium_jax.scoring import (
    accumulate,
    neurons as by_neuron,
    paired,
    predict,
    suites,
    tables,
    trials,
)
from sensorium_jax.scoring.accumulate import Measured, Rates
from sensorium_jax.scoring.tables import Report
from sensorium_jax.simulation.cortex import truth

CEILINGS = ("auto", "truth", "repeats")


def score(
    data: str,
    *,
    workdir: str | None = None,
    model: str | Sequence[str] | None = None,
    tier: str = "val",
    stimuli: str = "classifier",
    ceiling: str = "auto",
    against: str | None = None,
    step: int | None = None,
    draws: int = suites.DRAWS,
    rules: str | None = None,
    csv: str | None = None,
    per_neuron: str | None = None,
    no_linear: bool = False,
) -> Outcome:
    """Score a model, or several as one, on one tier, or on all that are labelled.

    The ceiling is the correlation of true rates with the responses where the recordings
    are simulated, else it is estimated from repeats; `ceiling` asks for one of them.
    The linear model is kept beside the recordings, or else in the workdir.
    """
    nothing = (
        "Nothing to score: give a run with --workdir, or a folder or name with --model."
    )
    names = models(workdir, model, nothing)
    check_draws(draws)
    for file in (csv, per_neuron):
        if file:
            atomic.need_place(file, folder=False)
    recordings = opened(data, rules)
    twin = one_or_ensemble(names, step=step)
    other = one_or_ensemble([against]) if against else None
    sessions = known_sessions(twin, recordings)
    places = (recordings.path, workdir)
    found = report(
        twin,
        sessions,
        tier=tier,
        stimuli=stimuli,
        ceiling=ceiling,
        draws=draws,
        against=(str(against), other) if against else None,
        linear=None if no_linear else lambda: fitted(sessions, places),
        neurons=per_neuron is not None,
    )
    if csv:
        tables.write_csv(csv, found.rows())
    if per_neuron:
        tables.write_csv(per_neuron, found.neurons)
    return Outcome(found.as_dict(), str(found))


def models(
    workdir: str | None, model: str | Sequence[str] | None, nothing: str
) -> list[str]:
    """The sources of the models that were given, one or several that answer as one.

    nothing says what lacks where none is given.
    """
    names = [model] if isinstance(model, str) else list(model or ())
    if workdir and names:
        raise UsageError(
            f"Two models were given, --workdir {workdir} and --model {names[0]}. Give "
            "one of them; score has --against for a second."
        )
    if not workdir and not names:
        raise UsageError(nothing)
    return [workdir] if workdir else names


def check_draws(draws: int) -> None:
    """Refuse to resample trials less than once."""
    if draws < 1:
        raise UsageError(f"{draws} resamples were asked for; expected at least 1.")


def report(
    twin: Any,
    sessions: Sequence[Session],
    *,
    tier: str = "val",
    stimuli: str = "classifier",
    ceiling: str = "auto",
    draws: int = suites.DRAWS,
    against: tuple[str, Any] | None = None,
    linear: Callable[[], Any] | None = None,
    neurons: bool = False,
) -> Report:
    """Every number of a twin on one tier or on all; against another by its name.

    neurons: the report also has a row of scores for each neuron, in `neurons`.
    linear makes the twin that every table has beside the model's (run.linear.fitted),
    which takes long: only once all else that was asked for is there.
    """
    check_draws(draws)
    options = {"tier": tier, "stimuli": stimuli, "ceiling": ceiling}
    mice = measured(twin, sessions, linear=linear, **options)
    scores = {name: suites.report(m, draws=draws) for name, m in mice.items()}
    if against:
        model, second = against
        plans = {name: [m.plan for m in them] for name, them in mice.items()}
        others = measure_tiers(second, plans)
        for name, found in scores.items():
            words: dict[str, Any] = {"model": model, "draws": draws}
            comparison = paired.compare(mice[name], others[name], **words)
            scores[name] = found._replace(against=comparison)
    each = [(tier, m) for tier in mice if neurons for m in mice[tier]]
    return Report(scores, [row for one in each for row in by_neuron.rows(*one)])


def measured(
    twin: Any,
    sessions: Sequence[Session],
    *,
    tier: str,
    stimuli: str,
    ceiling: str,
    linear: Callable[[], Any] | None = None,
) -> dict[str, list[Measured]]:
    """What scores need of a twin on one tier or on all, beside the linear model."""
    plans = trials.plan(sessions, trials.tiers_of(sessions, tier), stimuli=stimuli)
    mice = measure_tiers(twin, plans, truth=true_rates(sessions, ceiling))
    return mice if linear is None else beside(mice, measure_tiers(linear(), plans))


def measure_tiers(
    twin: Any,
    plans: Mapping[str, Sequence[trials.Planned]],
    *,
    truth: Rates | None = None,
) -> dict[str, list[Measured]]:
    """Predict every planned tier with a twin, and sum what scores need."""
    found, fit = {}, trials.sizes(plans)
    for tier, mice in plans.items():
        stream = predict.stream(twin, mice)
        count = sum(len(plan.rows) for plan in mice)
        stream = progress.track(stream, f"Scoring {tier}", count)
        found[tier] = accumulate.measure(stream, mice, fit=fit, truth=truth)
    return found


def beside(
    model: Mapping[str, Sequence[Measured]], linear: Mapping[str, Sequence[Measured]]
) -> dict[str, list[Measured]]:
    """What was measured of a model, with the linear one of the same trials."""
    return {
        tier: [m.beside(b) for m, b in zip(mice, linear[tier], strict=True)]
        for tier, mice in model.items()
    }


def opened(data: str, rules: str | None) -> Recordings:
    """The recordings, by other rules than their own where some are named."""
    return Recordings.open(data, rules)


def known_sessions(twin: Any, recordings: Recordings) -> list[Session]:
    """The recorded mice that the twin was made of; their neurons must be the same."""
    known = [s for s in recordings.sessions if s.name in twin.mice]
    if not known:
        raise UserError(
            f"The model knows {', '.join(twin.mice)}; {recordings.path} holds "
            f"{', '.join(recordings.names)}. Give the recordings it was made of."
        )
    left = [n for n in recordings.names if n not in twin.mice]
    if left:
        print(f"note: the model does not know {', '.join(left)}", file=sys.stderr)
    for session in known:
        _check_frames(twin, session)
    card = getattr(twin, "card", {})
    digests = unit_digests(card)
    for session in known:
        if digests.get(session.name, session.unit_digest) != session.unit_digest:
            raise UserError(
                f"{session.where} has other neurons (unit ids) than the mouse of that "
                "name that the model was trained on. Give that recording."
            )
    return known


def _check_frames(twin: Any, session: Session) -> None:
    """Refuse films of another size than the twin's: as recorded, or shrunk already."""
    frame = getattr(twin, "frame_shape", None)
    if frame is None:
        return
    height, width, channels = frame
    small = (*normalize.shrunk_shape(height, width, asking.of(twin).scale), channels)
    if tuple(session.frame_shape) not in (tuple(frame), small):
        sizes = [" x ".join(map(str, x)) for x in (session.frame_shape, frame)]
        raise UserError(
            f"{session.where} has frames of {sizes[0]} (rows, columns, channels), the "
            f"model was made for {sizes[1]}. Give recordings of that size."
        )


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
    rates = open_npy(path)
    if not rates.ndim or len(rates) != session.neurons or rates.dtype.kind != "f":
        raise UserError(
            f"{path} holds {rates.dtype} of shape {rates.shape}, expected the true "
            f"rates of {session.neurons} neurons. Simulate again, or take the ceiling "
            "from repeats (--ceiling repeats)."
        )
    length = session.reader.length(row)
    return np.array(rates.reshape(session.neurons, -1).T[:length])
