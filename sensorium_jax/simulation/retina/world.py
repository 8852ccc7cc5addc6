"""The world `retina`: minutes of flickering checkers and of natural films."""

import numpy as np

from sensorium_jax.rules import FILMS, TRAIN
from sensorium_jax.simulation.draws import generator
from sensorium_jax.simulation.retina import cells as retina
from sensorium_jax.simulation.worlds import answers, leaves, noise
from sensorium_jax.simulation.worlds.world import (
    CALIBRATION,
    TEST,
    VALIDATION,
    Population,
    Shows,
    World,
    scaled_to,
)

HEIGHT, WIDTH, NEURONS = 20, 18, 60
NOISE, NATURAL = "checkers", "natural_film"


def clip(seed: int, kind: str, number: int, frames: int) -> np.ndarray:
    """One film [T, H, W, 1]."""
    rng = generator(seed, "retina", kind, number)
    if kind == NOISE:
        video = noise.checkers(rng, frames, HEIGHT, WIDTH, hold=2)
    else:
        pool = leaves.scenes(seed, 90, 90, 1.0)
        video = leaves.film(rng, pool, frames, HEIGHT, WIDTH, jump=25, drift=0.25)
    return video[..., None]


def population(seed: int, mouse: int) -> Population:
    """The cells of one retina, firing as often as they should."""
    drawn = retina.draw(seed, mouse, NEURONS, HEIGHT, WIDTH)
    films = [clip(seed, k, CALIBRATION, 600)[..., 0] for k in (NOISE, NATURAL)]
    rng = generator(seed, "retina", "rates", mouse)
    wanted = np.clip(rng.lognormal(np.log(0.13), 0.6, NEURONS), 0.03, 0.8)
    for _ in range(3):  # the most that a cell can fire bends what it is scaled to
        found = np.concatenate([retina.rates(drawn, f) for f in films])
        drawn = drawn._replace(gain=drawn.gain * scaled_to(wanted, found))
    facts = {"kind": drawn.kind, "center_n2": drawn.center_n2, "rate": wanted}
    return Population(
        facts,
        lambda video, _: retina.rates(drawn, video[..., 0]),
        lambda rng, rates, _: retina.spikes(rng, rates),
        answer=lambda: answers.retina(drawn, np.exp(-1 / retina.MEMORY), retina.MOST),
    )


RETINA = World(
    kind=FILMS,
    frame_shape=(HEIGHT, WIDTH, 1),
    hertz=30.0,
    mice=1,
    neurons=NEURONS,
    shows=(
        Shows(TRAIN, NOISE, 60, 1, 600),
        Shows(TRAIN, NATURAL, 20, 1, 600),
        Shows(VALIDATION, NOISE, 2, 4, 600),
        Shows(VALIDATION, NATURAL, 1, 4, 600),
        Shows(TEST, NOISE, 2, 10, 600),
        Shows(TEST, NATURAL, 2, 10, 600),
    ),
    clip=clip,
    population=population,
)
