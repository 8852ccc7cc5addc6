"""What `sensorium demo` does: every part of the package once, on a simulated cortex."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from sensorium_jax.data.recordings import Recordings
from sensorium_jax.errors import UserError
from sensorium_jax.io import atomic
from sensorium_jax.report.contents import Excited, Run
from sensorium_jax.run import Outcome
from sensorium_jax.run.insilico.asked import Asked
from sensorium_jax.run.insilico.mei import mei
from sensorium_jax.run.linear import fitted
from sensorium_jax.run.report import FILE, excited, ranked, run_of, write_one
from sensorium_jax.run.score import known_sessions, measured
from sensorium_jax.run.simulate import simulate
from sensorium_jax.run.submit import submit
from sensorium_jax.run.train import train
from sensorium_jax.scoring import tables
from sensorium_jax.scoring.accumulate import Measured
from sensorium_jax.text import align

COLUMNS = ("single_trial", "null", "linear", "ceiling", "fraction_of_ceiling")
STEPS, QUICK = 400, 20  # some three minutes of two cores
EXCITED, CLIMB = 6, 40  # neurons whose best stimuli are sought, and steps for them
MOVIES = "natural_movie"  # what the demo is trained on


def demo(
    *, data: str, workdir: str, quick: bool = False, no_linear: bool = False
) -> Outcome:
    """Simulate, train, score, draw a page and write a submission.

    What was simulated and trained before is not done again.
    """
    for place in (data, workdir):
        atomic.need_place(place, folder=True)
    preset = "tiny" if quick else "demo"
    options = {"trials": None, "hide_tests": False, "centered": False, "turned": False}
    simulate(data, preset=preset, year=2023, seed=0, **options)
    changes = [f"--config.data.root={data}"]
    changes += [f"--config.train.steps={QUICK if quick else STEPS}"]
    trained = train("own", workdir, changes)
    if trained.data["stopped"]:
        return trained
    run, drawn = reported(data, workdir, linear=not no_linear)
    tier, whole, kinds = run.tier, run.scores.tiers[run.tier], dict(run.together)
    movies = {"tests": kinds.pop(MOVIES)} if MOVIES in kinds else {}
    kinds = {**movies, **kinds}
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
        drawn.text,
    ]
    found: dict[str, Any] = {
        "data": data,
        "workdir": workdir,
        "steps": trained.data["step"],
        "scores": tables.plain({tier: whole, **kinds}),
        "uploads": uploads,
        "accepted": sent.code == 0,
        "report": drawn.data["report"],
    }
    return Outcome(found, "\n".join(lines), sent.code)


def reported(data: str, workdir: str, *, linear: bool) -> tuple[Run, Outcome]:
    """Scores on every labelled tier, types of stimulus as simulated; and their page."""
    from sensorium_jax.zoo import load

    twin, recordings = load.load(workdir), Recordings.open(data)
    sessions = known_sessions(twin, recordings)
    line = cache(lambda: fitted(sessions, (data, workdir))) if linear else None
    asked = {"tier": "all", "stimuli": "truth", "ceiling": "truth"}
    mice = measured(twin, sessions, linear=line, **asked)
    name = Path(workdir).absolute().name
    run = run_of(name, workdir, twin, mice, recordings)
    best, notes = excite(workdir, mice[run.tier])
    run = run._replace(excited=best, notes=notes)
    return run, write_one(Path(workdir) / FILE, run, twin, mice, line and line())


def excite(
    workdir: str, mice: Sequence[Measured]
) -> tuple[list[Excited], tuple[str, ...]]:
    """Most exciting stimuli of the neurons of one mouse that are predicted best."""
    every = ranked(mice)
    if not every:
        return [], ()
    mouse = every[0][1].mouse
    some = [n for n, neuron in every if neuron.mouse == mouse][:EXCITED]
    out = Path(workdir) / "insilico" / "mei"
    words = ",".join(map(str, sorted(some)))
    asked = Asked(str(out), workdir=workdir, mouse=mouse, neurons=words)
    try:
        mei(asked, steps=CLIMB, starts=1, smooth=1.0)
    except UserError as error:  # of a demo before, whose model was another one
        return [], (f"Most exciting stimuli are not shown: {error}",)
    return excited(workdir, mice)
