"""Optimal stimuli: what drives each neuron most, or least, within a budget.

Pictures or films; several that differ (Ding et al. 2023); one that drives a neuron and
not others; a surround for a center that stays. Norms, ranges and contrasts are in units
of contrast, see subjects.Screen.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from sensorium_jax.errors import UserError, unknown
from sensorium_jax.insilico import ascend, batches, constraints, fields, record
from sensorium_jax.insilico.ascend import Climb
from sensorium_jax.insilico.constraints import Budget
from sensorium_jax.insilico.record import Result
from sensorium_jax.insilico.subjects import Subject, same_films, split

Array = Any
COUNTS = ("last", "mean", "peak")
HISTORY = 50  # values of the objective that are kept
FLAT = "its rate is flat: no start has a gradient"


class Aim(NamedTuple):
    """What is asked for."""

    least: bool = False
    members: int = 1  # stimuli of each neuron that must differ
    starts: int = 2  # noises (every second is the negative of the one before)
    frames: int | None = None  # of the stimulus; as many as a rate depends on
    burn: int | None = None  # grey frames before it
    count: str = "last"  # which rate of a film: the last, their mean, the peak
    off: tuple[int, ...] = ()  # neurons whose mean rate is taken away


def mei(
    subject: Subject,
    neurons: Sequence[int] | None = None,
    *,
    aim: Aim | None = None,
    climb: Climb | None = None,
    budget: Budget | None = None,
    mask: float | None = None,
    around: Result | None = None,
    center: float | None = None,
    natural: np.ndarray | None = None,
    seed: int = 0,
    memory: float | None = None,
    tell: Callable[[int], None] | None = None,
) -> Result:
    """The most (or least) exciting stimulus of each neuron, in units of the twin.

    mask: pixels around where a neuron looks in which the stimulus must lie. around: an
    earlier result, whose stimuli stay within `center` pixels of where neurons look, and
    a surround is sought for them. natural: clips [S, T, H, W, C] in units of contrast
    that all neurons start from, each of its starts and stimuli from another one;
    without, they start from noise.
    """
    aim, climb = aim or Aim(), climb or Climb(likeness=0.3)
    low, high = subject.screen.low, subject.screen.high
    budget = budget or Budget(low=low, high=high)
    shape, burn = film(subject, aim)
    check(subject, aim, climb)
    asked, failed = split(subject, neurons)
    held = _held(subject, asked, shape, mask, around, center, memory)
    asked, failed = held.neurons, {**failed, **held.failed}
    constraints.check(budget, None if held.mask is None else held.mask.max(0), shape)
    s = aim.starts
    rows = starts(asked, s)
    if natural is not None:
        rows["from"] = _from(natural, rows["neuron"], s, aim.members, shape)
    if held.mask is not None:
        rows["mask"] = np.repeat(held.mask, s, 0)
    if held.fixed is not None:
        rows["fixed"] = np.repeat(held.fixed, s, 0)
    program = _program(subject, aim, climb, budget, shape, burn, seed)
    out = batches.every(program, rows, memory=memory, tell=tell)
    best = _best(out, len(asked), aim)
    blank_n = _blank(subject, asked, shape, burn, aim, memory)
    arrays = _arrays(subject, best, blank_n, shape)
    about = {**subject.about(), "seed": seed, "burn": burn, "levels": "contrast"}
    about |= {"aim": aim._asdict(), "budget": budget._asdict(), "mask": mask}
    about["start"] = "noise" if natural is None else "clips"
    about |= {"climb": {k: _word(v) for k, v in climb._asdict().items()}}
    result = Result("mei", about, np.array(asked), arrays, {}, failed, _notes(subject))
    return record.keep(result, best["slope"] > 0, lambda _: FLAT)


def starts(neurons: Sequence[int], count: int) -> dict[str, np.ndarray]:
    """The rows of a program: every neuron, from each of its starts."""
    return {
        "neuron": np.repeat(np.asarray(neurons, np.int32), count),
        "start": np.tile(np.arange(count, dtype=np.int32), len(neurons)),
    }


def _from(natural, neuron_r, s: int, d: int, shape) -> np.ndarray:
    """Clips of every row and member [R, D, T, H, W, C]; neurons begin elsewhere."""
    if natural.shape[1:] != shape or not np.isfinite(natural).all():
        raise UserError(
            f"Stimuli to start from have shape {natural.shape}; expected clips of "
            f"{shape} (frames, rows, columns, channels), in units of contrast."
        )
    first = neuron_r.astype(int) * s * d + np.arange(len(neuron_r)) % s * d
    return natural[(first[:, None] + np.arange(d)) % len(natural)].astype(np.float32)


def check_on(result: Result, made: Subject, other: Subject, name: str) -> Result:
    """The result with what a second twin says of the same stimuli."""
    same_films(made, other, f"The second model {name}")
    aim = Aim(**{**result.about["aim"], "off": ()})
    stimulus = result["stimulus"]
    d = stimulus.shape[1] if aim.members > 1 else 1
    x = stimulus.reshape(-1, *stimulus.shape[-4:])
    if made.screen.words != other.screen.words:
        x = other.screen.shown(made.screen.contrast(x))
    value = answers_of(other, aim, int(result.about["burn"]))
    rows = (x.astype(np.float32), np.repeat(result.neurons.astype(np.int32), d))
    rates = batches.every(value, rows).reshape(len(result.neurons), d)
    shown = rates if d > 1 else rates[:, 0]
    blank = _blank(other, result.neurons, x.shape[1:], int(result.about["burn"]), aim)
    more = {"check_response": shown, "check_blank": blank}
    return replace(
        result,
        arrays={**result.arrays, **more},
        about={**result.about, "check": name},
    )


class _Held(NamedTuple):
    neurons: list[int]
    mask: np.ndarray | None  # [N, H, W]
    fixed: np.ndarray | None  # [N, T, H, W, C]
    failed: dict[int, str]


def _held(subject, asked, shape, mask, around, center, memory) -> _Held:
    """Where each stimulus may lie, and what stays."""
    h, w = subject.frame[:2]
    if around is None and mask is None:
        return _Held(list(asked), None, None, {})
    failed: dict[int, str] = {}
    if around is not None:
        if center is None:
            raise UserError("Say how far the center reaches (--center PIXELS).")
        if around.arrays["stimulus"].shape[-4:] != shape:
            raise UserError(
                f"The centers are {around.arrays['stimulus'].shape[-4:]} (frames, "
                f"rows, columns, channels), the surround is to be {shape}. Ask for as "
                "many frames, one stimulus each."
            )
        known = set(around.neurons.tolist())
        failed = {n: "it has no center" for n in asked if n not in known}
        asked = [n for n in asked if n in known]
        if not asked:
            raise UserError("None of the neurons has a center; ask for those that do.")
    places = fields.fit(
        fields.gradients(subject, asked, 4, memory=memory).envelope_nhw
    ).center_n2
    inside = constraints.disc
    if around is None:
        discs = [inside((h, w), (x, y), mask) for x, y in places]
        return _Held(list(asked), np.stack(discs), None, {})
    inner = np.stack([inside((h, w), (x, y), center) for x, y in places])
    rows = [around.row(n) for n in asked]
    z = subject.screen.contrast(around.arrays["stimulus"][rows])
    outer = 1 - inner
    if mask is not None:
        outer = outer * np.stack([inside((h, w), (x, y), mask) for x, y in places])
    fixed = (z * inner[:, None, :, :, None]).astype(np.float32)
    return _Held(list(asked), outer, fixed, failed)


@lru_cache(maxsize=8)
def _program(
    subject: Subject,
    aim: Aim,
    climb: Climb,
    budget: Budget,
    shape: tuple[int, ...],
    burn: int,
    seed: int,
) -> Callable[..., dict[str, Array]]:
    answers = answers_of(subject, aim, burn)

    def objective(z_bthwc, neuron_b):
        return answers((subject.screen.shown(z_bthwc), neuron_b))

    def one(rows):
        climbed = ascend.ascend(
            objective,
            rows["neuron"],
            ascend.keys(seed, rows["neuron"], rows["start"] // 2),
            shape,
            climb,
            budget,
            members=aim.members,
            sign=-1.0 if aim.least else 1.0,
            mask_bhw=rows.get("mask"),
            fixed_bthwc=rows.get("fixed"),
            turned_b=None if "from" in rows else rows["start"] % 2 > 0,
            begin=rows.get("from"),
        )
        at = np.linspace(0, climb.steps - 1, min(HISTORY, climb.steps)).astype(int)
        out = climbed._replace(history=climbed.history[:, at])._asdict()
        return {k: v for k, v in out.items() if v is not None}

    return one


@lru_cache(maxsize=16)
def answers_of(subject: Subject, aim: Aim, burn: int) -> Callable[..., Array]:
    """The objective of input [B, T, H, W, C] for neurons [B]: a rate less others'."""
    off = subject.only(aim.off) if aim.off else None

    def one(rows):
        x_bthwc, neuron_b = rows
        t = x_bthwc.shape[1]
        x_bthwc = _after_grey(subject, x_bthwc, burn)
        value_b = counted(subject.each(x_bthwc, neuron_b), t, aim.count)
        if off is not None:
            rates_btn = off.rates(x_bthwc)
            others = [
                counted(rates_btn[..., i], t, aim.count) for i in range(off.neurons)
            ]
            value_b = value_b - sum(others) / len(others)
        return value_b

    return one


