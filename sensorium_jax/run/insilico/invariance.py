"""`sensorium invariance`: a ring of stimuli that drive a neuron alike."""

from sensorium_jax.insilico.ascend import Climb
from sensorium_jax.insilico.constraints import Budget
from sensorium_jax.insilico.invariances import invariance as ask
from sensorium_jax.insilico.optimal import Aim
from sensorium_jax.run import Outcome
from sensorium_jax.run.insilico.asked import Asked, resumed, subject

BLOCK = 64  # neurons


def invariance(
    asked: Asked,
    *,
    points: int = 8,
    steps: int = 100,
    starts: int = 2,
    contrast: float = 0.2,
    frames: int | None = None,
    count: str = "last",
) -> Outcome:
    """Rings of stimuli of this contrast, in SDs around grey."""
    one = subject(asked)
    aim = Aim(starts=starts, frames=frames, count=count)
    low, high = one.screen.low, one.screen.high
    budget = Budget(contrast=contrast, low=low, high=high)
    options = {"aim": aim._asdict(), "budget": budget._asdict()}
    options |= {"points": points, "steps": steps}

    def some(neurons):
        return ask(
            one,
            neurons,
            aim=aim,
            climb=Climb(steps=steps),
            budget=budget,
            points=points,
            seed=asked.seed,
            memory=asked.bytes,
        )

    return resumed("invariance", asked, one, options, some, block=BLOCK)
