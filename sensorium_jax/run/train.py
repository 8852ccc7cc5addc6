"""`sensorium train`: a recipe and a workdir in, a trained and resumable run out."""

import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import closing, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax

from sensorium_jax.checkpoints.card import model_card, versions
from sensorium_jax.checkpoints.layout import STEPS
from sensorium_jax.data.session import Session
from sensorium_jax.errors import UserError
from sensorium_jax.io import atomic, plain_json
from sensorium_jax.io.lock import only_writer
from sensorium_jax.run import (
    INTERRUPTED,
    Config,
    Outcome,
    budget,
    build,
    config as configs,
    linear_part,
    own,
    precision,
)
from sensorium_jax.run.logged import RUN, SCORED, is_card
from sensorium_jax.stop import stop_on_signals
from sensorium_jax.training.log import EVENTS, LOG, WANDB, check_sinks, open_log
from sensorium_jax.training.loop import Progress, Schedule, fit
from sensorium_jax.training.mesh import hosts
from sensorium_jax.training.saving import manager as checkpoint
from sensorium_jax.zoo.assemble import Inputs

PROFILE = "profile"
OURS = (STEPS, RUN, LOG, EVENTS, WANDB, PROFILE, SCORED)
# What may change between the parts of one run: where things lie, and what is said.
FREE = (
    "data.root",
    "mesh.",
    "train.checkpoint_every",
    "train.report_every",
    "train.keep",
    "train.sinks",
    "train.prefetch",
)
MOUSE = {
    "neurons": "the number of neurons",
    "unit_ids": "the neurons (unit ids)",
    "recording": "the recording (tiers of trials, or statistics)",
}


class Trained(NamedTuple):
    """How a run ended, or where it stands."""

    step: int
    steps: int  # of the whole run
    stopped: bool  # asked to stop before the end
    score: float | None  # the best of its validations
    best_step: int
    workdir: str

    def __str__(self) -> str:
        """One line."""
        ended = "stopped on request" if self.stopped else "done"
        score = "not yet validated"
        if self.score is not None:
            score = f"best score {self.score:.4f} (step {self.best_step})"
        more = "; the same command goes on from there" if self.stopped else ""
        where = f"{score} in {self.workdir}{more}"
        return f"{ended} at step {self.step} of {self.steps}; {where}"


def train(
    recipe: str, workdir: str, overrides: Sequence[str] = (), **options: Any
) -> Outcome:
    """The command `sensorium train`."""
    with stop_on_signals() as stopper:
        trained = train_recipe(recipe, workdir, overrides, **options)
        code = INTERRUPTED if trained.stopped and stopper.interrupted else 0
    return Outcome(trained._asdict(), str(trained), code)


def train_recipe(
    recipe: str,
    workdir: str,
    overrides: Sequence[str] = (),
    *,
    fresh: bool = False,
    profile: bool = False,
) -> Trained:
    """Train a recipe in a workdir; a workdir that holds a run continues it."""
    began = time.monotonic()
    with stop_on_signals() as stopper:
        atomic.need_place(workdir, folder=True)
        processes = hosts.connect()
        if processes > 1:
            stopper.tell = hosts.tell_again
            if stopper.asked:
                hosts.tell_again()
        config, folder = configs.load(recipe, overrides), Path(workdir)
        configs.check_types(config)
        limit = budget.seconds(config.train.budget) if config.train.budget else 0.0
        config = own.fitted(config)
        configs.check_numbers(config)
        configs.check_regexes(config)
        check_sinks(config.train.sinks)
        parts = None
        if limit and not config.train.steps:
            count = 0 if fresh else budget.kept(folder / RUN)
            if not count:
                count, parts = steps_within(limit, began, config)
            config = budget.of_steps(config, count)
        parts = parts or build.parts(config)
        card, first = run_card(recipe, config, parts), jax.process_index() == 0
        words = precision.note(jax.devices()[0], config.train.precision)
        if words and first:
            print(f"note: {words}", file=sys.stderr)
        try:
            with only_writer(folder, "run") if first else nullcontext():
                if first:
                    claim(folder, card, fresh=fresh)
                with jax.set_mesh(parts.mesh), profiler(folder, on=profile):
                    return _train(config, parts, folder, card, stopper)
        except jax.errors.JaxRuntimeError as error:
            if processes == 1:
                raise
            print(hosts.failed(error), file=sys.stderr, flush=True)
            os._exit(1)  # a clean shutdown would wait for the peer that is gone


