"""From a config to the parts of a run: streams, model, objective, penalties, step."""

import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import numpy as np

from sensorium_jax import normalize
from sensorium_jax.asking import Asking
from sensorium_jax.axes import Batch, MouseInfo
from sensorium_jax.data import statistics
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.session import tier_named
from sensorium_jax.data.stimuli import folds
from sensorium_jax.data.stream import pools
from sensorium_jax.data.stream.stream import Stream, prefetch
from sensorium_jax.errors import UsageError, UserError, unknown
from sensorium_jax.io import plain_json
from sensorium_jax.maps.reduce import Plan
from sensorium_jax.models.encoder import create as create_variables
from sensorium_jax.models.rows import mouse_rows
from sensorium_jax.normalize import seen_shape
from sensorium_jax.rules import OWN
from sensorium_jax.run import (
    Config,
    guided,
    length_checks,
    linear_part,
    mixed,
    positions,
)
from sensorium_jax.run.objective import make_objective, make_optimizer, make_penalty
from sensorium_jax.run.warm_start import begin
from sensorium_jax.training import forward
from sensorium_jax.training.judging import Judged, cut, make_validate, stacked_factors
from sensorium_jax.training.losses import regularizer
from sensorium_jax.training.mesh import shard
from sensorium_jax.training.state import TrainState, create
from sensorium_jax.training.step import jit_step, make_step
from sensorium_jax.zoo import fitting
from sensorium_jax.zoo.assemble import asking_of, build, spec

Rows = dict[str, np.ndarray] | None  # of the table of trials, by mouse


class Parts(NamedTuple):
    """Everything that a training run is made of."""

    changes: dict[str, Any]  # of the preset, with what the recordings lack
    asking: Asking
    stream: Stream
    mesh: Any
    encoder: Any
    steps: int
    epoch: int  # steps of an epoch
    start: Callable[..., TrainState]  # the state before the first step, on the mesh
    step: Callable
    run_model: forward.Forward
    objective: Callable
    validate: Callable
    judged_by: str  # what the validation's number is, in a word or two
    skip: int  # first frames of a trial that are not judged
    batches: Callable[..., Generator[Batch, None, None]]
    linear: Plan | None  # how the linear model sees frames that takes part


def parts(config: Config) -> Parts:
    """Build a run; reads metadata only, and compiles nothing."""
    mixed.check(config)
    recordings, t = open_recordings(config), config.train
    mesh = shard.make_mesh(
        1 if config.data.mixed else config.mesh.mouse,
        config.mesh.data,
        mice=len(recordings),
        windows=t.batch // t.accumulate,
    )
    changes, asked = model_changes(config)
    info = recordings.mouse_info()
    changes |= lacking(config.model.name, info, changes)
    readout = spec(config.model.name, changes)["readout"] or {}
    changes |= positions.free(config.readout.start, readout)
    encoder = build(config.model.name, info, allow_outside=True, **changes)
    asking = how_asked(config, encoder, asked)
    seen = seen_shape(info.frame_shape, asking.scale, asking.canvas)
    fitting.check(encoder.core, seen[:2], recorded=info.frame_shape[:2])
    shown, held = folded(config, recordings)
    stream = Stream(
        recordings,
        tier=config.data.tier,
        trials=some_trials(config, recordings, shown),
        batch=t.batch,
        frames=t.frames,
        stride=asking.stride,
        mixed=config.data.mixed,
        epochs=config.data.epochs,
        response_scaling=asking.units,
        inputs=asking.inputs,
        clip_responses=config.data.clip_responses,
        drop_short=config.data.mixed,
        padded_mice=mesh.shape["mouse"],
    )
    lost = encoder.core.lost_frames
    words = f"the model loses {lost} frames and config.train.burn_in is {t.burn_in}"
    length_checks.check(stream, lost + t.burn_in, words)
    steps = t.steps or t.epochs * stream.steps_per_epoch
    update = make_optimizer(config, steps)
    run_model = forward.make_forward(
        encoder, asking, precision=t.precision, frozen=t.frozen
    )
    objective = make_objective(config, stream.info, stream.mice)
    batches: Callable[..., Any] = partial(
        placed, stream, mesh, config.seed, depth=t.prefetch
    )
    fitted = cache(partial(guided.guide, stream, mesh))
    batches = guided.batches(batches, config, stream, asking, fitted)
    linear = linear_part.plan_for(config, stream, asking)
    learns, more = run_model, {}
    if config.data.mixed:
        learning = mixed.learning(config, encoder, asking, stream, mesh)
        learns, batches = learning.run_model, learning.batches
        more = {"lesson": learning.lesson}
    step = make_step(
        learns,
        objective,
        make_penalty(config, encoder),
        update,
        accumulate=t.accumulate,
        ema_decay=t.ema,
        stride=encoder.core.train_stride,
        project=partial(regularizer.clip, rules=t.bounds),
        **more,
    )

    def start(*, warm: bool = True) -> TrainState:
        variables = starting_variables(config, encoder, asking, stream, warm=warm)
        if linear is not None:
            variables = linear_part.added(variables, fitted())
        state = create(variables, update, config.seed, ema=t.ema > 0)
        return jax.device_put(state, shard.state_shardings(state, mesh))

    validate, judged_by = make_validation(
        config, stream, mesh, run_model, asking, lost, held, linear
    )
    return Parts(
        changes=changes,
        asking=asking,
        stream=stream,
        mesh=mesh,
        encoder=encoder,
        steps=steps,
        epoch=stream.steps_per_epoch,
        start=start,
        step=jit_step(forward.precise(step, t.precision), mesh),
        run_model=run_model,
        objective=objective,
        validate=validate,
        judged_by=judged_by,
        skip=prescribed_skip(config, recordings),
        batches=partial(batches, stop=steps),
        linear=linear,
    )


