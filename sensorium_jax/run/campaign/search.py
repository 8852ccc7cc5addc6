"""Hyper-parameter search: Optuna chooses what the next run of a stage tries.

The study lies in launched/<stage>.journal of the campaign, so that several processes
and restarts share it. What a trial scores is the best of the run's validations, each of
which may end a run that does worse than others did at that step.
"""

from collections.abc import Sequence
from typing import Any

from sensorium_jax.errors import need_extra
from sensorium_jax.run import logged
from sensorium_jax.run.campaign.child import Child
from sensorium_jax.run.campaign.folder import (
    DONE,
    FAILED,
    LAUNCHED,
    OVER,
    PRUNED,
    Campaign,
    State,
)
from sensorium_jax.run.campaign.plan import Run, searched

TRIED = 5  # trials before one may be ended early


def need() -> None:
    """Refuse a search without Optuna before anything is run."""
    _optuna()


def choose(campaign: Campaign, run: Run) -> dict[str, Any]:
    """Fields that a run shall try; the same when asked again, until it is over."""
    study = _study(campaign, run)
    trial = _trial(study, run)
    if trial is None:
        ranges = {k: _range(v) for k, v in searched(run.search).items()}
        asked = study.ask(ranges)
        asked.set_user_attr("run", run.name)
        return dict(asked.params)
    return dict(trial.params)


def watch(child: Child) -> None:
    """Tell the study of new validations; a run that it gives up is asked to stop."""
    run = child.run
    if not run.search.get("prune") or child.asked:
        return
    if not logged.is_run(child.campaign.path(run)):
        return
    log = logged.read(child.campaign.path(run))
    steps, scores = log.curve("score")
    if len(steps) <= child.reported:
        return
    study = _study(child.campaign, run)
    frozen = _trial(study, run)
    if frozen is None or frozen.state.is_finished():
        return
    trial = _optuna().trial.Trial(study, frozen._trial_id)
    for step, score in zip(steps, scores, strict=True):
        if step not in frozen.intermediate_values:
            trial.report(score, step)
    child.reported = len(steps)
    if trial.should_prune():
        child.pruned = True
        child.stop()


def tell(campaign: Campaign, run: Run, state: State) -> None:
    """Tell the study how a trial ended; nothing where it only stopped."""
    if not run.search or state.state not in (*OVER, FAILED):
        return
    study, states = _study(campaign, run), _optuna().trial.TrialState
    trial = _trial(study, run)
    score = state.result.get("score")
    scored = state.state == DONE and isinstance(score, (int, float))
    if trial is None:
        return
    if not trial.state.is_finished():
        ended = states.PRUNED if state.state == PRUNED else states.FAIL
        ended = states.COMPLETE if scored else ended
        study.tell(trial.number, score if scored else None, state=ended)
    elif scored and trial.state == states.FAIL:  # it was retried
        given = {"params": trial.params, "distributions": trial.distributions}
        again = _optuna().trial.create_trial(value=score, **given)
        again.set_user_attr("run", run.name)
        study.add_trial(again)


def catch_up(campaign: Campaign, runs: Sequence[Run]) -> None:
    """Tell the studies of trials whose end a kill has kept from them."""
    for run in runs:
        if run.search:
            tell(campaign, run, campaign.state(run))


def _optuna() -> Any:
    try:
        import optuna  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise need_extra("optuna", "search", "A search of a campaign") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _study(campaign: Campaign, run: Run) -> Any:
    """The study of a run's stage, with a sampler that draws anew for every trial."""
    optuna = _optuna()
    path = campaign.folder / LAUNCHED / f"{run.stage}.journal"
    path.parent.mkdir(parents=True, exist_ok=True)
    journal = optuna.storages.journal
    storage = optuna.storages.JournalStorage(journal.JournalFileBackend(str(path)))
    # Seeded by the trial: after a restart the same seed would try the same again.
    seed = (100_003 * run.search["seed"] + run.values["trial"]) % 2**32
    pruner = optuna.pruners.MedianPruner(n_startup_trials=TRIED)
    return optuna.create_study(
        study_name=run.stage,
        storage=storage,
        load_if_exists=True,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=pruner if run.search["prune"] else optuna.pruners.NopPruner(),
    )


def _trial(study: Any, run: Run) -> Any:
    """What the study knows of a run; None before it was asked for one."""
    some = [t for t in study.trials if t.user_attrs.get("run") == run.name]
    return some[-1] if some else None


def _range(spread: Sequence[Any]) -> Any:
    optuna = _optuna()
    kind, *ends = spread
    if kind == "choice":
        return optuna.distributions.CategoricalDistribution(list(ends[0]))
    if kind == "integer":
        return optuna.distributions.IntDistribution(*ends)
    log = kind == "log_uniform"
    return optuna.distributions.FloatDistribution(*map(float, ends), log=log)
