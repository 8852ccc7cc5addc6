"""What pages are made from, without a run: numbers at random, names as given."""

import numpy as np

from sensorium_jax.report.contents import (
    Clip,
    Excited,
    Field,
    Neuron,
    Placed,
    Run,
    Time,
    Trace,
)
from sensorium_jax.scoring.tables import Report, Scores, TierScores

HOSTILE = (  # names of mice that a page must not take for its own words
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "a'b&amp;$\\frac{x}$ </style></svg> `${1}`",
    "\u202eevil\x1b[31m\udcff" + "x" * 300,
)
TIME = Time(30.0, "seconds")


def scores(rng, **more) -> Scores:
    """Some numbers that may stand beside each other."""
    null, x, top = np.sort(rng.uniform(0.05, 0.6, 3)).tolist()
    between = (x - 0.03, x + 0.04)
    known = dict.fromkeys(Scores._fields)
    known |= {
        "single_trial": x,
        "single_trial_interval": between,
        "single_trial_over_mice": x,
        "single_trial_over_mice_interval": between,
        "single_trial_median": x,
        "null": null,
        "null_interval": (null - 0.01, null + 0.01),
        "linear": (null + x) / 2,
        "linear_interval": (null, x),
        "over_linear": 0.1,
        "over_linear_interval": (0.05, 0.15),
        "ceiling": top,
        "ceiling_from": "truth",
        "fraction_of_ceiling": x / top,
        "fraction_of_ceiling_interval": (between[0] / top, between[1] / top),
        "neurons": 7,
        "undefined": 0,
        "trials": 5,
        "stimuli_shown": 3,
        "feve_mice": 0,
    }
    return Scores(**{**known, **more})


def run(mice=HOSTILE, *, name="run", time=TIME, seed=0) -> Run:
    """A whole run of mice and stimuli by such names."""
    rng = np.random.default_rng(seed)
    rows = {mouse: scores(rng) for mouse in mice}
    kinds = {mouse: scores(rng, ceiling=None) for mouse in mice[:3]}
    whole = scores(rng)
    tier = TierScores(whole, 0.5, 0.1, 0.1, rows, kinds, [])
    neurons = [
        Neuron("best", mouse, 9_000_000 + i, 0.4) for i, mouse in enumerate(mice)
    ]
    t, n = (60, 12) if time.unit != "pictures" else (20, 12)
    x, y = rng.gamma(1, 1, (2, t, n))
    return Run(
        name=name,
        data=f"data/{mice[0]}",
        card={
            "model": "demo",
            "recipe": mice[0],
            "config": {"data": {"root": mice[0], "mice": list(mice)}, "seed": 1},
            "versions": {"jax": "0.10", "sensorium-jax": mice[1]},
            "machine": {"device": mice[0]},
            "mice": [{"name": mouse, "neurons": n} for mouse in mice],
        },
        scores=Report({"oracle": tier, mice[0]: tier}),
        tier="oracle",
        together=kinds,
        log=[
            {"step": 10.0 * i, "loss": 1 / (i + 1), "data_wait": 0.1, "score": 0.1 * i}
            for i in range(4)
        ],
        time=time,
        traces=[Trace(u, x[:, i], y[:, i], (0, 25)) for i, u in enumerate(neurons)],
        clip=Clip(mice[0], rng.integers(0, 256, (t, 9, 16), np.uint8), x, y, (1,) * n),
        placed=[
            Placed(m, 400, np.arange(n), rng.uniform(-1, 1, (n, 2)), places)
            for m, places in zip(
                mice[:2], (None, 100 * rng.random((n, 3))), strict=True
            )
        ],
        fields=[Field(u, rng.normal(size=(9, 16)), (3.0, 4.0)) for u in neurons],
        excited=[Excited(u, rng.normal(size=(9, 16)), 18, 2.5, 0.1) for u in neurons],
        notes=[f"nothing of {mice[0]}"],
    )