def steps_within(limit: float, began: float, config: Config) -> tuple[int, build.Parts]:
    """How many steps a run may take to end so many seconds after it began.

    And its parts, which are compiled then, with the state before the first step.
    """
    parts = build.parts(budget.of_steps(config, budget.MANY))
    with jax.set_mesh(parts.mesh):
        state = parts.start()
        cost = budget.measure(parts, state)
    count = budget.steps(limit - (time.monotonic() - began), cost)
    if config.train.schedule == "cosine":  # its program depends on the length
        return count, build.parts(budget.of_steps(config, count))
    batches = partial(parts.batches, stop=count)
    return count, parts._replace(steps=count, start=lambda warm: state, batches=batches)


def _train(
    config: Config, parts: build.Parts, folder: Path, card: dict, stopper: Any
) -> Trained:
    t = config.train
    with checkpoint.open_manager(folder, keep=t.keep) as manager:
        begun = manager.latest_step() is not None
        state, progress = parts.start(warm=not begun), Progress()
        if begun:
            state, old = checkpoint.resume(manager, state)
            progress = Progress.from_card(old["progress"])
            warn_of_changes(card["machine"], old["machine"])
        done = int(state.step)
        plan = schedule(config, parts)
        # Closed at once, so that no reading thread outlives the run.
        reading = closing(parts.batches(done))
        sinks = t.sinks if jax.process_index() == 0 else ()  # one log for all
        words = {"sinks": sinks, "judged_by": parts.judged_by}
        with open_log(folder, plan.steps, done, **words) as log, reading as todo:
            judge = linear_part.Judge(parts.validate, log)
            result = fit(
                state,
                parts.step,
                todo,
                plan,
                manager=manager,
                card=lambda progress: {**card, "progress": progress.to_card()},
                progress=progress,
                validate=judge.score,
                settle=judge.settle,
                stopper=stopper,
                log=judge.log,
            )
    words = judge.words(parts.stream.info.names)
    if words and jax.process_index() == 0:
        print(f"note: {words}", file=sys.stderr)
    return Trained(
        step=int(result.state.step),
        steps=plan.steps,
        stopped=result.stopped,
        score=result.progress.best if result.progress.best_step >= 0 else None,
        best_step=result.progress.best_step,
        workdir=str(folder),
    )


def schedule(config: Config, parts: build.Parts) -> Schedule:
    """When the loop validates, saves and stops."""
    t, v = config.train, config.validate
    plateau = {
        "stages": v.stages,
        "patience": v.patience,
        "factor": v.factor,
        "tolerance": v.tolerance,
        "lowest": v.lowest_rate / t.rate,
    }
    return Schedule(
        steps=parts.steps,
        report_every=t.report_every,
        validate_every=v.every or parts.epoch,
        checkpoint_every=t.checkpoint_every,
        windows=parts.stream.windows_per_step,
        plateau=plateau if v.stages else None,
        restore_best=v.restore_best,
        staircase=t.schedule == "staircase",
    )


