"""What `sensorium demo` does: every part of the package once, on a simulated cortex."""

from pathlib import Path
from typing import Any

from sensorium_jax.data.recordings import Recordings
from sensorium_jax.run import Outcome
from sensorium_jax.run.score import known_sessions, predict_tiers, true_rates
from sensorium_jax.run.simulate import simulate
from sensorium_jax.run.submit import submit
from sensorium_jax.run.train import train
from sensorium_jax.scoring import suites, tables, trials

COLUMNS = ("single_trial", "ceiling", "fraction_of_ceiling")
STEPS = 20  # of the quick one


def demo(*, data: str, workdir: str, quick: bool = False) -> Outcome:
    """Simulate, train, score and write a submission; what was done is not repeated."""
    preset = "tiny" if quick else "demo"
    options = {"trials": None, "hide_tests": False, "centered": False}
    simulate(data, preset=preset, year=2023, seed=0, **options)
    changes = [f"--config.data.root={data}"]
    changes += [f"--config.train.steps={STEPS}"] * quick
    trained = train("demo", workdir, changes)
    if trained.data["stopped"]:
        return trained
    scores = oracle_and_kinds(data, workdir)
    out = str(Path(workdir) / "submission")
    sent = submit(data, track="main", workdir=workdir, out=out)
    rows = [["", "single trial", "ceiling", "fraction"]]
    rows += [[n, *(tables.cell(s[k]) for k in COLUMNS)] for n, s in scores.items()]
    uploads = [path for path in sent.data["uploads"]]
    lines = [
        *tables.align(rows),
        "ceiling: correlation of the true rates with the responses",
        f"submission: {', '.join(uploads)} ({'valid' if not sent.code else 'refused'})",
    ]
    found: dict[str, Any] = {
        "data": data,
        "workdir": workdir,
        "steps": trained.data["step"],
        "scores": scores,
        "uploads": uploads,
        "accepted": sent.code == 0,
    }
    return Outcome(found, "\n".join(lines), sent.code)


def oracle_and_kinds(data: str, source: str) -> dict[str, dict[str, Any]]:
    """Scores on the oracle tier and on every out-of-domain type of the tests."""
    from sensorium_jax.zoo import load

    twin = load.load(source)
    sessions = known_sessions(twin, Recordings.open(data))
    tiers = trials.tiers_of(sessions, "all")
    planned = trials.plan(sessions, tiers, stimuli="truth")
    options = {"truth": true_rates(sessions, "truth"), "draws": suites.DRAWS}
    measured = predict_tiers([twin], planned, options)
    tests = [m for t, (mice,) in measured.items() if t != "oracle" for m in mice]
    kinds = suites.by_kind(tests)
    movies = {"tests": kinds.pop("natural_movie")} if "natural_movie" in kinds else {}
    oracle = suites.report(measured["oracle"][0])
    return {"oracle": oracle, **movies, **kinds}
