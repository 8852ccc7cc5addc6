"""What `sensorium demo` does: every part of the package once, on a simulated cortex."""

from pathlib import Path
from typing import Any

from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.session import validating
from sensorium_jax.io import atomic
from sensorium_jax.run import Outcome
from sensorium_jax.run.linear import fitted
from sensorium_jax.run.score import beside, known_sessions, measure_tiers, true_rates
from sensorium_jax.run.simulate import simulate
from sensorium_jax.run.submit import submit
from sensorium_jax.run.train import train
from sensorium_jax.scoring import suites, tables, trials
from sensorium_jax.scoring.tables import Scores, TierScores
from sensorium_jax.text import align

COLUMNS = ("single_trial", "null", "linear", "ceiling", "fraction_of_ceiling")
STEPS = 20  # of the quick one
MOVIES = "natural_movie"  # what the demo is trained on


def demo(
    *, data: str, workdir: str, quick: bool = False, no_linear: bool = False
) -> Outcome:
    """Simulate, train, score and write a submission; what was done is not repeated."""
    for place in (data, workdir):
        atomic.need_place(place, folder=True)
    preset = "tiny" if quick else "demo"
    options = {"trials": None, "hide_tests": False, "centered": False}
    simulate(data, preset=preset, year=2023, seed=0, **options)
    changes = [f"--config.data.root={data}"]
    changes += [f"--config.train.steps={STEPS}"] * quick
    trained = train("demo", workdir, changes)
    if trained.data["stopped"]:
        return trained
    tier, whole, kinds = tier_and_kinds(data, workdir, linear=not no_linear)
    out = str(Path(workdir) / "submission")
    sent = submit(data, track="main", workdir=workdir, out=out)
    rows = [["", *(tables.COLUMNS[name] for name in COLUMNS)]]
    for name, scores in {tier: whole.all, **kinds}.items():
        rows.append([name, *map(scores.cell, COLUMNS)])
    uploads = list(sent.data["uploads"])
    lines = [
        *align(rows),
        "null: each neuron's training mean; "
        "ceiling: correlation of the true rates with the responses",
        tables.LINEAR if not no_linear else f"linear: {tables.NOT_FITTED}",
        *tables.beside_linear(whole.all),
        f"submission: {', '.join(uploads)} ({'valid' if not sent.code else 'refused'})",
    ]
    found: dict[str, Any] = {
        "data": data,
        "workdir": workdir,
        "steps": trained.data["step"],
        "scores": tables.plain({tier: whole, **kinds}),
        "uploads": uploads,
        "accepted": sent.code == 0,
    }
    return Outcome(found, "\n".join(lines), sent.code)


def tier_and_kinds(
    data: str, source: str, *, linear: bool = False
) -> tuple[str, TierScores, dict[str, Scores]]:
    """Scores on the tier that validates, and on every type of stimulus of the tests."""
    from sensorium_jax.zoo import load

    twin = load.load(source)
    sessions = known_sessions(twin, Recordings.open(data))
    plans = trials.plan(sessions, trials.tiers_of(sessions, "all"), stimuli="truth")
    mice = measure_tiers(twin, plans, truth=true_rates(sessions, "truth"))
    if linear:
        mice = beside(mice, measure_tiers(fitted(sessions, (data, source)), plans))
    tier = validating(sessions)
    kinds = suites.by_kind([m for t, many in mice.items() if t != tier for m in many])
    movies = {"tests": kinds.pop(MOVIES)} if MOVIES in kinds else {}
    return tier, suites.report(mice[tier]), {**movies, **kinds}
