"""`sensorium mei`: the stimulus that drives each neuron most, or least."""

from collections.abc import Sequence
from typing import Any

from sensorium_jax.insilico import units
from sensorium_jax.insilico.ascend import Climb
from sensorium_jax.insilico.constraints import Budget
from sensorium_jax.insilico.optimal import Aim, check_on, film, mei as ask
from sensorium_jax.insilico.record import Result
from sensorium_jax.insilico.subjects import Subject
from sensorium_jax.run import Outcome
from sensorium_jax.run.insilico import shown
from sensorium_jax.run.insilico.asked import (
    Asked,
    earlier,
    numbers,
    resumed,
    second,
    subject,
)

BLOCK = 64  # neurons
STARTS = 64  # natural clips that are drawn to start from


def mei(
    asked: Asked,
    *,
    least: bool = False,
    diverse: int = 1,
    starts: int = 2,
    frames: int | None = None,
    burn: int | None = None,
    count: str = "last",
    off: str | None = None,
    norm: float | None = None,
    contrast: float | None = None,
    range: Sequence[float] | None = None,
    exactly: bool = False,
    levels: str = "contrast",
    mask: str | None = None,
    around: str | None = None,
    center: str | None = None,
    start: str | None = None,
    check: str | None = None,
    **climb: Any,
) -> Outcome:
    """Optimal stimuli; check names a second model, or a simulated tree, to score on.

    levels says what norm, contrast and range are in: units of "contrast", or of the
    model's "input". start names recordings or pictures whose clips are started from.
    """
    one = subject(asked)
    aim = Aim(
        least=least,
        members=diverse,
        starts=starts,
        frames=frames,
        burn=burn,
        count=count,
        off=tuple(numbers(off, 0)) if off else (),
    )
    budget = _budget(one, norm, contrast, range, levels)._replace(exactly=exactly)
    path = Climb(**{"likeness": 0.3, **climb})
    reach = None if mask is None else units.pixels(mask, one)
    inner = None if center is None else units.pixels(center, one)
    options: dict[str, Any] = {"aim": aim._asdict(), "budget": budget._asdict()}
    options |= {"climb": path._asdict(), "mask": reach, "around": around}
    options |= {"center": inner, "check": check, "start": start}
    natural = None
    if start is not None:
        length = film(one, aim)[0][0]
        natural = shown.some(one, start, length, STARTS, asked.seed)
    other = second(check, asked, one) if check else None
    known = earlier(around, "mei") if around else None

    def some(neurons: list[int]) -> Result:
        result = ask(
            one,
            neurons,
            aim=aim,
            climb=path,
            budget=budget,
            mask=reach,
            around=known,
            center=inner,
            natural=natural,
            seed=asked.seed,
            memory=asked.bytes,
        )
        if other is None or check is None or not len(result.neurons):
            return result
        return check_on(result, one, other, check)

    return resumed("mei", asked, one, options, some, block=BLOCK)


def _budget(
    one: Subject,
    norm: float | None,
    contrast: float | None,
    limits: Sequence[float] | None,
    levels: str,
) -> Budget:
    """What was given, in units of contrast."""
    low, high = one.screen.low, one.screen.high
    unit, grey = 1.0, 0.0
    if levels == "input":
        unit, grey = one.screen.unit, one.screen.grey
    if limits is not None:
        low, high = ((x - grey) / unit for x in limits)
    if norm is None and contrast is None:
        return Budget(low=low, high=high)
    return Budget(
        norm=None if norm is None else norm / unit,
        contrast=None if contrast is None else contrast / unit,
        low=low,
        high=high,
    )
