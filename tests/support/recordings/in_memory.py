"""Sessions that live in memory, for tests of what reads sessions."""

from concurrent.futures import Future
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax.axes import MouseInfo, Trial
from sensorium_jax.data.session import BEHAVIOR, PUPIL, RESPONSES, VIDEO, Session, Stats
from sensorium_jax.rules import RELEASES, Rules


class Reader:
    """Reads from a list of Trials; through futures if asked to."""

    def __init__(self, trials: list[Trial], *, futures: bool = False):
        self.trials, self.futures = trials, futures
        self.asked: list[tuple[str, int, slice]] = []

    def length(self, trial: int) -> int:
        return len(self.trials[trial].video_thwc)

    def read(self, what: str, trial: int, frames: slice, out: np.ndarray) -> Any:
        self.asked.append((what, trial, frames))
        fields = (VIDEO, BEHAVIOR, PUPIL, RESPONSES)
        out[...] = self.trials[trial][fields.index(what)][frames]
        if not self.futures:
            return None
        future: Future[None] = Future()
        future.set_result(None)
        return future


class Recordings(NamedTuple):
    """What streams need of official.Recordings."""

    sessions: tuple[Session, ...]

    def select(self, mice: Any = None) -> "Recordings":
        names = [s.name for s in self.sessions]
        return Recordings(tuple(self.sessions[names.index(m)] for m in mice))

    def mouse_info(self, response_scaling: str = "per_frame") -> MouseInfo:
        sizes = [s.neurons for s in self.sessions]
        mask = np.arange(max(sizes)) < np.array(sizes)[:, None]
        return MouseInfo(
            tuple(s.name for s in self.sessions),
            mask,
            np.arange(mask.size * 3.0).reshape(*mask.shape, 3) * mask[..., None],
            mask * np.arange(mask.shape[1], dtype=np.float32),
            np.array([s.trials for s in self.sessions]),
            np.array([int((s.tiers == "train").sum()) for s in self.sessions]),
            True,
            True,
            2,
            self.sessions[0].frame_shape,
        )


def session(
    name: str = "mouse",
    *,
    neurons: int = 5,
    tiers: tuple[str, ...] = ("train",) * 6 + ("oracle",) * 2,
    lengths: tuple[int, ...] = (30, 28),
    behaviors: int = 2,
    has_pupil: bool = True,
    hidden: bool = True,
    frame_shape: tuple[int, int, int] = (4, 6, 1),
    video_dtype: Any = np.uint8,
    per_frame: bool = True,
    futures: bool = False,
    rules: str | Rules = "2023",
    seed: int = 0,
) -> Session:
    """A session of random trials; statistics of responses are per frame by default."""
    rng = np.random.default_rng(seed)
    made = []
    for i, tier in enumerate(tiers):
        t = lengths[i % len(lengths)]
        responses = rng.gamma(1.0, 2.0, (t, neurons)).astype(np.float32)
        if hidden and tier.startswith(("live", "final")):
            responses[:] = 0
        made.append(
            Trial(
                rng.integers(0, 256, (t, *frame_shape)).astype(video_dtype),
                rng.normal(2.0, 1.0, (t, behaviors)).astype(np.float32),
                rng.normal(150.0, 4.0, (t, 2)).astype(np.float32),
                responses,
            )
        )
    top = max(lengths)
    std = rng.uniform(0.5, 2.0, (top if per_frame else 1, neurons)).astype(np.float32)
    statistics = {
        VIDEO: Stats(np.float32(80), np.float32(50)),
        RESPONSES: Stats(0.9 * std, std),
    }
    if behaviors:
        statistics[BEHAVIOR] = Stats(
            np.zeros(behaviors, np.float32), np.arange(1.0, behaviors + 1, dtype="f4")
        )
    if has_pupil:
        statistics[PUPIL] = Stats(np.float32([150, 151]), np.float32([4, 5]))
    return Session(
        name=name,
        rules=RELEASES[rules] if isinstance(rules, str) else rules,
        where=f"memory/{name}",
        tiers=np.array(tiers),
        files=np.arange(len(tiers)) * 2,
        unit_ids_n=np.arange(neurons) + 100,
        coordinates_n3=rng.normal(size=(neurons, 3)).astype(np.float32),
        frame_shape=frame_shape,
        video_dtype=np.dtype(video_dtype),
        behaviors=behaviors,
        has_pupil=has_pupil,
        statistics=statistics,
        reader=Reader(made, futures=futures),
        columns={"trial_idx": np.arange(len(tiers))},
        unit_columns={"layer": np.array(["L2/3"] * neurons)},
    )


def recordings(**changes: Any) -> Recordings:
    """Two mice of different size."""
    return Recordings(
        (
            session("a", neurons=5, seed=1, **changes),
            session(
                "b", neurons=3, tiers=("train",) * 3 + ("oracle",), seed=2, **changes
            ),
        )
    )