def folded(config: Config, recordings: Recordings) -> tuple[Rows, Rows]:
    """Rows that are trained on and rows that judge, by mouse; None where tiers say."""
    d, tests = config.data, config.data.fold_tests
    if d.fold < 0:
        return None, None
    return folds.split_fold(recordings.sessions, d.fold, tests=tests)


def open_recordings(config: Config) -> Recordings:
    """The mice of a run."""
    recordings = Recordings.open(config.data.root, config.data.rules or None)
    return recordings.select(tuple(config.data.mice) or None)


def some_trials(config: Config, recordings: Recordings, shown: Rows) -> Rows:
    """Rows that a share of config.data.trials leaves of those shown, or of a tier.

    A smaller share is a part of every larger one. Statistics and mean rates are those
    of the recording, which come from all of its training trials.
    """
    share = config.data.trials
    if share == 1:
        return shown
    if not 0 < share < 1 or config.readout.start != "official":
        raise UsageError(
            f"config.data.trials is {share} and config.readout.start "
            f"{config.readout.start!r}. Expected a share above 0 and at most 1, and "
            "with less than 1 the start 'official': others look at all training trials."
        )
    if shown is None:
        tier = tier_named(config.data.tier, recordings.sessions)
        shown = {s.name: s.trials_of(tier) for s in recordings.sessions}
    return {name: a_part(rows, share) for name, rows in shown.items()}


def a_part(rows: np.ndarray, share: float) -> np.ndarray:
    """A share of some trials, at least one, the first of a fixed random order."""
    order = np.random.default_rng(0).permutation(len(rows))
    return np.sort(rows[order[: max(1, round(share * len(rows)))]])


def model_changes(config: Config) -> tuple[dict[str, Any], dict[str, Any]]:
    """Changes of the preset's parts and of how it is asked, the command line's last."""
    changes = config.model.changes.to_dict()
    changes |= json_object(config.model.json, "config.model.json")
    asked = changes.pop("asking", {})
    if config.train.remat:
        changes["core"] = changes.get("core", {}) | {"remat": True}
    return changes, asked


def json_object(words: str, where: str) -> dict[str, Any]:
    """Changes of a model that were written as JSON; none where nothing was written."""
    try:
        return {} | plain_json.loads((words or "{}").encode(), where, "")
    except (UserError, TypeError) as error:
        raise UserError(
            f"{where} is {words!r}, which is no JSON object ({error}). Expected parts "
            """of the model, such as '{"shifter": null, "core": {"layers": 2}}'."""
        ) from error


def how_asked(config: Config, encoder: Any, changes: dict[str, Any]) -> Asking:
    """How the model is asked: as its preset says, with the changes of the config.

    A model of windows is asked by windows as long as those that it learns from.
    """
    given = {"frames": config.train.frames, **changes}
    for field, value in (
        ("scale", config.data.scale),
        ("stride", config.data.stride),
        ("units", config.data.response_scaling),
    ):
        given |= {field: value} if value else {}
    asking = asking_of(config.model.name, encoder, **given)
    return asking if asking.mode == "window" else asking._replace(frames=0)


def lacking(name: str, info: MouseInfo, changes: dict) -> dict[str, Any]:
    """Changes that leave out what the recordings cannot feed; says so."""
    model = spec(name, changes)
    found: dict[str, Any] = {}
    if model["shifter"] and not info.has_pupil:
        found["shifter"] = None
    if model["modulator"] and not info.behaviors:
        found["modulator"] = None
    if model["readout"].get("predictor") and not info.has_coordinates:
        found["readout.predictor"] = None
    if found:
        words = ", ".join(found)
        print(f"note: the recordings do not feed {words}; left out", file=sys.stderr)
    return found


def starting_variables(
    config: Config, encoder: Any, asking: Asking, stream: Stream, *, warm: bool
) -> Any:
    """Fresh weights; with `warm` readouts at config.readout.start, and those of
    config.model.start.
    """
    info = stream.info
    variables = create_variables(
        encoder,
        mouse_rows(info, mice=stream.mice),
        jax.random.key(config.seed),
        frame_shape=seen_shape(info.frame_shape, asking.scale, asking.canvas),
        behaviors=info.behaviors,
    )
    sessions = stream.recordings.sessions
    if warm:
        how = config.readout.start
        variables = positions.begin(how, encoder, asking, variables, sessions)
        variables = begin(config, asking, variables, sessions)
    return forward.with_statistics(variables, sessions, stream.mice, asking.inputs)


