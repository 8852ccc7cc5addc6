"""Recipe `own`: sizes, loss and windows of a model that follow from the recordings.

Everything chosen here is said in one paragraph. A field that the user set stays.
"""

import json
import math
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax.data.session import RESPONSES, Session
from sensorium_jax.rules import TRAIN, VAL
from sensorium_jax.run import Config, build

USUAL_RATE = 30.0  # frames per second where the recordings do not say
LOOK_BACK = 0.6  # seconds of film that a response may depend on
FILM_PIXELS, PICTURE_PIXELS = 1300, 2400  # of a pooled frame at most
MANY = 1500  # neurons of all mice from which on the core is twice as wide
JUDGED_FRAMES = 3000  # of all mice in one validation, about
SHORT = 0.1  # share of the training trials that may be too short for a window
LOOKED_AT = 3  # training trials of each mouse that tell counts from calcium
NOISE = 0.3  # share of the responses' size that may be below zero and still be noise
TAUGHT = 10.0  # answers per second of film while training; more teach almost the same
ANSWERS = 8  # of a window of a film
WINDOWS = 12  # of all mice in a step, 2 to 8 of each


class Facts(NamedTuple):
    """What the choices depend on."""

    frame: tuple[int, int, int]
    mice: int
    neurons: int  # of all mice
    trials: int  # training trials of all mice
    frames: int  # of all training trials
    usual: int  # frames that nearly all training trials have
    judged: int  # frames of a trial that validates, on average
    rate: float  # frames per second
    negative: bool  # whether responses lie about zero, as z-scores do
    behaviors: int


def fitted(config: Config) -> Config:
    """The config with what it left open chosen; unchanged without config.model.fit."""
    if not config.model.fit:
        return config
    facts = facts_of(build.open_recordings(config).sessions)
    config = config.copy_and_resolve_references()
    core, output = core_of(facts), output_of(facts)
    words = build.json_object(config.model.json, "config.model.json")
    with config.unlocked():
        for part, options in (("core", core), *output.items()):
            given = config.model.changes.get(part, {}), words.pop(part, {})
            # A part that the user leaves out, or names another kind of, is the user's.
            theirs = None in given or any("kind" in g for g in given)
            chosen = {} if theirs else options
            for more in given:
                chosen = None if more is None else {**(chosen or {}), **more}
            config.model.changes[part] = chosen
        config.model.json = json.dumps(words) if words else ""
    t, v = config.train, config.validate
    final = {**core, **(config.model.changes["core"] or {})}
    window = final["lags"] + (ANSWERS - 1) * final["train_stride"]
    t.frames = t.frames or min(window, facts.usual)
    windows = min(max(2, WINDOWS // facts.mice), 8)
    t.batch = t.batch or (8 * windows if facts.usual == 1 else windows)
    t.loss = t.loss or ("mse" if facts.negative else "poisson")
    v.trials = v.trials or max(2, JUDGED_FRAMES // facts.judged // facts.mice)
    v.batch = 128 if facts.judged == 1 else v.batch
    print(f"note: {told(facts, config)}", file=sys.stderr)
    return config


def facts_of(sessions: Sequence[Session]) -> Facts:
    """What the recordings are like; reads few responses and no frame."""
    lengths = [s.lengths(s.trials_of(TRAIN)) for s in sessions]
    judged = np.concatenate([s.lengths(s.trials_of(VAL)) for s in sessions])
    return Facts(
        frame=sessions[0].frame_shape,
        mice=len(sessions),
        neurons=sum(s.neurons for s in sessions),
        trials=sum(map(len, lengths)),
        frames=int(sum(x.sum() for x in lengths)),
        usual=int(min(np.quantile(x, SHORT) for x in lengths)),
        judged=max(1, round(float(judged.mean()))),
        rate=sessions[0].frames_per_second or USUAL_RATE,
        negative=any(map(_negative, sessions)),
        behaviors=max(s.behaviors for s in sessions),
    )


def _negative(session: Session) -> bool:
    rows = session.trials_of(TRAIN)
    some = np.unique(np.linspace(0, len(rows) - 1, LOOKED_AT).astype(int))
    each = [session.read(RESPONSES, int(rows[i])) for i in some]
    below = sum(float(np.nansum(np.maximum(-x, 0))) for x in each)
    return below > NOISE * sum(float(np.nansum(np.abs(x))) for x in each)


def core_of(facts: Facts) -> dict[str, Any]:
    """Pooling, kernels, lags and width that fit frames, rate and neurons."""
    height, width, _ = facts.frame
    still = facts.usual == 1
    most = PICTURE_PIXELS if still else FILM_PIXELS
    pool = min(height, width, max(1, math.ceil(math.sqrt(height * width / most))))
    side = min(height // pool, width // pool)
    lags = 1 if still else min(max(2, round(LOOK_BACK * facts.rate)), facts.usual)
    wide = 2 if facts.neurons >= MANY else 1
    return {
        "pool": pool,
        "lags": lags,
        "bases": min(6, lags),
        "train_stride": 1 if still else max(1, round(facts.rate / TAUGHT)),
        "kernels": (max(3, min(9, (side // 3) | 1)), 3),
        "contrast": 7 if side >= 14 else 0,
        "pairs": 8 * wide,
        "mixtures": 24 * wide,
    }


def output_of(facts: Facts) -> dict[str, dict[str, Any]]:
    """Rates above zero, or a straight line where responses lie about it."""
    if not facts.negative:
        return {}
    return {"output": {"kind": "none"}, "readout": {"softplus_bias": False}}


def told(facts: Facts, config: Config) -> str:
    """What was chosen and why, in one paragraph."""
    height, width, channels = facts.frame
    core, t = config.model.changes["core"] or {}, config.train
    pool, kernels = core.get("pool", 1), "x".join(map(str, core.get("kernels", ())))
    still = facts.usual == 1
    what = "pictures" if still else f"films at {facts.rate:g} frames per second"
    seen = f"frames {height} x {width}" + f" x {channels}" * (channels > 1)
    if pool > 1:
        seen += f", averaged to {height // pool} x {width // pool}"
    parts = [
        f"recipe own: {facts.mice} mice, {facts.neurons} neurons, {facts.trials} "
        f"training trials of {what}",
        seen,
    ]
    if kernels and "pairs" in core:
        parts.append(
            f"kernels {kernels}, {core['pairs']} pairs of waves, "
            f"{core['mixtures']} mixtures"
        )
    if not still and "bases" in core:
        parts.append(
            f"{core['bases']} bumps over {core['lags']} frames "
            f"({core['lags'] / facts.rate:.2f} s)"
        )
    kind = "lie about zero" if facts.negative else "are taken as rates, above zero"
    parts.append(f"responses {kind}, so the loss is {t.loss}")
    if t.linear_share:
        parts.append("at first it also learns what a linear model foretells")
    if config.model.linear:
        parts.append("a linear model takes part where validation gains by it")
    parts.append("with behavior" if facts.behaviors else "without behavior")
    parts.append(f"batches of {t.batch} windows of {t.frames} frames per mouse")
    return "; ".join(parts)
