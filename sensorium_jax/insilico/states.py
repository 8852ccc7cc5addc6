"""What running, or another signal of the animal, does to gain and tuning."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sensorium_jax.errors import UserError
from sensorium_jax.insilico import batches, record, tuning
from sensorium_jax.insilico.record import Result
from sensorium_jax.insilico.subjects import Subject, counted, split
from sensorium_jax.insilico.tuning import Values

FLAT = "its rate is flat: no grating changes it"


def state(
    subject: Subject,
    neurons: Sequence[int] | None = None,
    *,
    signal: int | str = 0,
    levels: Sequence[float],
    values: Values | None = None,
    seed: int = 0,
    memory: float | None = None,
    tell: Callable[[int], None] | None = None,
) -> Result:
    """Rates to gratings at several levels of one signal, and how they differ.

    signal is the number of a behavior signal, or "pupil_x", "pupil_y"; levels are in
    the twin's own units, and the first is what the others are compared with. At every
    level gain and offset are those of a line through the rates at the first.
    """
    values = tuning.sized(subject, values or Values(orientations=8, phases=2))
    base = _levels(subject, signal, levels)
    asked, failed = split(subject, neurons)
    some, (frame, count) = subject.only(asked), tuning.film(subject, values.seconds)
    grid = tuning.gratings(subject, values)
    rows = {k: np.tile(v, len(levels)) for k, v in grid.parameters().items()}
    states = [np.repeat(np.asarray(x, np.float32), grid.count, 0) for x in base]

    def one(both):
        parameters, behavior, pupil = both
        there = replace(some, behavior_k=behavior, pupil_2=pupil)
        video = tuning.drawn(subject, grid.kind, frame, parameters)
        return counted(there.rates(video), count)

    rates = batches.every(one, (rows, *states), memory=memory, tell=tell)
    rates_nls = rates.T.reshape(len(asked), len(levels), grid.count).astype(np.float64)
    gain_nl, offset_nl = lines(rates_nls)
    by_angle = rates_nls.reshape(len(asked), len(levels), grid.shape[0], -1).mean(-1)
    angles = np.asarray(grid.values["orientation"])
    films = subject.films
    each = [
        tuning.selectivity(by_angle[:, i], angles, films=films)
        for i in range(len(levels))
    ]
    arrays: dict[str, np.ndarray] = {
        "gain": gain_nl,
        "offset": offset_nl,
        "mean_curve": rates_nls.mean(2),
        "osi_by_level": np.stack([s[0] for s in each], 1),
        "orientation_by_level": np.stack([s[2][0] for s in each], 1),
        "log_gain_slope": slope(gain_nl, np.asarray(levels, float)),
        "explained": _explained(rates_nls, gain_nl, offset_nl),
    }
    about: dict[str, Any] = {**subject.about(), "signal": str(signal), "seed": seed}
    shared = {"mean": np.asarray(levels, float), "levels": np.asarray(levels, float)}
    result = Result("state", about, np.array(asked), arrays, shared, failed)
    return record.keep(result, np.ptp(rates_nls[:, 0], axis=1) > 0, lambda _: FLAT)


def lines(rates_nls: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gain and offset [N, L] of rates at every level against those at the first."""
    x = rates_nls[:, :1] - rates_nls[:, :1].mean(2, keepdims=True)
    y = rates_nls - rates_nls.mean(2, keepdims=True)
    gain = (x * y).sum(2) / np.maximum((x * x).sum(2), 1e-30)
    return gain, rates_nls.mean(2) - gain * rates_nls[:, 0].mean(1)[:, None]


def slope(gain_nl: np.ndarray, levels_l: np.ndarray) -> np.ndarray:
    """Log gain for each unit of the signal, [N], through the first level."""
    away = levels_l - levels_l[0]
    log = np.log(np.maximum(gain_nl, 1e-6))
    return (log * away[None]).sum(1) / max(float((away**2).sum()), 1e-30)


def _explained(rates_nls, gain_nl, offset_nl) -> np.ndarray:
    """How much of the rates the lines leave nothing over of, 0..1."""
    line = gain_nl[..., None] * rates_nls[:, :1] + offset_nl[..., None]
    left = ((rates_nls - line) ** 2).sum((1, 2))
    around = ((rates_nls - rates_nls.mean(2, keepdims=True)) ** 2).sum((1, 2))
    return 1 - left / np.maximum(around, 1e-30)


def _levels(subject: Subject, signal: int | str, levels: Sequence[float]):
    """Behavior [L, K] and pupil [L, 2] of every level."""
    if len(levels) < 2 or len(set(levels)) < len(levels):
        raise UserError(
            f"The levels are {list(levels)}: expected at least two different ones, the "
            "first to compare with."
        )
    behavior = np.tile(subject.behavior_k, (len(levels), 1))
    pupil = np.tile(subject.pupil_2, (len(levels), 1))
    if signal in ("pupil_x", "pupil_y"):
        pupil[:, ("pupil_x", "pupil_y").index(str(signal))] = levels
    elif str(signal).isdigit() and int(signal) < subject.signals:
        behavior[:, int(signal)] = levels
    else:
        raise UserError(
            f"Signal {signal!r}: the model takes {subject.signals} behavior signal(s), "
            "numbers from 0; or pupil_x, pupil_y."
        )
    return behavior, pupil