def run_card(recipe: str, config: Config, parts: build.Parts) -> dict[str, Any]:
    """What a checkpoint says of itself, so that nothing else is needed to read it."""
    sessions = parts.stream.recordings.sessions
    mice = [
        {
            "name": s.name,
            "neurons": s.neurons,
            "unit_ids": s.unit_digest,
            "recording": s.recording_digest,
        }
        for s in sessions
    ]
    part = {} if parts.linear is None else {linear_part.PART: list(parts.linear)}
    return model_card(
        config.model.name,
        Inputs.of(parts.stream.info)._asdict(),
        mice,
        **part,
        asking=parts.asking,
        changes=parts.changes,
        recipe=recipe,
        config=resolved(config, parts),
        **geometry(sessions),
        machine={
            "versions": versions(),
            "cores": len(os.sched_getaffinity(0)),
            "device": jax.devices()[0].device_kind,
            "mesh": dict(parts.mesh.shape),
            "processes": jax.process_count(),
        },
    )


def geometry(sessions: Sequence[Session]) -> dict[str, float]:
    """Frames per second and degrees per pixel, where all recordings agree on them."""
    known = {}
    for name in ("frames_per_second", "degrees_per_pixel"):
        values = {getattr(s, name) for s in sessions}
        if len(values) == 1 and None not in values:
            known[name] = float(values.pop())
    return known


def resolved(config: Config, parts: build.Parts) -> dict[str, Any]:
    """The config as plain data, with what it left to the model and the recordings."""
    plain = json.loads(config.to_json_best_effort())
    asking = parts.asking
    plain["data"] |= {"scale": asking.scale, "stride": asking.stride}
    plain["data"]["response_scaling"] = asking.units
    plain["validate"]["skip"] = parts.skip
    return plain


def claim(folder: Path, card: dict, *, fresh: bool) -> None:
    """Make the workdir this run's own, or say why it cannot be."""
    path = folder / RUN
    if fresh:
        for name in OURS:
            target = folder / name
            shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    if path.exists():
        old: Any = None
        with suppress(UserError):  # damaged; the checkpoints say what they are of
            old = plain_json.load(path, "")
        changes = run_differences(card, old) if is_card(old) else []
        if changes:
            raise UserError(
                f"{folder} holds another run, which differs in "
                + "; ".join(changes)
                + ". Repeat the command of that run to continue it, choose another "
                "--workdir, or start over with --fresh (it deletes the old run)."
            )
    atomic.write_json(path, card)


def run_differences(new: dict, old: dict) -> list[str]:
    """What makes two cards different runs."""
    was = _renamed(old["config"])
    differences = configs.differences(shared(new["config"], was), was)
    found = [d for d in differences if not d.startswith(FREE)]
    mice, before = new["mice"], old["mice"]
    names = [[m["name"] for m in them] for them in (mice, before)]
    if names[0] != names[1]:
        return [*found, f"mice: {', '.join(names[0])} was {', '.join(names[1])}"]
    for mouse, was in zip(mice, before, strict=True):
        for key, words in MOUSE.items():
            if mouse[key] != was.get(key):
                found.append(f"{words} of {mouse['name']}")
    return found


def _renamed(config: dict) -> dict:
    """The config of an older version with today's names of its fields."""
    config = {k: dict(v) if isinstance(v, dict) else v for k, v in config.items()}
    for before, now in configs.RENAMED.items():
        (part, old), (_, new) = before.split("."), now.split(".")
        if old in config.get(part, {}):
            config[part][new] = config[part].pop(old)
    return config


def shared(new: dict, old: dict) -> dict:
    """A config without the fields that an older version did not know."""
    return {
        name: {k: v for k, v in part.items() if k in old.get(name, {})}
        if isinstance(part, dict)
        else part
        for name, part in new.items()
        if name in old or not isinstance(part, dict)
    }


def warn_of_changes(new: dict, old: dict) -> None:
    """Say what keeps a resumed run from being bit-identical."""
    changes = configs.differences(new, old)
    if changes:
        print(
            "warning: continued in another setting, so the result will not be "
            f"bit-identical to an uninterrupted run: {'; '.join(changes)}",
            file=sys.stderr,
        )


def profiler(folder: Path, *, on: bool) -> Any:
    """A trace of the whole run under profile/, for TensorBoard or Perfetto."""
    return jax.profiler.trace(str(folder / PROFILE)) if on else nullcontext()
