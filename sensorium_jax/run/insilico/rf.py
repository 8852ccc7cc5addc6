"""`sensorium rf`: receptive fields of every neuron, with fits."""

from sensorium_jax.insilico.fields import rf as ask
from sensorium_jax.run import Outcome
from sensorium_jax.run.insilico.asked import Asked, resumed, subject

BLOCK = {"gradient": 64, "noise": 512}  # neurons; noise is shown once for each block


def rf(
    asked: Asked,
    *,
    method: str = "gradient",
    clips: int | None = None,
    exponent: float = 1.0,
) -> Outcome:
    """Receptive fields from gradients, or from responses to noise."""
    one = subject(asked)
    options = {"method": method, "clips": clips, "exponent": exponent}

    def some(neurons):
        return ask(one, neurons, seed=asked.seed, memory=asked.bytes, **options)

    return resumed("rf", asked, one, options, some, block=BLOCK[method])
