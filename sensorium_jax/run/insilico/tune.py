"""`sensorium tune`: curves and indices of every neuron."""

from collections.abc import Sequence

from sensorium_jax.insilico import units
from sensorium_jax.insilico.tuning import CURVES, Values, tune as ask
from sensorium_jax.run import Outcome
from sensorium_jax.run.insilico.asked import Asked, resumed, subject

BLOCK = 512  # neurons; gratings over the whole frame are shown once for each block


def tune(
    asked: Asked,
    *,
    curves: Sequence[str] = CURVES,
    orientations: int = 12,
    phases: int = 4,
    frequencies: Sequence[str] = (),
    tfs: Sequence[str] = (),
    sizes: Sequence[str] = (),
    contrast: float = 1.0,
    draws: int = 1000,
) -> Outcome:
    """Tune some neurons; frequencies as 0.1cpp or 0.04cpd, sizes as 10px or 8deg."""
    one = subject(asked)
    values = Values(orientations=orientations, phases=phases, contrast=contrast)
    if frequencies:
        given = [units.per_pixel(f, one) for f in frequencies]
        values = values._replace(frequencies=given)
    if tfs:
        values = values._replace(tfs=[units.hertz(f, one) for f in tfs])
    if sizes:
        values = values._replace(sizes=[units.pixels(s, one) for s in sizes])
    options = {**values._asdict(), "curves": list(curves), "draws": draws}

    def some(neurons):
        more = {"curves": curves, "draws": draws, "seed": asked.seed}
        return ask(one, neurons, values, memory=asked.bytes, **more)

    return resumed("tune", asked, one, options, some, block=BLOCK)
