"""Endless batches of windows of all mice, each a pure function of (seed, i)."""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax.axes import Batch, MixedBatch, MouseInfo, Window
from sensorium_jax.data import statistics
from sensorium_jax.data.stream import gather, pools, windows
from sensorium_jax.normalize import JUDGED

Chosen = Any  # None, a count, or one index array per mouse (a list, or a dict by name)


class Stream:
    """Draws windows of `frames` frames, `stride` apart, from the trials of a tier.

    All mice are stacked (Batch), or with `mixed` every sample is of a drawn mouse
    (MixedBatch). Trials are drawn with replacement; `epochs` draws them without, in the
    order of the official loaders, `steps_per_epoch` batches long. A trial shorter than
    the window is padded and masked, or never drawn with `drop_short`. `once` takes each
    trial a single time in order, in `steps_per_epoch` batches, empty where none is.
    """

    def __init__(
        self,
        recordings: Any,
        *,
        tier: str | Sequence[str] = "train",
        batch: int,
        frames: int,
        stride: int = 1,
        start: str | int = "random",
        mice: Sequence[str] | None = None,
        neurons: Chosen = None,
        trials: Chosen = None,
        mixed: bool = False,
        sampling: str = "uniform",
        epochs: bool = False,
        once: bool = False,
        response_scaling: str = JUDGED,
        inputs: str | None = None,
        clip_responses: bool = False,
        drop_short: bool = False,
        padded_mice: int = 1,
    ):
        """Choose what to draw; reads no trial.

        batch: windows per mouse, or samples in all when mixed. start: "random" or a
        frame index. neurons, trials: None for all, a count drawn once, or index arrays
        per mouse (rows of the trial table: they replace the tier). response_scaling:
        per_frame (official), per_neuron, or none. inputs: how video, behavior and pupil
        are given, normalized, minmax or raw; normalized, or raw with responses that are
        not scaled, unless told. padded_mice: M is padded with empty mice to a multiple
        of it.
        """
        sizes = {"batch": batch, "frames": frames, "stride": stride}
        sizes["padded_mice"] = padded_mice
        pools.check_choices(sizes, start, sampling, mixed=mixed, epochs=epochs)
        self.recordings = recordings.select(mice) if mice is not None else recordings
        sessions = self.recordings.sessions
        self.batch, self.frames, self.stride, self.start = batch, frames, stride, start
        self.mixed, self.sampling = mixed, sampling
        self.epochs, self.once = epochs, once
        self.scaling, self.clip_responses = response_scaling, clip_responses
        self.inputs = inputs or _inputs_with(response_scaling)
        self.rows = pools.trials(sessions, tier, trials)
        if drop_short:
            first = 0 if start == "random" else int(start)
            shortest = first + windows.span(frames, stride)
            self.rows = pools.long_enough(sessions, self.rows, shortest)
        chosen = pools.neurons(sessions, neurons)
        self.sources = tuple(
            gather.Source(s, n, gather.scale_of(s, response_scaling, n, self.inputs))
            for s, n in zip(sessions, chosen, strict=True)
        )
        self.shape = gather.common_shape(self.sources, frames)
        self.mice = -(-len(sessions) // padded_mice) * padded_mice
        self._known: dict[tuple[int, int], bool] = {}

    @property
    def steps_per_epoch(self) -> int:
        """Batches until the mouse with most trials has shown all of them."""
        sizes = [len(rows) for rows in self.rows]
        return windows.steps_per_epoch(
            [sum(sizes)] if self.mixed else sizes, self.batch
        )

    @property
    def windows_per_step(self) -> int:
        """Windows of all mice in a batch."""
        return self.batch if self.mixed else self.batch * len(self.sources)

    @cached_property
    def neurons_mn(self) -> np.ndarray:
        """Which of the padded neurons are real; all False for a padded mouse."""
        counts = [s.width for s in self.sources]
        counts_m = np.array(counts + [0] * (self.mice - len(counts)))
        return np.arange(self.shape.neurons) < counts_m[:, None]

    @cached_property
    def video_stats(self) -> statistics.VideoStats:
        """What the step normalizes the video by, one row per padded mouse."""
        stats = statistics.video_stats(self.recordings.sessions, self.inputs)
        return pools.pad_video_stats(stats, self.mice)

    @cached_property
    def info(self) -> MouseInfo:
        """What a model must know of the mice; the chosen neurons only, unpadded."""
        scaled = self.scaling if self.scaling != "none" else JUDGED
        return pools.info(self.recordings.mouse_info(scaled), self.sources)

    def batch_at(
        self,
        seed: int,
        i: int,
        mice: slice = slice(None),
        rows: slice = slice(None),
        *,
        draw: int = 0,
    ) -> Batch | MixedBatch:
        """Batch i; mice and rows cut out a part, and only that part is read.

        Another `draw` gives other windows of the same mice: a partner for mixing.
        """
        if self.mixed:
            return self._mixed(seed, i, rows, draw)
        mice_m = range(self.mice)[mice]
        rows_b = range(self.batch)[rows]
        wanted = []
        for at, mouse in enumerate(mice_m):
            if mouse >= len(self.sources):
                continue
            picks = self._picks(seed, i, mouse, draw)
            wanted += [
                ((at, j), self._window(mouse, picks, row))
                for j, row in enumerate(rows_b)
                if picks.pool_b[row] >= 0
            ]
        out = self._read((len(mice_m), len(rows_b)), wanted)
        return Batch(*out[:5], self.neurons_mn[mice], out.frame, out.observed)

    def _picks(self, seed: int, i: int, mouse: int, draw: int) -> windows.Picks:
        pool = len(self.rows[mouse])
        if self.once:
            return windows.once(seed, i, mouse, pool, self.batch)
        if not self.epochs:
            return windows.independent(seed, i, mouse, pool, self.batch, draw=draw)
        steps = self.steps_per_epoch
        return windows.permuted(
            seed, i, mouse, pool, self.batch, steps=steps, draw=draw
        )

    def _window(self, mouse: int, picks: windows.Picks, row: int) -> Window:
        trial = int(self.rows[mouse][picks.pool_b[row]])
        length = self.sources[mouse].session.reader.length(trial)
        return windows.place(
            mouse,
            trial,
            length,
            self.frames,
            self.stride,
            self.start,
            picks.where_b[row],
        )

    def _mixed(self, seed: int, i: int, rows: slice, draw: int) -> MixedBatch:
        sizes_m = np.array([len(r) for r in self.rows])
        weights_m = (
            sizes_m if self.sampling == "proportional" else np.ones(len(sizes_m))
        )
        mouse_b = windows.mixed_mice(seed, i, weights_m, self.batch)
        picks = windows.mixed(seed, i, sizes_m[mouse_b], draw=draw)
        rows_b = range(self.batch)[rows]
        mice = mouse_b.tolist()
        wanted = [((j,), self._window(mice[r], picks, r)) for j, r in enumerate(rows_b)]
        out = self._read((len(rows_b),), wanted)
        mouse_b = mouse_b[rows].astype(np.int32)
        known = (*out[:5], self.neurons_mn[mouse_b], out.frame)
        return MixedBatch(*known, mouse_b, out.observed)

    def _read(self, lead: tuple[int, ...], wanted: list[Any]) -> gather.Gathered:
        out = gather.gather(self.sources, self.shape, lead, wanted, self._labelled)
        if self.clip_responses:
            np.maximum(out.responses, 0.0, out=out.responses)
        return out

    def _labelled(self, at: tuple[int, int]) -> bool:
        if at not in self._known:
            mouse, trial = at
            self._known[at] = pools.labelled(self.sources[mouse].session, trial)
        return self._known[at]


def _inputs_with(response_scaling: str) -> str:
    return "raw" if response_scaling == "none" else "normalized"


def prefetch(
    batch_at: Callable[[int], Any],
    start: int,
    stop: int,
    depth: int = 2,
    threads: int = 1,
) -> Generator[Any, None, None]:
    """batch_at(start) ... batch_at(stop - 1) in order, read ahead in the background."""
    with ThreadPoolExecutor(threads) as pool:
        first = range(start, min(start + depth, stop))
        waiting = deque(pool.submit(batch_at, i) for i in first)
        todo = iter(range(start + len(waiting), stop))
        try:
            while waiting:
                batch = waiting.popleft().result()
                if (i := next(todo, None)) is not None:
                    waiting.append(pool.submit(batch_at, i))
                yield batch
        finally:
            for future in waiting:
                future.cancel()


class WholeTrial(NamedTuple):
    """One whole trial of one mouse, for scoring."""

    mouse: int  # row among the recordings
    trial: int  # row of the session's trial table
    file: int  # the <i> of <i>.npy
    video_thwc: np.ndarray  # as stored
    behavior_tk: np.ndarray  # in the units asked for, like pupil and responses
    pupil_t2: np.ndarray
    responses_tn: np.ndarray  # zeros where not labelled
    labelled: bool
    observed_n: np.ndarray | None  # neurons whose responses are known; None for all


def whole_trials(
    recordings: Any,
    tier: str | Sequence[str],
    *,
    response_scaling: str = JUDGED,
    inputs: str | None = None,
    mice: Sequence[str] | None = None,
    trials: Chosen = None,
) -> Iterator[WholeTrial]:
    """Each trial, mouse after mouse, one in memory at a time; options as of Stream."""
    sessions = (recordings.select(mice) if mice is not None else recordings).sessions
    inputs = inputs or _inputs_with(response_scaling)
    for mouse, rows in enumerate(pools.trials(sessions, tier, trials)):
        session = sessions[mouse]
        scale = gather.scale_of(session, response_scaling, None, inputs)
        source = gather.Source(session, None, scale)
        for row in map(int, rows):
            frames = session.reader.length(row)
            shape = gather.common_shape([source], frames)
            real = pools.labelled(session, row)
            wanted = [((), Window(0, row, 0, frames))]
            out = gather.gather([source], shape, (), wanted, lambda at, real=real: real)
            known = (mouse, row, int(session.files[row]), *out[:4], real)
            yield WholeTrial(*known, out.observed)
