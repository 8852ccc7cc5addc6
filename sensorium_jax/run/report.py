"""What `sensorium report` does: runs and their recordings in, one page out."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from sensorium_jax import progress
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.session import Session, validating
from sensorium_jax.errors import UsageError, UserError
from sensorium_jax.insilico import record
from sensorium_jax.io import atomic
from sensorium_jax.report import page
from sensorium_jax.report.contents import (
    Clip,
    Excited,
    Field,
    Neuron,
    Placed,
    Run,
    Runs,
    Time,
    Trace,
)
from sensorium_jax.run import Outcome, answers
from sensorium_jax.run.answers import Answers
from sensorium_jax.run.linear import Linears, fitted
from sensorium_jax.run.score import check_draws, known_sessions, measured, opened
from sensorium_jax.scoring import paired, resample, suites, tables
from sensorium_jax.scoring.accumulate import Measured
from sensorium_jax.scoring.tables import Report, TierScores
from sensorium_jax.scoring.trials import Planned
from sensorium_jax.training import log

FILE, COMPARED = "report.html", "comparison.html"
MOST = 8  # runs beside each other, as many as figures have marks
EACH = 2  # neurons of each rank whose traces are drawn
FRAMES, PICTURES = 300, 60  # of a clip and of traces
NEURONS = 60  # of the population's figure
PLACED, MICE = 300, 12  # neurons of a mouse, and mice, whose readouts are drawn
FIELDS = 9  # neurons whose linear fields are drawn
Tiers = Mapping[str, list[Measured]]


def report(
    workdirs: Sequence[str],
    *,
    data: str | None = None,
    out: str | None = None,
    tier: str = "all",
    stimuli: str = "classifier",
    ceiling: str = "auto",
    draws: int = suites.DRAWS,
    rules: str | None = None,
    step: int | None = None,
    no_linear: bool = False,
) -> Outcome:
    """Write the page of one run, or one that compares several."""
    from sensorium_jax.zoo import load

    check_draws(draws)
    names = names_of(workdirs)
    place = Path(out or (COMPARED if len(names) > 1 else f"{workdirs[0]}/{FILE}"))
    if place.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--out {place} is no page; expected a name ending in .html.")
    if step is not None and len(names) > 1:
        raise UsageError("--step is of one run; leave it out to compare several.")
    for folder in workdirs:
        if not Path(folder).is_dir():
            raise UserError(f"{folder} is no folder. Give the workdir of a run.")
    atomic.need_place(place, folder=False)
    twins = [load.load(Path(w).expanduser().absolute(), step=step) for w in workdirs]
    recordings = opened(data or root_of(twins[0].card, workdirs[0]), rules)
    sessions = shared([known_sessions(twin, recordings) for twin in twins])
    places = (recordings.path, workdirs[0])
    linear = None if no_linear else cache(lambda: fitted(sessions, places))
    asked = {"tier": tier, "stimuli": stimuli, "ceiling": ceiling}
    every = [measured(twin, sessions, linear=linear, **asked) for twin in twins]
    runs = [
        run_of(name, folder, twin, mice, recordings, draws=draws)
        for name, folder, twin, mice in zip(names, workdirs, twins, every, strict=True)
    ]
    if len(runs) > 1:
        return write_several(place, runs, every, draws=draws)
    best, said = excited(workdirs[0], every[0][runs[0].tier])
    run = runs[0]._replace(excited=best, notes=said)
    return write_one(place, run, twins[0], every[0], linear and linear())


def names_of(workdirs: Sequence[str]) -> list[str]:
    """Names of runs: their folders, with as much of the path as they differ in."""
    paths = [Path(w).expanduser().absolute() for w in workdirs]
    if len(paths) > MOST:
        raise UsageError(f"{len(paths)} runs were given; expected at most {MOST}.")
    if len(set(paths)) < len(paths):
        raise UsageError("A run was given twice. Give every run once.")
    depth = 1
    while len({p.parts[-depth:] for p in paths}) < len(paths):
        depth += 1
    return ["/".join(p.parts[-depth:]) or str(p) for p in paths]


def root_of(card: Mapping[str, Any], workdir: str) -> str:
    """The recordings that a run was trained on."""
    root = card.get("config", {}).get("data", {})
    root = root.get("root") if isinstance(root, Mapping) else None
    if not isinstance(root, str) or not root:
        raise UserError(
            f"{workdir} does not say which recordings it was trained on. Give --data."
        )
    return root


def shared(each: Sequence[Sequence[Session]]) -> list[Session]:
    """The mice that every run knows."""
    names = set.intersection(*({s.name for s in known} for known in each))
    if not names:
        words = " and ".join(", ".join(s.name for s in known) for known in each)
        raise UserError(f"The runs know no mouse in common: {words}. Compare others.")
    return [s for s in each[0] if s.name in names]


def run_of(
    name: str,
    folder: str,
    twin: Any,
    mice: Tiers,
    recordings: Recordings,
    *,
    draws: int = suites.DRAWS,
) -> Run:
    """What follows from scores, card and log alone."""
    scores = {tier: suites.report(m, draws=draws) for tier, m in mice.items()}
    tier = _judging(scores, [m.plan.session for m in next(iter(mice.values()))])
    tests = [m for t, them in mice.items() if t != tier for m in them]
    first = next(iter(mice.values()))[0].plan.session
    return Run(
        name=name,
        data=recordings.path,
        card=twin.card,
        scores=Report(scores),
        tier=tier,
        together=suites.by_kind(tests, draws=draws),
        log=log.read(folder),
        time=time_of(first),
    )


def _judging(scores: Mapping[str, TierScores], sessions: Sequence[Session]) -> str:
    """The tier that validates where it was scored, else the first that was."""
    try:
        tier = validating(sessions)
    except UserError:  # none validates in all mice; the tier was named
        tier = ""
    return tier if tier in scores else next(iter(scores))


def time_of(session: Session) -> Time:
    """How frames of a recording are counted."""
    if not session.rules.films:
        return Time(1.0, "pictures")
    rate = session.frames_per_second
    return Time(rate, "seconds") if rate else Time(1.0, "frames")


def write_one(
    place: Path, run: Run, twin: Any, mice: Tiers, linear: Linears | None
) -> Outcome:
    """The page of one run, with what its neurons do."""
    with progress.bar("Drawing the report", 3) as bar:
        judged = mice[run.tier]
        some, clip = shown(twin, judged)
        bar.add(note="traces")
        places, notes = positions(twin, [m.plan.session for m in judged])
        maps = [] if linear is None else fields(linear, judged)
        if linear is None:
            notes.append("The linear model was left out, and with it linear fields.")
        bar.add(note="positions")
        notes = [*run.notes, *notes]
        details: dict[str, Any] = {"traces": some, "clip": clip, "placed": places}
        words = page.one(run._replace(**details, fields=maps, notes=notes))
        bar.add(note="page")
    return _written(place, words, {"scores": run.scores.as_dict()})


def write_several(
    place: Path, runs: Sequence[Run], every: Sequence[Tiers], *, draws: int
) -> Outcome:
    """The page that compares runs, the first with each other one."""
    against = {
        tier: {
            run.name: paired.compare(mice, others[tier], model=run.name, draws=draws)
            for run, others in zip(runs[1:], every[1:], strict=True)
        }
        for tier, mice in every[0].items()
    }
    with progress.bar("Drawing the comparison", 1) as bar:
        words = page.several(Runs(runs, against))
        bar.add()
    found = {"scores": {run.name: run.scores.as_dict() for run in runs}}
    return _written(place, words, {**found, "against": tables.plain(against)})


def _written(place: Path, words: str, found: dict[str, Any]) -> Outcome:
    content = words.encode()
    if len(content) > page.LARGEST:
        raise UserError(
            f"The page would have {len(content) / 1e6:.0f} MB, more than "
            f"{page.LARGEST / 1e6:.0f}. Name one tier with --tier."
        )
    atomic.write(place, content)
    found = {"report": str(place), "bytes": len(content), **found}
    return Outcome(found, f"report: {place} ({len(content) / 1e6:.1f} MB)")


def ranked(mice: Sequence[Measured], of: str = "model") -> list[tuple[int, Neuron]]:
    """Every neuron that has a correlation, with its place in its mouse; best first."""
    every = []
    for mouse in mice:
        moments = getattr(mouse, of)
        if moments is None:
            continue
        one = np.ones((1, len(mouse.plan.rows)))
        for n, r in enumerate(resample.correlations(moments, one)[0].tolist()):
            if np.isfinite(r):
                session = mouse.plan.session
                unit = int(session.unit_ids_n[n])
                every.append((n, Neuron("best", session.name, unit, r)))
    return sorted(every, key=lambda pair: -pair[1].correlation)


def chosen(every: Sequence[tuple[int, Neuron]]) -> list[tuple[int, Neuron]]:
    """A few of the best, of the middling and of the worst."""
    each = min(EACH, max(len(every) // 3, 1))
    middle = (len(every) - each) // 2
    at = {
        "best": range(each),
        "median": range(middle, middle + each),
        "worst": range(len(every) - each, len(every)),
    }
    places: dict[int, str] = {}
    for rank, some in at.items():
        for i in some:
            if 0 <= i < len(every):
                places.setdefault(i, rank)
    return [(every[i][0], every[i][1]._replace(rank=r)) for i, r in places.items()]


def shown(twin: Any, mice: Sequence[Measured]) -> tuple[list[Trace], Clip]:
    """Traces of some neurons of all mice, and a clip of the mouse with the best one."""
    every = ranked(mice)
    some = chosen(every)
    plans = {m.plan.session.name: m.plan for m in mice}
    main = some[0][1].mouse if some else next(iter(plans))
    needed = dict.fromkeys([main, *(neuron.mouse for _, neuron in some)])
    answered = {name: _answered(twin, plans[name]) for name in needed}
    traces = []
    for n, neuron in some:
        a = answered[neuron.mouse]
        traces.append(
            Trace(neuron, a.recorded_tn[:, n], a.predicted_tn[:, n], a.starts)
        )
    recorded, predicted, frames = answered[main][:3]
    best = [(n, x) for n, x in every if x.mouse == main][:NEURONS]
    order = [n for n, _ in best] or list(range(min(recorded.shape[1], NEURONS)))
    units = tuple(int(plans[main].session.unit_ids_n[n]) for n in order)
    options = (recorded[:, order], predicted[:, order], units)
    return traces, Clip(main, frames, *options)


def _answered(twin: Any, plan: Planned) -> Answers:
    """The first trials of a mouse, as many as a page shows."""
    most = FRAMES if plan.session.rules.films else PICTURES
    return answers.of(twin, plan.session, plan.rows, frames=most)


def positions(twin: Any, sessions: Sequence[Session]) -> tuple[list[Placed], list[str]]:
    """Where readouts read; in words why not, where they have no positions."""
    notes = []
    if len(sessions) > MICE:
        notes.append(f"Readouts of the first {MICE} mice of {len(sessions)} are shown.")
    places = []
    for session in sessions[:MICE]:
        try:
            read_n2 = np.asarray(twin.positions(session.name))
        except UserError as error:
            return [], [str(error)]
        at = np.linspace(0, session.neurons - 1, min(session.neurons, PLACED))
        some = np.unique(at.astype(int))
        cortex = session.coordinates_n3
        placed = Placed(
            session.name,
            session.neurons,
            session.unit_ids_n[some],
            read_n2[some],
            None if cortex is None else np.asarray(cortex, float)[some],
        )
        places.append(placed)
    return places, notes


def fields(linear: Linears, mice: Sequence[Measured]) -> list[Field]:
    """Linear fields of the neurons that the linear model predicts best."""
    found = []
    for n, neuron in ranked(mice, "linear")[:FIELDS]:
        one = linear.twins[neuron.mouse]
        plan, weights_d = one.plan, np.asarray(one.weights.weight_mdn[0, :, n])
        pixels = weights_d[: plan.light - plan.signals]
        maps = pixels.reshape(plan.bases, plan.frame[2], *plan.grid).mean(1)
        best = maps[int((maps**2).sum((1, 2)).argmax())]
        power = best**2 / max(float((best**2).sum()), 1e-30)
        rows, columns = ((np.arange(k) + 0.5) / k for k in plan.grid)
        y = float(power.sum(1) @ rows) * plan.frame[0] - 0.5
        x = float(power.sum(0) @ columns) * plan.frame[1] - 0.5
        found.append(Field(neuron, best, (x, y)))
    return found


def excited(
    folder: str, mice: Sequence[Measured]
) -> tuple[list[Excited], tuple[str, ...]]:
    """Stimuli of `sensorium mei` that lie in a run's folder; what is wrong in words.

    Of the neurons that were asked those are shown that are predicted best.
    """
    places = sorted(
        p for kind in record.KINDS for p in Path(folder).glob(f"**/mei{kind}")
    )
    every = {(x.mouse, n): x for n, x in ranked(mice)}
    found: dict[tuple[str, int], Excited] = {}
    notes = []
    for path in places:
        try:
            result = record.load(path)
        except UserError as error:
            notes.append(str(error))
            continue
        about = result.about
        if result.experiment != "mei" or about.get("aim", {}).get("least"):
            continue
        for i, n in enumerate(map(int, result.neurons)):
            key = (str(about.get("mouse")), n)
            if key in every and key not in found:
                found[key] = _excited(result, i, every[key])
    best = sorted(found.values(), key=lambda e: -e.neuron.correlation)[:FIELDS]
    # Of several results only frames of one size are drawn together.
    return [e for e in best if e.frame_hw.shape == best[0].frame_hw.shape], tuple(notes)


def _excited(result: record.Result, i: int, neuron: Neuron) -> Excited:
    screen = result.about["screen"]
    z = (result["stimulus"][i] - screen["grey"]) / screen["unit"]
    response = result["response"][i]
    if z.ndim == 5:  # the first of several
        z, response = z[0], response[0]
    frame = int((z**2).sum((1, 2, 3)).argmax())
    rates = (float(response), float(result["blank"][i]))
    return Excited(neuron, z[frame].mean(-1), len(z), *rates)
