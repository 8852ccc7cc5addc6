"""Reads many windows at once, straight into the padded arrays of a batch."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np

from sensorium_jax.axes import Window
from sensorium_jax.data import statistics
from sensorium_jax.data.session import BEHAVIOR, PUPIL, RESPONSES, VIDEO, Session
from sensorium_jax.data.stream.windows import frames_of
from sensorium_jax.errors import UserError
from sensorium_jax.normalize import at_frames, standardize


class Scale(NamedTuple):
    """What turns one mouse's raw signals into the units that a model takes.

    The first axis of every array is frames: one for all, or each frame its own. Raw
    signals have mean 0, std 1 and precision 1.
    """

    precision_tn: np.ndarray
    behavior: statistics.RowStats
    pupil: statistics.RowStats


class Source(NamedTuple):
    """One mouse as a stream sees it."""

    session: Session
    neurons: np.ndarray | None  # rows of its chosen neurons; None for all
    scale: Scale

    @property
    def width(self) -> int:
        """How many neurons are used."""
        return self.session.neurons if self.neurons is None else len(self.neurons)

    def observed(self, trial: int) -> np.ndarray | bool:
        """Of which neurons the responses to a trial are known, [n]; True for all."""
        missing_rn = self.session.missing_rn
        if missing_rn is None:
            return True
        row_n = ~missing_rn[trial]
        return row_n if self.neurons is None else row_n[self.neurons]


class BatchShape(NamedTuple):
    """Sizes that all mice of a batch share after padding."""

    frames: int
    frame_shape: tuple[int, int, int]
    dtype: np.dtype
    behaviors: int
    neurons: int
    observed: bool = False  # whether any mouse has missing responses


class Gathered(NamedTuple):
    """Windows read and padded; every array starts with the same leading axes."""

    video: np.ndarray
    behavior: np.ndarray
    pupil: np.ndarray
    responses: np.ndarray
    valid: np.ndarray
    frame: np.ndarray
    observed: np.ndarray | None  # per window and neuron; None where all are known


def scale_of(
    session: Session,
    mode: str,
    neurons: np.ndarray | None = None,
    inputs: str = "normalized",
) -> Scale:
    """The scaling of one session: responses per_frame (official), per_neuron, or none.

    inputs: how behavior and pupil are given; see data.statistics.
    """
    if mode == "none":
        precision_tn = np.ones((1, session.neurons), np.float32)
    else:
        precision_tn = statistics.precision(session, mode)
    if neurons is not None:
        precision_tn = precision_tn[:, neurons]
    signals = (statistics.row_stats(session, w, inputs) for w in (BEHAVIOR, PUPIL))
    return Scale(precision_tn, *signals)


def common_shape(sources: Sequence[Source], frames: int) -> BatchShape:
    """The padded sizes; the frames of all mice must have one size."""
    shapes = {s.session.frame_shape: s.session.where for s in sources}
    if len(shapes) > 1:
        each = "; ".join(f"{shape} in {where}" for shape, where in shapes.items())
        raise UserError(
            "The mice have frames of different sizes (height, width, channels): "
            f"{each}. One batch holds one size: select mice that agree "
            "(config.data.mice) or rescale the videos."
        )
    dtypes = {np.dtype(s.session.video_dtype) for s in sources}
    return BatchShape(
        frames,
        next(iter(shapes)),
        dtypes.pop() if len(dtypes) == 1 else np.dtype(np.float32),
        max(s.session.behaviors for s in sources),
        max(s.width for s in sources),
        any(s.session.missing_rn is not None for s in sources),
    )


def allocate(shape: BatchShape, lead: tuple[int, ...]) -> Gathered:
    """Zeros for windows with these leading axes."""
    observed = np.zeros((*lead, shape.neurons), bool) if shape.observed else None
    lead = (*lead, shape.frames)
    return Gathered(
        np.zeros((*lead, *shape.frame_shape), shape.dtype),
        np.zeros((*lead, shape.behaviors), np.float32),
        np.zeros((*lead, 2), np.float32),
        np.zeros((*lead, shape.neurons), np.float32),
        np.zeros(lead, bool),
        np.zeros(lead, np.int32),
        observed,
    )


class PendingRead(NamedTuple):
    """One modality of one window on its way."""

    what: str
    view: np.ndarray  # its place in the batch
    target: np.ndarray  # where it is read to: the view, or all neurons of a subset
    source: Source
    frames: slice
    wait: Future[None] | None


def gather(
    sources: Sequence[Source],
    shape: BatchShape,
    lead: tuple[int, ...],
    wanted: Sequence[tuple[tuple[int, ...], Window]],
    labelled: Callable[[tuple[int, int]], bool],
) -> Gathered:
    """Read windows to their places: all reads are begun before the first is awaited.

    labelled is asked per (mouse, trial); where it says no, responses stay zero and no
    frame is valid.
    """
    out = allocate(shape, lead)
    reads: list[PendingRead] = []
    for at, window in wanted:
        if window.frames:
            real = labelled((window.mouse, window.trial))
            out.valid[at][: window.frames] = real
            source = sources[window.mouse]
            if out.observed is not None:
                out.observed[at][: source.width] = source.observed(window.trial)
            reads += _begin(source, window, out, at, real=real)
    for read in reads:
        if read.wait is not None:
            read.wait.result()
        if read.target is not read.view:
            read.view[...] = read.target[:, read.source.neurons]
        normalize(read.what, read.view, read.source.scale, read.frames)
    return out


def _begin(
    source: Source, window: Window, out: Gathered, at: tuple[int, ...], *, real: bool
) -> list[PendingRead]:
    session, n, frames = source.session, window.frames, frames_of(window)
    out.frame[at][:n] = np.arange(frames.start, frames.stop, frames.step)
    views = {
        VIDEO: out.video[at][:n],
        BEHAVIOR: out.behavior[at][:n, : session.behaviors],
        PUPIL: out.pupil[at][:n],
    }
    if real:
        views[RESPONSES] = out.responses[at][:n, : source.width]
    reads = []
    for what, view in views.items():
        if session.has(what):
            target = view
            if what == RESPONSES and source.neurons is not None:
                target = np.empty((n, session.neurons), np.float32)
            wait = session.reader.read(what, window.trial, frames, target)
            reads.append(PendingRead(what, view, target, source, frames, wait))
    return reads


def normalize(what: str, x: np.ndarray, scale: Scale, frames: slice) -> None:
    """Bring raw frames of one modality to the units of a scale, in place."""

    def cut(statistic_t: np.ndarray) -> np.ndarray:
        part = at_frames(statistic_t, frames)
        if len(part) not in (1, len(x)):
            raise UserError(
                f"The statistics of {what} hold {len(statistic_t)} frames, but frames "
                f"up to {frames.stop} of a trial are wanted. Recompute the statistics, "
                "or cut the trials to their length."
            )
        return part

    if what == RESPONSES:
        x *= cut(scale.precision_tn)  # scale_responses without a copy
    elif what in (BEHAVIOR, PUPIL):
        rows = scale.behavior if what == BEHAVIOR else scale.pupil
        x[...] = standardize(x, cut(rows.mean_tk), cut(rows.std_tk))
