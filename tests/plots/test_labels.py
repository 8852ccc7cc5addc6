"""No words of a figure are cut off or lie over others."""

from typing import NamedTuple

import numpy as np
import pytest

from sensorium_jax.plots import curves, recordings, scores, simulated
from support import reports
from support.labels import overlaps

RNG = np.random.default_rng(0)
KINDS = ("natural_movie", "drifting_gabor", "random_dots", "pink_noise", "dots")


def noise(*shape):
    return RNG.uniform(0, 255, shape)


def rows(names, **more):
    return {name: reports.scores(RNG, **more) for name in names}


class Timed(NamedTuple):
    seconds: float
    single_trial: float
    null: float


def page():
    return recordings.page(
        recordings.Shown(
            title="a mouse with a name: 48 trials, 24 neurons, frames 9x16x1",
            rate=30.0,
            unit="seconds",
            clips={f"trial {k}\nlive_test_main": noise(3, 9, 16) for k in range(2)},
            responses_tn=noise(300, 24),
            change_t=noise(300),
            behavior_tk=noise(300, 2),
            pupil_t2=noise(300, 2),
            starts=(0, 100, 200),
            repeats_rtn=noise(4, 100, 4),
            reliability_n=noise(24) / 255,
        )
    )


FIGURES = {
    "stimuli": lambda: simulated.movie_strips(
        {k: noise(40, 9, 16) for k in KINDS}, frames=2
    ),
    "trial": lambda: simulated.trial(
        noise(90, 30), noise(90, 30), noise(90), noise(90) / 40
    ),
    "ceilings": lambda: simulated.ceilings(*RNG.uniform(0.1, 0.8, (2, 200))),
    "maps": lambda: simulated.maps(
        noise(80, 3), noise(80, 2) / [6, 10], np.array(KINDS * 16)
    ),
    "fields": lambda: simulated.fields(noise(5, 9, 16), noise(5, 9, 16), KINDS),
    "bars": lambda: scores.bars(rows(("all", "mouse dynamic90001", *KINDS))),
    "one bar": lambda: scores.bars(rows([""])),
    "kinds": lambda: scores.kinds({m: rows(KINDS) for m in ("own", "factorized2023")}),
    "compute": lambda: scores.compute(
        {
            f"runs/own-{k}": (s, Timed(s, 0.3, 0.1))
            for k, s in enumerate((100, 104, 110, 4000.0))
        }
    ),
    "learning": lambda: curves.learning(
        {"runs/own": {"loss": ([1, 2], [3, 2]), "score": ([2], [0.1])}}
    ),
    "page": page,
}


@pytest.mark.parametrize("name", FIGURES)
def test_words_of_a_figure_can_be_read(name):
    figure = FIGURES[name]()
    figure.draw_without_rendering()
    assert overlaps(figure) == []
