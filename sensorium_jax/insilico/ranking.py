"""Screening: which frames of films, or which pictures, drive each neuron most."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.errors import UserError
from sensorium_jax.insilico.record import Result
from sensorium_jax.insilico.subjects import Subject, split

TOGETHER = 32  # pictures at a time


class Clip(NamedTuple):
    """One film, or a picture of one frame, in the twin's input units."""

    number: int
    video_thwc: np.ndarray


def screen(
    subject: Subject,
    clips: Iterable[Clip],
    neurons: Sequence[int] | None = None,
    *,
    top: int = 5,
    apart: int = 1,
) -> Result:
    """The best and worst frames of each neuron: clip, frame and rate, [N, top].

    Every frame that is answered is ranked; frames of one clip less than `apart` from a
    better one are left out. Of equal ones the earlier is first.
    """
    if top < 1 or apart < 1:
        raise UserError(f"The {top} best, {apart} frames apart: both must be above 0.")
    asked, failed = split(subject, neurons)
    some = subject.only(asked)
    answer = jax.jit(lambda x: some.rates(x))
    best, worst = (_Ranks.empty(len(asked), sign) for sign in (1, -1))
    count, total = 0, np.zeros(len(asked))
    for numbers, video in _stacks(clips):
        rates_btn = np.asarray(answer(jnp.asarray(video)), np.float32)
        first = video.shape[1] - rates_btn.shape[1]
        for number, rates_tn in zip(numbers, rates_btn, strict=True):
            for ranks in (best, worst):
                ranks.add(number, first, rates_tn, top, apart)
            total += rates_tn.sum(0, dtype=np.float64)
            count += len(rates_tn)
    if not count:
        raise UserError("There is nothing to rank: no clip was given.")
    arrays: dict[str, np.ndarray] = {"mean": total / count}
    for name, ranks in (("best", best), ("worst", worst)):
        rates, at = ranks.sorted(top)
        arrays |= {f"{name}_rate": rates, f"{name}_clip": at[..., 0]}
        arrays[f"{name}_frame"] = at[..., 1]
        arrays[f"{name}_one"] = rates[:, 0]
    about = {**subject.about(), "frames_ranked": count, "top": top, "apart": apart}
    return Result("screen", about, np.array(asked), arrays, failed=failed)


class _Ranks:
    """The best so far of every neuron, with clip and frame; sign -1: the worst."""

    def __init__(self, parts: list[list[tuple[float, int, int]]], sign: int):
        self.parts, self.sign = parts, sign

    @classmethod
    def empty(cls, neurons: int, sign: int) -> "_Ranks":
        return cls([[] for _ in range(neurons)], sign)

    def add(self, clip: int, first: int, rates_tn, top: int, apart: int) -> None:
        """Rank the frames of one clip among those of before."""
        order = np.argsort(-self.sign * rates_tn, axis=0, kind="stable")
        for n, kept in enumerate(self.parts):
            frames: list[int] = []
            for t in order[:, n]:
                if len(frames) == top:
                    break
                if all(abs(int(t) - f) >= apart for f in frames):
                    frames.append(int(t))
            kept += [(float(rates_tn[t, n]), clip, first + t) for t in frames]
            # A stable sort keeps the earlier of equal ones.
            kept.sort(key=lambda x: -self.sign * x[0])
            del kept[top:]

    def sorted(self, top: int) -> tuple[np.ndarray, np.ndarray]:
        """Rates [N, top] and clip and frame [N, top, 2]; -1 where there are fewer."""
        rates = np.full((len(self.parts), top), np.nan)
        at = np.full((len(self.parts), top, 2), -1)
        for n, kept in enumerate(self.parts):
            for k, (rate, clip, frame) in enumerate(kept):
                rates[n, k], at[n, k] = rate, (clip, frame)
        return rates, at


def _stacks(clips: Iterable[Clip]):
    """Numbers and videos [B, T, H, W, C]: pictures together, films one by one."""
    waiting: list[Clip] = []
    stack = partial(np.stack, axis=0)
    for clip in clips:
        if clip.video_thwc.shape[0] > 1:
            yield [clip.number], clip.video_thwc[None]
            continue
        waiting.append(clip)
        if len(waiting) == TOGETHER:
            yield [c.number for c in waiting], stack([c.video_thwc for c in waiting])
            waiting = []
    if waiting:
        yield [c.number for c in waiting], stack([c.video_thwc for c in waiting])
