"""A recipe's step and a model's answer at a given size, without any recordings."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from sensorium_jax.axes import Batch, MixedBatch
from sensorium_jax.models.encoder import create as create_variables
from sensorium_jax.models.rows import mouse_rows
from sensorium_jax.run import config as configs, mixed
from sensorium_jax.run.objective import make_objective, make_optimizer, make_penalty
from sensorium_jax.training.forward import make_forward, make_mixed_forward, precise
from sensorium_jax.training.state import TrainState, create
from sensorium_jax.training.step import jit_step, make_step
from sensorium_jax.training.targets.lesson import Drawn
from sensorium_jax.zoo import assemble


class Case(NamedTuple):
    """One preset: the recipe whose step it takes, and how much work that is."""

    preset: str
    recipe: str
    windows: int  # of a mouse in a step
    frames: int
    trial: int  # frames of the whole trial that inference answers, or pictures
    neurons: int = 8000
    penalties: Sequence[Any] | None = None  # where the recipe's are of another core
    mice: int = 1
    precision: str = "float32"
    remat: bool = False


class Programs(NamedTuple):
    """Functions to compile, and what they are given."""

    step: Callable  # (state, windows, tally) -> (state, tally)
    answer: Callable  # (variables, trial) -> rates
    state: Callable[[], TrainState]
    windows: Any  # a Batch of shapes, or what is drawn for a mixed one
    trial: Any


def programs(case: Case) -> Programs:
    """Build the model and its step; nothing is computed before `state` is called."""
    config = configs.load(case.recipe)
    if case.penalties is not None:
        config.train.penalties = tuple(map(tuple, case.penalties))
    inputs = assemble.original_inputs(case.preset)
    names = [f"mouse {m}" for m in range(case.mice)]
    info = assemble.on_paper(names, [case.neurons] * case.mice, inputs)
    changes: dict[str, Any] = {"core": {"remat": True}} if case.remat else {}
    encoder = assemble.build(case.preset, **changes)
    asking = assemble.asking_of(case.preset, encoder)
    forward = make_forward(encoder, asking, precision=case.precision)
    learns: Any = forward
    more: dict[str, Any] = {}
    if config.data.mixed:
        learns = make_mixed_forward(encoder, precision=case.precision)
        more = {"lesson": mixed.lessons(config, encoder, asking, None)}
    optimizer = make_optimizer(config, 1000)
    step = make_step(
        learns,
        make_objective(config, info, case.mice),
        make_penalty(config, encoder),
        optimizer,
        ema_decay=config.train.ema,
        stride=encoder.core.train_stride,
        **more,
    )

    def state() -> TrainState:
        variables = create_variables(
            encoder,
            mouse_rows(info),
            jax.random.key(0),
            frame_shape=inputs.frame_shape,
            behaviors=inputs.behaviors,
        )
        one = np.ones((case.mice, 1, 1, 1, inputs.frame_shape[2]), np.float32)
        video = {"mean": np.zeros_like(one), "std": one}
        variables = {**variables, "info": {**variables["info"], "video": video}}
        return create(variables, optimizer, 0, ema=config.train.ema > 0)

    shapes = functools.partial(_shapes, case, inputs)
    pictures = case.frames == 1
    windows = shapes(case.windows, case.frames)
    if config.data.mixed:
        one = mixed_windows(windows)
        windows = Drawn(one, one if config.train.cutmix else None)
    return Programs(
        step=jit_step(precise(step, case.precision)),
        answer=jax.jit(lambda v, x: forward(v, x, {}, train=False)[0]),
        state=state,
        windows=windows,
        trial=shapes(case.trial, 1) if pictures else shapes(1, case.trial),
    )


def _shapes(case: Case, inputs: Any, windows: int, frames: int) -> Batch:
    lead = (case.mice, windows, frames)

    def of(*shape: int, dtype: Any = np.float32) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((*lead, *shape), dtype)

    return Batch(
        of(*inputs.frame_shape),
        of(inputs.behaviors),
        of(2),
        of(case.neurons),
        of(dtype=bool),
        jax.ShapeDtypeStruct((case.mice, case.neurons), bool),
        of(dtype=np.int32),
    )


def mixed_windows(batch: Batch) -> MixedBatch:
    """As many windows, each of one mouse."""
    m, b = batch.valid_mbt.shape[:2]

    def of(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((m * b, *x.shape[2:]), x.dtype)

    return MixedBatch(
        of(batch.video_mbthwc),
        of(batch.behavior_mbtk),
        of(batch.pupil_mbt2),
        of(batch.responses_mbtn),
        of(batch.valid_mbt),
        jax.ShapeDtypeStruct((m * b, batch.neurons_mn.shape[1]), bool),
        of(batch.frame_mbt),
        jax.ShapeDtypeStruct((m * b,), np.int32),
    )


def drawn(shapes: Any, mice: int = 1) -> Any:
    """The same of random numbers, on the device."""
    rng = np.random.default_rng(0)

    def draw(of: jax.ShapeDtypeStruct) -> np.ndarray:
        if of.dtype == bool:
            return np.ones(of.shape, bool)
        if of.dtype == np.int32:  # of frames, or the mice of a mixed batch
            count = np.arange(of.shape[-1], dtype=np.int32)
            return (
                np.broadcast_to(count, of.shape) if len(of.shape) > 1 else count % mice
            )
        return np.abs(rng.standard_normal(of.shape, np.float32))

    return jax.device_put(jax.tree.map(draw, shapes))


def given(state: TrainState) -> dict[str, Any]:
    """What `answer` takes of a state."""
    return {k: getattr(state, k) for k in ("params", "batch_stats", "info")}
