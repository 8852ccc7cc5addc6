"""From a config to the parts of a run: streams, model, objective, penalties, step."""

import json
import sys
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax

from sensorium_jax.axes import Batch, MouseInfo
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.stream.stream import Stream, prefetch
from sensorium_jax.errors import UserError, unknown
from sensorium_jax.models.encoder import create as create_variables
from sensorium_jax.models.rows import mouse_rows
from sensorium_jax.normalize import SCALINGS
from sensorium_jax.run import Config, length_checks
from sensorium_jax.run.objective import make_objective, make_optimizer, make_penalty
from sensorium_jax.run.warm_start import begin
from sensorium_jax.training import forward
from sensorium_jax.training.judging import make_validate
from sensorium_jax.training.losses import regularizer
from sensorium_jax.training.mesh import shard
from sensorium_jax.training.state import TrainState, create
from sensorium_jax.training.step import jit_step, make_step
from sensorium_jax.zoo import describe


class Parts(NamedTuple):
    """Everything that a training run is made of."""

    changes: dict[str, Any]  # of the preset, with what the recordings lack
    stream: Stream
    mesh: Any
    encoder: Any
    steps: int
    epoch: int  # steps of an epoch
    start: Callable[..., TrainState]  # the state before the first step, on the mesh
    step: Callable
    validate: Callable
    batches: Callable[[int], Generator[Batch, None, None]]


def open_recordings(config: Config) -> Recordings:
    """The mice of a run, whose responses are normalized in a way that scores undo."""
    scaling = config.data.response_scaling
    if scaling not in SCALINGS:
        words = "Set config.data.response_scaling."
        raise unknown("scaling of responses to train on", scaling, SCALINGS, words)
    return Recordings.open(config.data.root).select(tuple(config.data.mice) or None)


def parts(config: Config) -> Parts:
    """Build a run; reads metadata only, and compiles nothing."""
    recordings, t = open_recordings(config), config.train
    mesh = shard.make_mesh(
        config.mesh.mouse,
        config.mesh.data,
        mice=len(recordings),
        windows=t.batch // t.accumulate,
    )
    stream = Stream(
        recordings,
        tier=config.data.tier,
        batch=t.batch,
        frames=t.frames,
        stride=config.data.stride,
        epochs=config.data.epochs,
        response_scaling=config.data.response_scaling,
        padded_mice=mesh.shape["mouse"],
    )
    changes = model_changes(config)
    changes |= lacking(config.model.name, stream.info, changes)
    encoder = describe.build(
        config.model.name, stream.info, allow_outside=True, **changes
    )
    lost = getattr(encoder.core, "lost_frames", 0)
    words = f"the model loses {lost} frames and config.train.burn_in is {t.burn_in}"
    length_checks.check(stream, lost + t.burn_in, words)
    steps = t.steps or t.epochs * stream.steps_per_epoch
    update = make_optimizer(config, steps)
    ahead = forward.make_forward(
        encoder, scale=config.data.scale, compute=t.compute, frozen=t.frozen
    )
    step = make_step(
        ahead,
        make_objective(config, stream.info, stream.mice),
        make_penalty(config, encoder),
        update,
        accumulate=t.accumulate,
        ema_decay=t.ema,
        stride=getattr(encoder.core, "train_stride", 1),
        project=partial(regularizer.clip, rules=t.bounds),
    )

    def start(*, warm: bool = True) -> TrainState:
        variables = starting_variables(config, encoder, stream, warm=warm)
        state = create(variables, update, config.seed, ema=t.ema > 0)
        return jax.device_put(state, shard.state_shardings(state, mesh))

    return Parts(
        changes=changes,
        stream=stream,
        mesh=mesh,
        encoder=encoder,
        steps=steps,
        epoch=stream.steps_per_epoch,
        start=start,
        step=jit_step(step, mesh),
        validate=make_validation(config, stream, mesh, ahead),
        batches=partial(
            placed, stream, mesh, config.seed, stop=steps, depth=t.prefetch
        ),
    )


def model_changes(config: Config) -> dict[str, Any]:
    """Changes of the preset, those of the command line last."""
    changes = config.model.changes.to_dict()
    try:
        changes |= json.loads(config.model.json or "{}")
    except (json.JSONDecodeError, TypeError) as error:
        raise UserError(
            f"config.model.json is {config.model.json!r}, which is no JSON object "
            f"({error}). Expected parts of the model, such as "
            """'{"shifter": null, "core": {"layers": 2}}'."""
        ) from error
    if config.train.remat:
        changes["core"] = changes.get("core", {}) | {"remat": True}
    return changes


def lacking(name: str, info: MouseInfo, changes: dict) -> dict[str, Any]:
    """Changes that leave out what the recordings cannot feed; says so."""
    model = describe.spec(name, changes)
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
    config: Config, encoder: Any, stream: Stream, *, warm: bool
) -> Any:
    """Fresh weights, or with `warm` those of config.model.start."""
    info = stream.info
    height, width, channels = info.frame_shape
    scale = config.data.scale
    variables = create_variables(
        encoder,
        mouse_rows(info, mice=stream.mice),
        jax.random.key(config.seed),
        frame_shape=(round(height * scale), round(width * scale), channels),
        behaviors=info.behaviors,
    )
    sessions = stream.recordings.sessions
    variables = begin(config, variables, sessions) if warm else variables
    return forward.with_statistics(variables, sessions, stream.mice)


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
    config: Config, stream: Stream, mesh: Any, ahead: forward.Forward
) -> Callable:
    """The score that chooses the best weights."""
    v = config.validate
    if v.window not in ("whole", "random80"):
        raise unknown("validation window", v.window, ["whole", "random80"])
    whole = v.window == "whole"
    data = mesh.shape["data"]
    judged = Stream(
        stream.recordings,
        tier=v.tier,
        batch=-(-v.batch // data) * data,
        frames=longest(stream.recordings, v.tier) if whole else 80,
        stride=config.data.stride,
        start=0 if whole else "random",
        once=True,
        trials=min(v.trials, fewest(stream.recordings, v.tier)) or None,
        response_scaling=config.data.response_scaling,
        padded_mice=mesh.shape["mouse"],
    )

    length_checks.check(judged, v.skip, f"config.validate.skip is {v.skip}")

    def batches(step: int) -> Iterator[Batch]:
        stop = judged.steps_per_epoch
        return placed(judged, mesh, step, 0, stop=stop, depth=config.train.prefetch)

    return make_validate(ahead, batches, skip=v.skip)


def longest(recordings: Recordings, tier: str) -> int:
    """Frames of the longest trial of a tier."""
    return max(
        session.reader.length(int(row))
        for session in recordings.sessions
        for row in session.trials_of(tier)
    )


def fewest(recordings: Recordings, tier: str) -> int:
    """Trials of a tier that every mouse has."""
    return min(len(session.trials_of(tier)) for session in recordings.sessions)
