"""What `sensorium launch` does: the runs of a campaign, here or elsewhere."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sensorium_jax.errors import UsageError, UserError
from sensorium_jax.io import atomic
from sensorium_jax.run import INTERRUPTED, Outcome, logged
from sensorium_jax.run.campaign import folder as place, pool, stages
from sensorium_jax.run.campaign.folder import (
    FAILED,
    OVER,
    STATES,
    WAITING,
    Campaign,
    State,
)
from sensorium_jax.run.campaign.plan import Run, check, plan
from sensorium_jax.stop import stop_on_signals
from sensorium_jax.text import align, cell, duration


class Pace(NamedTuple):
    """What a training costs, as far as anything is known of it."""

    steps: int | None = None  # in all
    done: int = 0
    seconds_per_step: float | None = None

    @property
    def left(self) -> float | None:
        """Seconds of the steps that are left."""
        if self.steps is None or self.seconds_per_step is None:
            return None
        return max(self.steps - self.done, 0) * self.seconds_per_step


def launch(
    file: str | None,
    workdir: str,
    overrides: Sequence[str] = (),
    *,
    options: Mapping[str, Any] | None = None,
    jobs: int = 0,
    gpus: int = 0,
    only: str | None = None,
    retry: bool = False,
    dry_run: bool = False,
    like: str | None = None,
    commands: str | None = None,
    slurm: Mapping[str, Any] | None = None,
) -> Outcome:
    """Do the runs of a campaign's file in a folder, or go on with those that lie there.

    options go to the file's get_campaign. dry_run says what would be done; commands is
    a file to write instead, with a line for each run. like is a run whose steps take
    as long as those that have not been measured yet. slurm is what sbatch is asked for
    each run, which then is a job of a cluster.
    """
    folder = Path(workdir)
    if file is None and (overrides or options):
        raise UsageError(
            "--with and --config change what a campaign's file says. Give the file "
            "too: sensorium launch FILE.py --workdir DIR."
        )
    slots = pool.shares(jobs, gpus)
    paces = logged.read(like) if like else None
    if dry_run:
        planned = _planned(file, folder, overrides, options)
        return _outcome(planned, paces, slots=len(slots))
    if file is None:
        campaign = place.opened(folder)
    else:
        runs = _planned(file, folder, overrides, options).runs
        campaign = place.claim(folder, runs, file)
    if commands is not None:
        atomic.need_place(commands, folder=False)
        place.write_lines(campaign, commands)
        return _outcome(campaign, paces, last=f"a line for each run: {commands}")
    chosen = campaign.runs
    if any(run.search for run in chosen):
        from sensorium_jax.run.campaign import search

        search.need()
    if only is not None:
        chosen = [campaign.named(only)]
        _check_needs(campaign, chosen[0])
    if slurm is not None:
        from sensorium_jax.run.campaign.slurm import job_of, job_states, submit

        queued = submit(campaign, chosen, slurm, retry=retry)
        words = f"{len(queued)} runs queued; the same command says how they stand"
        states = {**job_states(campaign), **dict.fromkeys(queued, "queued")}
        ids = {run.name: job_of(campaign, run) for run in campaign.runs}
        queue = {name: f"{ids[name]} {state}" for name, state in states.items()}
        return _outcome(campaign, paces, chosen=chosen, queue=queue, last=words)
    with stop_on_signals() as stopper:
        pool.work(campaign, chosen, slots, stopper, retry=retry)
    # Also after SIGTERM: a scheduler that is told 0 would not repeat the command.
    left = [r for r in chosen if campaign.state(r).state not in (*OVER, FAILED)]
    stopped = stopper.asked and bool(left)
    return _outcome(campaign, paces, chosen=chosen, interrupted=stopped)


def _planned(
    file: str | None,
    folder: Path,
    overrides: Sequence[str],
    options: Mapping[str, Any] | None,
) -> Campaign:
    """The runs of a file, checked; or those that lie in a folder."""
    if file is None:
        return place.opened(folder)
    runs = plan(stages.read(file, options), overrides)
    check(runs)
    return Campaign(folder, runs)


def _check_needs(campaign: Campaign, run: Run) -> None:
    left = [n for n in run.needs if campaign.state(campaign.named(n)).state not in OVER]
    if left:
        more = f" and {len(left) - 1} more" if len(left) > 1 else ""
        raise UserError(
            f"{run.name} needs {left[0]}{more}, which is not done. Do that first."
        )


def _outcome(
    campaign: Campaign,
    like: logged.Logged | None,
    *,
    chosen: Sequence[Run] | None = None,
    slots: int = 0,
    queue: Mapping[str, str] | None = None,
    last: str = "",
    interrupted: bool = False,
) -> Outcome:
    """The table of runs, what is left, and every failure with the end of its log.

    queue says of a cluster's jobs which is whose, and how it stands.
    """
    chosen = campaign.runs if chosen is None else chosen
    runs = campaign.runs
    stand = {run.name: campaign.stands(run) for run in runs}
    states = {name: state for name, (state, _) in stand.items()}
    remarks = {name: words for name, (_, words) in stand.items() if words}
    costs = paces(campaign, like)
    cells = [_cells(run, states[run.name], costs[run.name]) for run in runs]
    heads: list[str] = [*HEADS]
    if queue:
        heads.append("job")
        cells = [[*c, queue.get(r.name, "-")] for c, r in zip(cells, runs, strict=True)]
    table = align([heads, *cells], left=2)
    counts = Counter(states[run.name].state for run in runs)
    words = ", ".join(f"{n} {state}" for state, n in counts.items())
    lines = [*table, f"{len(runs)} runs: {words}"]
    lines += [f"{name}: {remark}" for name, remark in remarks.items()]
    if slots:
        lines.append(_cost_words(campaign, states, costs, slots))
    failed = [run for run in chosen if states[run.name].state == FAILED]
    for run in failed:
        why = pool.cause(states[run.name])
        lines += [f"{run.name} failed ({why}); the end of its log:", campaign.tail(run)]
    if failed:
        held = sum(_blocked(campaign, run, states) for run in chosen)
        words = f" {held} runs wait for that." if held else ""
        lines.append(f"--retry runs what has failed again.{words}")
    lines += [last] if last else []
    data = {
        "runs": [
            _plain(campaign, r, states[r.name], costs[r.name])
            | {"remark": remarks.get(r.name, ""), "job": (queue or {}).get(r.name)}
            for r in runs
        ],
        **{state: counts[state] for state in STATES},
    }
    code = INTERRUPTED if interrupted else int(bool(failed))
    return Outcome(data, "\n".join(lines), code)


def _blocked(campaign: Campaign, run: Run, states: Mapping[str, State]) -> bool:
    """Whether a run waits for one that has failed, or for one that waits so."""
    if states[run.name].state != WAITING:
        return False
    needs = [campaign.named(name) for name in run.needs]
    return any(
        states[n.name].state == FAILED or _blocked(campaign, n, states) for n in needs
    )


HEADS = ("run", "state", "steps", "s/step", "left", "score")


def _cells(run: Run, state: State, pace: Pace) -> list[str]:
    steps = "-" if pace.steps is None else f"{pace.done}/{pace.steps}"
    each = cell(pace.seconds_per_step, 3)
    left = "-" if state.state in OVER or pace.left is None else duration(pace.left)
    return [run.name, state.state, steps, each, left, cell(score_of(state), 4)]


def _plain(campaign: Campaign, run: Run, state: State, pace: Pace) -> dict[str, Any]:
    return {
        "name": run.name,
        "stage": run.stage,
        "values": {**run.values, **state.values},
        "needs": list(run.needs),
        "words": campaign.words(run),
        "state": state.state,
        "attempts": state.attempts,
        "seconds": state.seconds,
        "code": state.code,
        "score": score_of(state),
        "steps": pace.steps,
        "seconds_per_step": pace.seconds_per_step,
        **({"log": campaign.tail(run)} if state.state == FAILED else {}),
    }


def score_of(state: State) -> float | None:
    """The best score of a training that has ended, or the score that a run printed."""
    score = state.result.get("score")
    return float(score) if isinstance(score, (int, float)) else None


def _cost_words(
    campaign: Campaign,
    states: Mapping[str, State],
    costs: Mapping[str, Pace],
    slots: int,
) -> str:
    todo = [r for r in campaign.runs if r.trains and states[r.name].state not in OVER]
    known = [costs[run.name].left for run in todo]
    seconds = [left for left in known if left is not None]
    if not todo:
        return "no training is left to do"
    if not seconds:
        return (
            f"what {len(todo)} trainings cost is not known before one has run here; "
            "--like RUN takes the time of another run's steps"
        )
    words = f"about {duration(sum(seconds))} of steps are left"
    if slots > 1:
        words += f", {duration(sum(seconds) / slots)} with {slots} at a time"
    unknown = len(todo) - len(seconds)
    return words + (f"; {unknown} trainings are not counted" if unknown else "")


def paces(campaign: Campaign, like: logged.Logged | None = None) -> dict[str, Pace]:
    """What each run costs: by its own steps, else by its stage's, else by like's."""
    logs = {
        run.name: logged.read(campaign.path(run))
        for run in campaign.runs
        if run.trains and logged.is_run(campaign.path(run))
    }
    stages: dict[str, list[logged.Logged]] = {}
    for run in campaign.runs:
        stages.setdefault(run.stage, []).extend(filter(None, [logs.get(run.name)]))
    found = {}
    for run in campaign.runs:
        own = logs.get(run.name)
        sources = [x for x in (own, *stages[run.stage], like) if x and run.trains]
        each = next((s for x in sources if (s := x.seconds_per_step)), None)
        steps = _told_steps(run) or next((n for x in sources if (n := x.steps)), None)
        found[run.name] = Pace(steps, own.step if own else 0, each)
    return found


def _told_steps(run: Run) -> int | None:
    """The steps that a run's own words name."""
    start = "--config.train.steps="
    told = [w.removeprefix(start) for w in run.words if w.startswith(start)]
    return int(told[-1]) if told and told[-1].isdigit() and int(told[-1]) else None
