"""Screening: which frames, clips or pictures drive each neuron most and least."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
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
    whole: bool = False,
    pictures: int = 0,
) -> Result:
    """The best and worst frames of each neuron: clip, frame and rate, [N, top].

    Every frame that is answered is ranked; frames of one clip less than `apart` from a
    better one are left out. Of equal ones the earlier is first. whole ranks clips by
    their mean rates instead; their frame is the one with the highest (or lowest) rate.
    The frames of so many `pictures` of each end are kept, [N, pictures, H, W, C].
    """
    if top < 1 or apart < 1 or not 0 <= pictures <= top:
        raise UserError(
            f"The {top} best, {apart} frames apart, {pictures} of them kept: the first "
            "two must be above 0, the last no more than the first."
        )
    asked, failed = split(subject, neurons)
    some = subject.only(asked)
    answer = jax.jit(lambda x: some.rates(x))
    best, worst = (_Ranks.empty(len(asked), sign, pictures) for sign in (1, -1))
    count, total = 0, np.zeros(len(asked))
    for numbers, video in _stacks(clips):
        rates_btn = np.asarray(answer(jnp.asarray(video)), np.float32)
        first = video.shape[1] - rates_btn.shape[1]
        for number, rates_tn, shown in zip(numbers, rates_btn, video, strict=True):
            for ranks in (best, worst):
                seen = shown[first:]
                if whole:
                    ranks.add_clip(number, first, rates_tn, top, seen)
                else:
                    ranks.add(number, first, rates_tn, top, apart, seen)
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
        if pictures:
            arrays[f"{name}_picture"] = ranks.pictures(subject.frame)
    about = {**subject.about(), "frames_ranked": count, "top": top, "apart": apart}
    about["ranked"] = "clips" if whole else "frames"
    return Result("screen", about, np.array(asked), arrays, failed=failed)


def beside(ranked: Result, best: Result) -> Result:
    """The ranking with the stimuli that an earlier mei found; NaN where it has none."""
    shape = best["stimulus"].shape
    stimulus = np.full((len(ranked.neurons), *shape[1:]), np.nan, np.float32)
    response = np.full((len(ranked.neurons), *best["response"].shape[1:]), np.nan)
    for i, n in enumerate(ranked.neurons):
        if n in best.neurons:
            row = best.row(int(n))
            stimulus[i], response[i] = best["stimulus"][row], best["response"][row]
    more = {"mei_stimulus": stimulus, "mei_response": response}
    return replace(ranked, arrays={**ranked.arrays, **more})


class _Kept(NamedTuple):
    """One frame among the best."""

    rate: float
    clip: int
    frame: int
    picture: np.ndarray | None  # [H, W, C]


class _Ranks:
    """The best so far of every neuron, with clip and frame; sign -1: the worst."""

    def __init__(self, parts: list[list[_Kept]], sign: int, kept: int):
        self.parts, self.sign, self.kept = parts, sign, kept

    @classmethod
    def empty(cls, neurons: int, sign: int, kept: int) -> "_Ranks":
        return cls([[] for _ in range(neurons)], sign, kept)

    def add(self, clip: int, first: int, rates_tn, top: int, apart: int, seen) -> None:
        """Rank the frames of one clip among those of before."""
        order = np.argsort(-self.sign * rates_tn, axis=0, kind="stable")
        for n in range(len(self.parts)):
            frames: list[int] = []
            for t in order[:, n]:
                if len(frames) == top:
                    break
                if all(abs(int(t) - f) >= apart for f in frames):
                    frames.append(int(t))
            new = [_Kept(float(rates_tn[t, n]), clip, first + t, None) for t in frames]
            self._merge(n, new, first, top, seen)

    def add_clip(self, clip: int, first: int, rates_tn, top: int, seen) -> None:
        """Rank a clip by its mean rates among those of before."""
        mean_n = rates_tn.mean(0, dtype=np.float64)
        frame_n = (self.sign * rates_tn).argmax(0)
        for n, (rate, t) in enumerate(zip(mean_n, frame_n, strict=True)):
            new = [_Kept(float(rate), clip, first + int(t), None)]
            self._merge(n, new, first, top, seen)

    def _merge(self, n: int, new: list[_Kept], first: int, top: int, seen) -> None:
        # A stable sort keeps the earlier of equal ones.
        every = sorted(self.parts[n] + new, key=lambda x: -self.sign * x.rate)[:top]
        for k, one in enumerate(every):
            if k >= self.kept:
                every[k] = one._replace(picture=None)
            elif one.picture is None:  # what is not new has had its own since it came
                every[k] = one._replace(picture=np.array(seen[one.frame - first]))
        self.parts[n] = every

    def sorted(self, top: int) -> tuple[np.ndarray, np.ndarray]:
        """Rates [N, top] and clip and frame [N, top, 2]; -1 where there are fewer."""
        rates = np.full((len(self.parts), top), np.nan)
        at = np.full((len(self.parts), top, 2), -1)
        for n, kept in enumerate(self.parts):
            for k, one in enumerate(kept):
                rates[n, k], at[n, k] = one.rate, (one.clip, one.frame)
        return rates, at

    def pictures(self, shape: tuple[int, ...]) -> np.ndarray:
        """The kept frames [N, kept, H, W, C]; NaN where there are fewer."""
        out = np.full((len(self.parts), self.kept, *shape), np.nan, np.float32)
        for n, kept in enumerate(self.parts):
            for k, one in enumerate(kept[: self.kept]):
                out[n, k] = one.picture
        return out


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