@lru_cache(maxsize=8)
def all_answers_of(subject: Subject, aim: Aim, burn: int) -> Callable[..., Array]:
    """Rates [B, N] of all neurons to stimuli [B, T, H, W, C] in units of contrast."""

    def one(z_bthwc):
        x_bthwc = _after_grey(subject, subject.screen.shown(z_bthwc), burn)
        return counted(subject.rates(x_bthwc), z_bthwc.shape[1], aim.count)

    return one


def _after_grey(subject: Subject, x_bthwc: Array, frames: int) -> Array:
    if not frames:
        return x_bthwc
    shape = (x_bthwc.shape[0], frames, *x_bthwc.shape[2:])
    return jnp.concatenate([jnp.full(shape, subject.screen.grey), x_bthwc], 1)


def counted(rates_bt: Array, frames: int, count: str) -> Array:
    """Of the rates [B, T, ...] to stimuli of so many frames what counts, [B, ...]."""
    answered = rates_bt[:, -min(frames, rates_bt.shape[1]) :]
    if count == "last":
        return answered[:, -1]
    return answered.mean(1) if count == "mean" else answered.max(1)


def film(subject: Subject, aim: Aim) -> tuple[tuple[int, ...], int]:
    """[T, H, W, C] of a stimulus, and the grey frames before it."""
    if not subject.films:
        if (aim.frames or 1) != 1:
            raise UserError(
                f"{aim.frames} frames were asked for, but the model sees pictures. "
                "Leave out frames, or say frames per second (--fps) if it sees films."
            )
        return (1, *subject.frame), 0
    endless = getattr(subject.twin, "memory", None) is None
    usual = subject.lost + 1 if subject.lost else 20
    frames = aim.frames or (usual if endless else subject.memory)
    # Grey before it, as long as the model needs to forget how a clip begins.
    burn = max(subject.memory - (1 if endless else frames), 0)
    return (frames, *subject.frame), burn if aim.burn is None else aim.burn


