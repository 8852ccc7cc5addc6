"""Invariances: a ring of stimuli that a neuron cannot tell from its best one.

Two stimuli of one budget, at right angles, span a circle: cos(a) one + sin(a) other.
The mean rate around it is climbed. Complex cells have a circle of all phases on which
the rate stays at its maximum; on that of a simple cell it must fall, as opposite
stimuli are each other's negatives. (Cadena et al. 2018 and Ding et al. 2023 describe
such sets; this is neither's code.)
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import jax.numpy as jnp
import numpy as np

from sensorium_jax.insilico import ascend, batches, constraints, fields, optimal, record
from sensorium_jax.insilico.ascend import Climb
from sensorium_jax.insilico.constraints import Budget
from sensorium_jax.insilico.optimal import Aim
from sensorium_jax.insilico.record import Result
from sensorium_jax.insilico.subjects import Subject, split

Array = Any
INVARIANT = 0.9  # share of the highest rate that the lowest of a ring must have


def invariance(
    subject: Subject,
    neurons: Sequence[int] | None = None,
    *,
    aim: Aim | None = None,
    climb: Climb | None = None,
    budget: Budget | None = None,
    points: int = 8,
    seed: int = 0,
    memory: float | None = None,
    tell: Callable[[int], None] | None = None,
) -> Result:
    """Rings [N, points, T, H, W, C] in units of the twin, and their rates.

    `level` is the lowest rate by the highest one on the ring. Rings are aligned: the
    first stimulus is the one most even around where the neuron looks, and light there;
    the next ones become light to the right.
    """
    aim, climb = (aim or Aim())._replace(members=2), climb or Climb()
    low, high = subject.screen.low, subject.screen.high
    budget = budget or Budget(low=low, high=high)
    shape, burn = optimal.film(subject, aim)
    optimal.check(subject, aim, climb)
    constraints.check(budget, None, shape)
    asked, failed = split(subject, neurons)
    n, s = len(asked), aim.starts
    program = _program(subject, aim, climb, budget, shape, burn, points, seed)
    out = batches.every(program, optimal.starts(asked, s), memory=memory, tell=tell)
    best = np.arange(n) * s + out["mean"].reshape(n, s).argmax(1)
    pair = out["pair"][best].astype(np.float64)
    looks = fields.gradients(subject, asked, 4, memory=memory)
    center = fields.fit(looks.envelope_nhw).center_n2
    pair = np.stack([align(p, c) for p, c in zip(pair, center, strict=True)])
    angles = 2 * np.pi * np.arange(points) / points
    turns = np.stack([np.cos(angles), np.sin(angles)], 1)
    ring = np.einsum("pk,nk...->np...", turns, pair).clip(budget.low, budget.high)
    x = subject.screen.shown(ring).astype(np.float32)
    answers = optimal.answers_of(subject, aim._replace(off=()), burn)
    shown = (x.reshape(-1, *shape), np.repeat(np.asarray(asked, np.int32), points))
    rates = batches.every(answers, shown, memory=memory).reshape(n, points)
    high_n = rates.max(1)
    arrays = {
        "ring": x,
        "ring_curve": rates.astype(np.float64),
        "response": high_n,
        "level": rates.min(1) / np.where(high_n > 0, high_n, np.nan),
        "x": center[:, 0],
        "y": center[:, 1],
    }
    arrays["invariant"] = (arrays["level"] >= INVARIANT).astype(float)
    about = {**subject.about(), "seed": seed, "burn": burn, "points": points}
    about |= {"aim": aim._asdict(), "budget": budget._asdict()}
    shared = {"ring": angles}
    result = Result("invariance", about, np.array(asked), arrays, shared, failed)
    flat = out["slope"].reshape(n, s).max(1) > 0
    return record.keep(result, flat, lambda _: optimal.FLAT)


@lru_cache(maxsize=4)
def _program(
    subject: Subject,
    aim: Aim,
    climb: Climb,
    budget: Budget,
    shape: tuple[int, ...],
    burn: int,
    points: int,
    seed: int,
) -> Callable[..., dict[str, Array]]:
    answers = optimal.answers_of(subject, aim._replace(off=()), burn)
    size = constraints.target(budget, int(np.prod(shape)))
    size = size or budget.high * float(np.sqrt(np.prod(shape)))
    angles = 2 * np.pi * np.arange(points) / points
    turns = jnp.asarray(np.stack([np.cos(angles), np.sin(angles)], 1), jnp.float32)

    def pairs(z_rthwc):
        """Two stimuli of this norm at right angles, [B, 2, T, H, W, C]."""
        flat = z_rthwc.reshape(-1, 2, int(np.prod(shape)))
        one = flat[:, 0] / (jnp.linalg.norm(flat[:, 0], axis=1, keepdims=True) + 1e-9)
        along = jnp.sum(flat[:, 1] * one, 1, keepdims=True)
        other = flat[:, 1] - along * one
        other = other / (jnp.linalg.norm(other, axis=1, keepdims=True) + 1e-9)
        return size * jnp.stack([one, other], 1).reshape(-1, 2, *shape)

    def objective(z_rthwc, neuron_r):
        ring = jnp.einsum("pk,bkthwc->bpthwc", turns, pairs(z_rthwc))
        x = subject.screen.shown(jnp.clip(ring, budget.low, budget.high))
        neuron = jnp.repeat(neuron_r[::2], points)
        rates = answers((x.reshape(-1, *shape), neuron)).reshape(-1, points)
        return jnp.repeat(rates.mean(1) / 2, 2)

    def one(rows):
        keys = ascend.keys(seed, rows["neuron"], rows["start"])
        climbed = ascend.ascend(
            objective,
            rows["neuron"],
            keys,
            *(shape, climb._replace(likeness=0.0), budget._replace(exactly=True)),
            members=2,
        )
        pair = pairs(climbed.z.reshape(-1, *shape))
        return {"pair": pair, "mean": climbed.value.sum(1), "slope": climbed.slope}

    return one


def align(pair_2thwc: np.ndarray, center_2: np.ndarray) -> np.ndarray:
    """The pair turned on its circle: first the most even one, light in the center."""
    middle = moved(pair_2thwc, center_2)
    even = (middle + middle[..., ::-1, ::-1, :]) / 2
    flat = even.reshape(2, -1)
    _, vectors = np.linalg.eigh(flat @ flat.T)
    cos, sin = vectors[:, 1]
    turn = np.array([[cos, sin], [-sin, cos]])
    first, second = np.tensordot(turn, pair_2thwc, 1)
    near = moved(np.stack([first, second]), center_2)
    h, w = near.shape[2] // 2, near.shape[3] // 2
    last = near[:, -1].sum(-1)
    strong = last[0][h - 1 : h + 2, w - 1 : w + 2].sum()
    right = last[1][:, w + 1 :].sum() - last[1][:, :w].sum()
    down = last[1][h + 1 :].sum() - last[1][:h].sum()
    sideways = right if abs(right) >= abs(down) else down
    return np.stack([first * _sign(strong), second * _sign(sideways)])


def moved(x: np.ndarray, center_2: np.ndarray) -> np.ndarray:
    """Films [..., H, W, C] with a center (x, y) in the middle, of odd sizes."""
    h, w = x.shape[-3:-1]
    odd = x[..., : h - 1 + h % 2, : w - 1 + w % 2, :]
    x_at, y_at = (round(float(c)) for c in center_2)
    return np.roll(odd, ((h - 1) // 2 - y_at, (w - 1) // 2 - x_at), (-3, -2))


def _sign(x: float) -> float:
    return -1.0 if x < 0 else 1.0
