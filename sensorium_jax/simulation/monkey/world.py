"""The world `monkey`: three hundred pictures, twenty to forty times each."""

import numpy as np

from sensorium_jax.rules import PICTURES, TRAIN
from sensorium_jax.simulation.draws import generator
from sensorium_jax.simulation.monkey import cells as monkey
from sensorium_jax.simulation.worlds import answers, leaves
from sensorium_jax.simulation.worlds.world import (
    CALIBRATION,
    TEST,
    VALIDATION,
    Population,
    Shows,
    World,
    scaled_to,
)

SIDE, NEURONS, PICTURE = 64, 70, "leaves"


def clip(seed: int, kind: str, number: int, frames: int) -> np.ndarray:
    """One picture [1, H, W, 1]."""
    del frames
    rng = generator(seed, "monkey", kind, number)
    return leaves.picture(rng, SIDE, SIDE)[None, ..., None]


def population(seed: int, mouse: int) -> Population:
    """The cells, firing as often as they should."""
    drawn = monkey.draw(seed, mouse, NEURONS, SIDE)
    some = [clip(seed, PICTURE, CALIBRATION + i, 1)[0, ..., 0] for i in range(50)]
    evoked = np.stack([monkey.response(drawn, picture) for picture in some])
    rng = generator(seed, "monkey", "rates", mouse)
    wanted = np.clip(rng.lognormal(np.log(1.2), 0.7, NEURONS), 0.2, 8)
    drawn = drawn._replace(gain=scaled_to(wanted, evoked))
    facts = {
        "kind": drawn.kind,
        "center_n2": drawn.center_n2,
        "wavelength": drawn.wavelength,
        "complexity": drawn.complexity,
    }
    return Population(
        facts,
        lambda video, _: monkey.rates(drawn, video[0, ..., 0]),
        lambda rng, rates, _: monkey.counts(rng, drawn, rates),
        answer=lambda: answers.monkey(drawn),
    )


MONKEY = World(
    kind=PICTURES,
    frame_shape=(SIDE, SIDE, 1),
    hertz=30.0,
    mice=1,
    neurons=NEURONS,
    shows=(
        Shows(TRAIN, PICTURE, 230, 20, 1),
        Shows(VALIDATION, PICTURE, 30, 20, 1),
        Shows(TEST, PICTURE, 40, 40, 1),
    ),
    clip=clip,
    population=population,
)