def check(subject: Subject, aim: Aim, climb: Climb) -> None:
    """Refuse what nobody can be asked."""
    ascend.check(climb)
    if aim.count not in COUNTS:
        raise unknown("count", aim.count, COUNTS)
    if aim.members < 1 or aim.starts < 1:
        raise UserError("Stimuli and starts of a neuron must be 1 or more.")
    frames, burn = film(subject, aim)
    if frames[0] + burn <= subject.lost:
        raise UserError(
            f"{burn} grey frames and {frames[0]} of the stimulus are too short: the "
            f"model's first answer comes after {subject.lost}. Give more of either."
        )
    split(subject, aim.off or None)


def _best(out: dict[str, np.ndarray], n: int, aim: Aim) -> dict[str, np.ndarray]:
    """Of each neuron's starts the best one."""
    goal = out["value"].mean(1).reshape(n, aim.starts) * (-1 if aim.least else 1)
    at = np.arange(n) * aim.starts + np.nan_to_num(goal, nan=-np.inf).argmax(1)
    best = {k: v[at] for k, v in out.items()}
    best["slope"] = out["slope"].reshape(n, aim.starts).max(1)
    best["by_start"] = out["value"].mean(1).reshape(n, aim.starts)
    return best


def _arrays(subject, best, blank_n, shape) -> dict[str, np.ndarray]:
    z, many = best["z"], best["z"].shape[1] > 1
    x = subject.screen.shown(z)
    flat = z.reshape(len(z), z.shape[1], -1)
    arrays = {
        "stimulus": x if many else x[:, 0],
        "response": best["value"] if many else best["value"][:, 0],
        "blank": blank_n,
        "norm": np.sqrt((flat**2).sum(2)).mean(1),
        "contrast": np.sqrt((flat**2).mean(2)).mean(1),
        "steps": best["steps"],
        "history": best["history"],
        "by_start": best["by_start"],
    }
    if "alpha" in best:
        alpha = best["alpha"][..., 0, :, :, 0]
        arrays["alpha"] = alpha if many else alpha[:, 0]
    return arrays


def _blank(subject, neurons, shape, burn, aim, memory=None) -> np.ndarray:
    """The same objective of grey, [N]."""
    value = answers_of(subject, aim._replace(off=()), burn)
    grey = np.full((len(neurons), *shape), subject.screen.grey, np.float32)
    rows = (grey, np.asarray(neurons, np.int32))
    return batches.every(value, rows, memory=memory)


def _notes(subject: Subject) -> tuple[str, ...]:
    if subject.causal or not subject.films:
        return ()
    return (
        "this model sees the future: its rate at a frame also depends on later ones, "
        "so when a stimulus drives a neuron says little about the animal",
    )


def _word(value: Any) -> Any:
    return value if isinstance(value, (int, float, str)) else type(value).__name__
