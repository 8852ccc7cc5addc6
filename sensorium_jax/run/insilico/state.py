"""`sensorium state`: what a signal of the animal does to gain and tuning."""

from collections.abc import Sequence

from sensorium_jax.insilico.states import state as ask
from sensorium_jax.insilico.tuning import Values
from sensorium_jax.run import Outcome
from sensorium_jax.run.insilico.asked import Asked, resumed, subject

BLOCK = 2048  # neurons; gratings are shown once for each block


def state(
    asked: Asked,
    *,
    signal: str,
    levels: Sequence[float],
    orientations: int = 8,
    phases: int = 2,
) -> Outcome:
    """Rates to gratings at several levels of one signal."""
    one = subject(asked)
    values = Values(orientations=orientations, phases=phases)
    options = {"signal": signal, "levels": list(levels), **values._asdict()}

    def some(neurons):
        more = {"seed": asked.seed, "memory": asked.bytes}
        return ask(one, neurons, signal=signal, levels=levels, values=values, **more)

    return resumed("state", asked, one, options, some, block=BLOCK)
