"""Every stimulus by name: a clip is a function of the seed, its kind and number."""

from functools import cache

import numpy as np

from sensorium_jax.errors import unknown
from sensorium_jax.simulation.draws import generator
from sensorium_jax.simulation.stimuli import movies, ood, pictures
from sensorium_jax.simulation.stimuli.textures import pool

MOVIE, PICTURE = "natural_movie", "picture"
OOD = {
    "natural_images": ood.natural_images,
    "drifting_gabor": ood.gabors,
    "pink_noise": ood.pink_noise,
    "random_dots": ood.random_dots,
    "gaussian_dots": ood.gaussian_dots,
}
KINDS = (MOVIE, *OOD)
HEIGHT, WIDTH = 36, 64  # of a movie
ZOOM = 4  # a picture has this many times the rows and columns of a movie


def frame_shape(*, films: bool) -> tuple[int, int, int]:
    """Rows, columns and channels of a movie's frames, or of a picture."""
    zoom = 1 if films else ZOOM
    return zoom * HEIGHT, zoom * WIDTH, 1


@cache
def _pool(seed: int) -> np.ndarray:
    return pool(generator(seed, "textures"))


def clip(seed: int, kind: str, number: int, frames: int) -> tuple[np.ndarray, dict]:
    """Clip [T, H, W] uint8 of one kind and the parameters that were drawn for it.

    A kind is one of KINDS (36 x 64) or "picture" (one frame of 144 x 256).
    """
    rng = generator(seed, "clip", kind, number)
    if kind == PICTURE:
        return pictures.picture(rng, *frame_shape(films=False)[:2])[None], {}
    if kind == MOVIE:
        return movies.movie(rng, _pool(seed), frames, HEIGHT, WIDTH)
    if kind not in OOD:
        raise unknown("stimulus", kind, (*KINDS, PICTURE))
    return OOD[kind](rng, frames, HEIGHT, WIDTH)
