"""The command `sensorium ensemble`: several trained models as one, in a folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium_jax.checkpoints import layout
from sensorium_jax.data import statistics
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.errors import UsageError, UserError
from sensorium_jax.io import atomic
from sensorium_jax.normalize import JUDGED
from sensorium_jax.run import Outcome
from sensorium_jax.run.score import known_sessions, opened
from sensorium_jax.training.judging import stacked_factors
from sensorium_jax.zoo.load import load
from sensorium_jax.zoo.twins.ensemble import Ensemble, ensemble as join


def ensemble(
    models: Sequence[str],
    *,
    out: str,
    data: str | None = None,
    rules: str | None = None,
) -> Outcome:
    """Write the ensemble of runs, checkpoints or published models to a new folder."""
    atomic.need_place(out, folder=True)
    if len(models) < 2:
        raise UsageError(
            f"An ensemble of {len(models)} was asked for; name at least two models."
        )
    twins = [load(model) for model in models]
    for model, twin in zip(models, twins, strict=True):
        if isinstance(twin, Ensemble):
            raise UserError(f"{model} is an ensemble already. Name its members.")
    recordings = opened(data, rules) if data else None
    both = of(twins, recordings, names=[named(model) for model in models])
    folder = both.save(out)
    members = list(both.card[layout.ENSEMBLE])
    plain = {"folder": str(folder), "units": both.units, "members": members}
    lines = [f"  {m['name']}: {m['model']}, units {m['units']}" for m in members]
    text = f"{len(members)} models as one in {folder}, units {both.units}"
    return Outcome(plain, "\n".join([text, *lines]))


def of(
    twins: Sequence[Any], recordings: Recordings | None, *, names: Sequence[str] = ()
) -> Ensemble:
    """The ensemble of twins; with recordings it answers in the judges' units."""
    units = [twin.units for twin in twins]
    if recordings is None or set(units) <= {JUDGED}:
        return join(twins, names=names)
    sessions = {s.name: s for s in known_sessions(twins[0], recordings)}
    absent = [mouse for mouse in twins[0].mice if mouse not in sessions]
    if absent:
        raise UserError(
            f"{recordings.path} lacks {', '.join(absent)}, which the models know. Give "
            "the recordings they were made of."
        )
    own = [sessions[mouse] for mouse in twins[0].mice]
    factors = {
        unit: _stacked([statistics.to_judged(s, unit) for s in own])
        for unit in set(units) - {JUDGED}
    }
    return join(twins, names=names, to_judged=[factors.get(unit) for unit in units])


def named(model: str) -> str:
    """A model and, of a run, the step that is taken."""
    path = Path(model).expanduser()
    steps = layout.saved_steps(path) if path.is_dir() else {}
    return model + (f" step {layout.best_step(steps)}" if steps else "")


def _stacked(factors: Sequence[np.ndarray]) -> np.ndarray:
    return stacked_factors(factors, len(factors))
