"""The worlds that `sensorium simulate` knows by name."""

from sensorium_jax.simulation.cascade.worlds import (
    DRIFTING,
    FAST_CALCIUM,
    MANY_PIXELS,
    SPARSE,
    TINY_LAB,
)
from sensorium_jax.simulation.monkey.world import MONKEY
from sensorium_jax.simulation.retina.world import RETINA
from sensorium_jax.simulation.worlds.world import World

WORLDS: dict[str, World] = {
    "retina": RETINA,
    "monkey": MONKEY,
    "tiny_lab": TINY_LAB,
    "many_pixels": MANY_PIXELS,
    "fast_calcium": FAST_CALCIUM,
    "sparse": SPARSE,
    "drifting": DRIFTING,
}
