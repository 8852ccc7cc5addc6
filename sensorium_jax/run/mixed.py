"""Runs on mixed batches, whose samples are each of one mouse and answered by all."""

from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax

from sensorium_jax.asking import Asking
from sensorium_jax.data.stream.stream import Stream, prefetch
from sensorium_jax.errors import UserError
from sensorium_jax.models import rows
from sensorium_jax.run import Config
from sensorium_jax.run.warm_start import check_asked, known_rows
from sensorium_jax.training import forward
from sensorium_jax.training.mesh import shard
from sensorium_jax.training.targets.lesson import Drawn, Teach, make_lessons
from sensorium_jax.zoo.load import load

ONLY_MIXED = ("cutmix", "teacher")  # of train
NEVER_MIXED = {  # of train, and what it must be
    "accumulate": 1,
    "burn_in": 0,
    "scale_loss": False,
    "mean_loss": False,
    "correlation_weight": 0.0,
}


class Teacher(NamedTuple):
    """A trained model of the same mice, in the order of the run's."""

    encoder: Any
    variables: Any


def check(config: Config) -> None:
    """Refuse options that have no meaning with or without mixed batches."""
    t = config.train
    if not config.data.mixed:
        for name in ONLY_MIXED:
            if t[name]:
                raise UserError(
                    f"config.train.{name} is {t[name]!r}, but only mixed batches have "
                    "it. Set config.data.mixed (and config.data.epochs to False)."
                )
        return
    for name, only in NEVER_MIXED.items():
        if t[name] != only:
            raise UserError(
                f"config.train.{name} is {t[name]!r}, but a mixed batch weighs and "
                f"sums its samples in one way. Set it to {only!r}."
            )
    if config.mesh.mouse > 1:
        raise UserError(
            f"config.mesh.mouse is {config.mesh.mouse}, but the samples of a mixed "
            "batch need every mouse's readout. Set it to 1: batches are cut over data."
        )
    if not 0 <= t.cutmix <= 1 or not 0 <= t.teacher_share < 1:
        raise UserError(
            f"config.train.cutmix is {t.cutmix} and teacher_share {t.teacher_share}; "
            "expected a probability, and a share below 1."
        )
    if bool(t.teacher) != (t.teacher_share > 0):
        raise UserError(
            f"config.train.teacher is {t.teacher!r} and config.train.teacher_share "
            f"{t.teacher_share}. Set teacher to the workdir of a trained run and its "
            "share above 0, or neither."
        )


class Learning(NamedTuple):
    """What a run on mixed batches has in place of its usual parts."""

    run_model: forward.Forward
    lesson: Callable
    batches: Callable[..., Generator[Drawn, None, None]]


def learning(
    config: Config, encoder: Any, asking: Asking, stream: Stream, mesh: Any
) -> Learning:
    """The forward pass, what batches are made into, and the batches themselves."""
    t, other = config.train, teacher(config, encoder, asking, stream)
    return Learning(
        forward.make_mixed_forward(encoder, precision=t.precision, frozen=t.frozen),
        lessons(config, encoder, asking, other),
        partial(placed, stream, mesh, config, other),
    )


def lessons(
    config: Config, encoder: Any, asking: Asking, teacher: Teacher | None
) -> Callable:
    """What makes a drawn batch into a lesson, inside the step."""
    t = config.train
    return make_lessons(
        encoder,
        asking,
        cutmix_probability=t.cutmix,
        teach=None if teacher is None else teaching(teacher, t.precision),
        share=t.teacher_share,
    )


def teaching(teacher: Teacher, precision: str) -> Teach:
    """The rates [M, B, T, N] of a teacher in evaluation, of every sample."""
    ask = forward.make_ask(forward.without_signals(teacher.encoder), precision, "")

    def teach(variables: Any, *seen: Any) -> jax.Array:
        rates, _ = ask(variables, seen, {}, train=False, all_readouts=True)
        return rates.swapaxes(0, 1)

    return teach


def teacher(
    config: Config, encoder: Any, asking: Asking, stream: Stream
) -> Teacher | None:
    """The teacher of a run, if it has one, for the run's mice in their order."""
    if not config.train.teacher:
        return None
    path = Path(config.train.teacher).expanduser()
    twin = load(path, allow_outside=True)
    check_asked(path, twin.asking, asking)
    flags = ("behavior_as_channels", "pupil_as_channels")
    other = [f for f in flags if getattr(twin.encoder, f) != getattr(encoder, f)]
    if other or twin.behaviors != stream.info.behaviors:
        raise UserError(
            f"The teacher in {path} is shown other signals than this model "
            f"({other[0] if other else 'behavior'}). Give both the same."
        )
    at = known_rows(dict(twin.card), stream.recordings.sessions)
    names = stream.info.names
    unknown = [n for n, row in zip(names, at, strict=True) if row is None]
    if unknown:
        raise UserError(
            f"The teacher in {path} does not know {', '.join(unknown)} with these "
            f"neurons; it was trained on {', '.join(twin.mice)}. Train it on the same "
            "recordings, or choose mice with config.data.mice."
        )
    variables = rows.select_rows(twin.variables, [r for r in at if r is not None])
    return Teacher(twin.encoder, variables)


def placed(
    stream: Stream,
    mesh: Any,
    config: Config,
    teacher: Teacher | None,
    start: int,
    *,
    stop: int,
) -> Generator[Drawn, None, None]:
    """Batches on the mesh; each process reads only what its devices hold."""
    _, samples = shard.local_box(mesh, 1, stream.batch)
    variables = None
    if teacher is not None:
        where = shard.state_shardings(teacher.variables, mesh)
        variables = jax.device_put(teacher.variables, where)

    def part(i: int, draw: int) -> Any:
        batch: Any = stream.batch_at(config.seed, i, rows=samples, draw=draw)
        return shard.put_samples(batch, mesh, stream.batch)

    def at(i: int) -> Drawn:
        partner = part(i, 1) if config.train.cutmix else None
        return Drawn(part(i, 0), partner, variables)

    return prefetch(at, start, stop, config.train.prefetch)