def placed(
    stream: Stream, mesh: Any, seed: int, start: int, *, stop: int, depth: int
) -> Generator[Batch, None, None]:
    """Batches on the mesh; each process reads only what its devices hold."""
    mice, rows = shard.local_box(mesh, stream.mice, stream.batch)

    def at(i: int) -> Batch:
        batch: Any = stream.batch_at(seed, i, mice, rows)
        return shard.put_batch(batch, mesh, stream.mice, stream.batch)

    return prefetch(at, start, stop, depth)


def make_validation(
    config: Config,
    stream: Stream,
    mesh: Any,
    run_model: forward.Forward,
    asking: Asking,
    lost: int,
    held: Rows,
    linear: Plan | None,
) -> tuple[Callable, str]:
    """The score that chooses the best weights, and what it is in words."""
    v, recordings = config.validate, stream.recordings
    judges = held or tier_rows(recordings, validation_tier(config, recordings))
    if v.window not in ("whole", "random80"):
        raise unknown("validation window", v.window, ["whole", "random80"])
    whole, data = v.window == "whole", mesh.shape["data"]
    fewest = min(map(len, judges.values()))
    limit = v.trials if v.trials < fewest else 0
    if v.hop:
        asking = asking._replace(hop=v.hop)
    judged = Stream(
        recordings,
        trials=pools.some(judges, limit) if limit else judges,
        batch=-(-v.batch // data) * data,
        frames=longest(recordings, judges) if whole else 80,
        stride=1 if whole else asking.stride,
        start=0 if whole else "random",
        once=True,
        response_scaling=normalize.JUDGED,
        inputs=asking.inputs,
        padded_mice=mesh.shape["mouse"],
    )
    skip = prescribed_skip(config, recordings)
    first = max(skip, lost * asking.stride if whole else lost)
    words = f"the first {skip} frames of a trial are not judged (config.validate.skip)"
    length_checks.check(judged, first, f"{words} and the model loses {lost}")
    mice, rows = shard.local_box(mesh, judged.mice, judged.batch)
    factor_mtn = None
    if asking.units != normalize.JUDGED:
        factors = [statistics.to_judged(s, asking.units) for s in recordings.sessions]
        rows_mtn = stacked_factors(factors, judged.mice)
        factor_mtn = shard.put_rows(rows_mtn[mice], mesh, judged.mice)

    def at(step: int, i: int) -> Judged:
        batch: Any = judged.batch_at(step, i, mice, rows)
        windows = cut(asking, batch, lost) if whole else None
        sizes = mesh, judged.mice, judged.batch
        put = partial(jax.tree.map, lambda x: shard.put_windows(x, *sizes))
        return Judged(shard.put_batch(batch, *sizes), put(windows))

    def batches(step: int) -> Iterator[Judged]:
        return prefetch(
            partial(at, step), 0, judged.steps_per_epoch, config.train.prefetch
        )

    other = None if linear is None else forward.make_linear(linear, lost)
    validate = make_validate(
        run_model, batches, skip=skip, factor_mtn=factor_mtn, linear=other
    )
    differs = [] if linear is None else ["the network alone"]
    differs += [] if whole else ["crops"]
    differs += [f"{limit} trials"] if limit else []
    prescribed = all(s.rules.skip == skip for s in recordings.sessions)
    differs += [] if prescribed else [f"skip {skip}"]
    differs += [f"fold {config.data.fold}"] if held else []
    differs += [f"hop {v.hop}"] if v.hop else []
    return validate, f"val ({', '.join(differs)})" if differs else "val"


def validation_tier(config: Config, recordings: Recordings) -> str:
    """The tier that judges every mouse; said where nobody prescribed it."""
    sessions = recordings.sessions
    tier = tier_named(config.validate.tier, sessions)
    if tier != config.validate.tier and any(s.rules.name == OWN for s in sessions):
        count = sum(len(s.trials_of(tier)) for s in sessions)
        print(f"note: tier '{tier}' validates, {count} trials in all", file=sys.stderr)
    return tier


def prescribed_skip(config: Config, recordings: Recordings) -> int:
    """First frames of a trial that are not judged: as told, else as the rules say."""
    if config.validate.skip >= 0:
        return config.validate.skip
    return max(session.rules.skip for session in recordings.sessions)


def tier_rows(recordings: Recordings, tier: str) -> dict[str, np.ndarray]:
    """Rows of a tier by mouse."""
    return {s.name: s.trials_of(tier) for s in recordings.sessions}


def longest(recordings: Recordings, judges: Mapping[str, np.ndarray]) -> int:
    """Frames of the longest of the trials that judge."""
    sessions = recordings.sessions
    return max(int(s.lengths(judges[s.name]).max()) for s in sessions)
