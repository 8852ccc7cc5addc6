"""A twin's rates of whole trials, asked as its Asking says, in constant memory.

What a model returns belongs to the last frames of what it was given, as models may lose
leading frames. Every prediction leaves here in the judges' units.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax import asking as asked
from sensorium_jax.asking import SIGNALS, Asking, Joined, Twin
from sensorium_jax.axes import Prediction
from sensorium_jax.data import statistics
from sensorium_jax.data.session import BEHAVIOR, PUPIL, RESPONSES, VIDEO, Session
from sensorium_jax.errors import UserError, unknown
from sensorium_jax.normalize import (
    JUDGED,
    UNITS,
    at_frames,
    judged,
    standardize,
)
from sensorium_jax.scoring.trials import Planned

BUCKET = 20  # whole trials are lengthened to a multiple, so that few lengths compile
RATES = 4_000_000  # numbers that one call may answer
FILMS, WINDOWS, PICTURES = 4, 16, 128  # clips of one call at most
AUTO = "auto"  # units of rates that the twin itself tells
Rows = Sequence[int] | np.ndarray
WORDS = dict(zip((VIDEO, BEHAVIOR, PUPIL), SIGNALS, strict=True))


def predict(
    twin: Twin,
    session: Session,
    rows: Rows,
    *,
    batch: int | None = None,
    units: str = "auto",
) -> Iterator[Prediction]:
    """Every trial of some rows, in order, as it is computed; without responses.

    batch is how many clips one call of the twin is given. units, unless "auto",
    overrules what the twin says of its rates. Whole trials of a causal model are
    lengthened to a multiple of 20 frames by repeating the last one, which changes no
    rate before it; the clips of other models keep their length.
    """
    asking = asked.of(twin)
    asked.check(asking, "the model")
    factor_tn = to_judged(session, getattr(twin, "units", asking.units), units)
    batch = batch or clips_at_once(asking, session, rows)
    pending: deque[_Trial] = deque()
    clips = _clips(twin, session, rows, asking, pending)
    for group in _groups(clips, batch, alike=not asking.causal):
        _answer(twin, session, group, batch, asking)
        while pending and not pending[0].waiting:
            yield _predicted(session, pending.popleft(), factor_tn)


def beside(session: Session, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
    """The same predictions with the responses of their trials."""
    precision_tn = statistics.precision(session)
    for p in predictions:
        raw_tn = session.read(RESPONSES, p.trial)
        yield p._replace(responses_tn=judged(raw_tn, precision_tn, p.start))


def stream(
    twin: Twin, plans: Sequence[Planned], **options: Any
) -> Iterator[Prediction]:
    """The planned trials of every mouse, predicted and beside their responses.

    options go to predict.
    """
    for plan in plans:
        predictions = predict(twin, plan.session, plan.rows, **options)
        yield from beside(plan.session, predictions)


def to_judged(session: Session, own: str, units: str = "auto") -> np.ndarray | None:
    """What rates [t, n] are multiplied by to be in the judges' units, if by anything.

    own is what the twin says of its rates; units, unless "auto", overrules it.
    """
    if units not in (AUTO, *UNITS):
        raise unknown("response units", units, (AUTO, *UNITS), "Give --units.")
    units = own if units == AUTO else units
    if units == JUDGED:
        return None
    return statistics.to_judged(session, units)


def clips_at_once(asking: Asking, session: Session, rows: Rows) -> int:
    """How many clips one call is given, so that its answer has a bounded size."""
    if not len(rows):
        return 1
    whole = asking.mode == "whole"
    frames = session.reader.length(int(rows[0])) if whole else asking.frames
    most = PICTURES if frames == 1 else FILMS if whole else WINDOWS
    return int(np.clip(RATES // (frames * session.neurons), 1, most))


class Inputs(NamedTuple):
    """Reads what a twin is shown of a trial, in the units that it wants."""

    session: Session
    scales: dict[str, tuple[np.ndarray, np.ndarray]]  # mean and std; none: as recorded
    behaviors: int  # of the twin; 0 for a model of the stimulus alone

    @classmethod
    def of(cls, twin: Twin, session: Session) -> "Inputs":
        """What this twin does not take as recorded is normalized here."""
        raw, inputs = getattr(twin, "raw", SIGNALS), asked.of(twin).inputs
        scales = {}
        for what, word in WORDS.items():
            if word in raw or not session.has(what):
                continue
            if what == VIDEO:
                mean, std = (x[0] for x in statistics.video_stats([session], inputs))
            else:
                rows = statistics.row_stats(session, what, inputs)
                mean, std = rows.mean_tk, rows.std_tk
            scales[what] = mean, std
        behaviors = getattr(twin, "behaviors", session.behaviors)
        return cls(session, scales, behaviors)

    def read(self, row: int) -> list[np.ndarray]:
        """Video [t, h, w, c], behavior [t, k] and pupil [t, 2] of a whole trial."""
        frames = np.arange(self.session.reader.length(row))
        found = []
        for what in WORDS:
            x = self.session.read(what, row)
            if what in self.scales:
                mean, std = (at_frames(s, frames) for s in self.scales[what])
                x = standardize(x, mean, std)
            found.append(self._taken(x) if what == BEHAVIOR else x)
        return found

    def _taken(self, x_tk: np.ndarray) -> np.ndarray:
        """The signals that the twin takes; those that the mouse lacks are 0.

        So they are in training, where mice with and without behavior stand together.
        """
        lacking = max(self.behaviors - x_tk.shape[1], 0)
        return np.pad(x_tk, ((0, 0), (0, lacking))) if self.behaviors else x_tk[:, :0]


class _Trial:
    """A trial that is being asked for."""

    def __init__(self, row: int, inputs: list[np.ndarray], asking: Asking, clips: int):
        self.row, self.inputs, self.waiting = row, inputs, clips
        self.joined = Joined(asking, len(inputs[0]))


class _Clip(NamedTuple):
    """Which frames of a trial are shown at once."""

    trial: _Trial
    frames: np.ndarray


def _clips(
    twin: Twin, session: Session, rows: Rows, asking: Asking, pending: deque[_Trial]
) -> Iterator[_Clip]:
    """The clips of all trials; a trial is read when its first clip is asked for."""
    inputs = Inputs.of(twin, session)
    for row in map(int, rows):
        clips = asked.clips(asking, session.reader.length(row))
        trial = _Trial(row, inputs.read(row), asking, len(clips))
        pending.append(trial)
        for frames in clips:
            yield _Clip(trial, frames)


def _groups(
    clips: Iterable[_Clip], batch: int, *, alike: bool
) -> Iterator[list[_Clip]]:
    """Up to so many clips that follow each other; alike: all of one length."""
    group: list[_Clip] = []
    for clip in clips:
        if alike and group and len(clip.frames) != len(group[0].frames):
            yield group
            group = []
        group.append(clip)
        if len(group) == batch:
            yield group
            group = []
    if group:
        yield group


def _answer(
    twin: Twin, session: Session, group: list[_Clip], batch: int, asking: Asking
) -> None:
    """One call of the twin; every clip's answer goes to its trial."""
    frames = max(len(clip.frames) for clip in group)
    if asking.mode == "whole" and asking.causal and frames >= BUCKET:
        frames = -(-frames // BUCKET) * BUCKET
    # The last clip again where there are fewer, so that batches have one size.
    rows = group + group[-1:] * (batch - len(group))
    at = [np.pad(c.frames, (0, frames - len(c.frames)), "edge") for c in rows]
    columns = (
        np.stack([clip.trial.inputs[i][f] for clip, f in zip(rows, at, strict=True)])
        for i in range(len(WORDS))
    )
    first_b = np.array([clip.frames[0] for clip in rows], np.int32)
    rates_btn = twin.respond(*columns, session.name, first_frame_b=first_b)
    rates_btn = np.asarray(rates_btn)
    lost = frames - rates_btn.shape[1]
    if rates_btn.shape[2] != session.neurons:
        raise UserError(
            f"The model answers {_where(session, group[0].trial)} with "
            f"{rates_btn.shape[2]} neurons; it has {session.neurons}. Give the "
            "recordings that the model was made of."
        )
    for (trial, shown), rates_tn in zip(group, rates_btn, strict=False):
        if len(shown) <= lost:
            raise UserError(
                f"{_where(session, trial)} is shown in a clip of {len(shown)} frames "
                f"and the model loses {lost}; expected at least {lost + 1}. Leave such "
                "trials out."
            )
        trial.joined.add(shown, rates_tn[: len(shown) - lost])
        trial.waiting -= 1


def _predicted(
    session: Session, trial: _Trial, factor_tn: np.ndarray | None
) -> Prediction:
    """The joined answers of a trial, checked and in the judges' units."""
    rates_tn, start = trial.joined.value()
    where, skip = _where(session, trial), session.rules.skip
    if skip and start > skip:
        raise UserError(
            f"The model answers {where} from frame {start} on; the judges compare from "
            f"frame {skip} on. Use a model that loses fewer leading frames."
        )
    if not np.isfinite(rates_tn).all():
        raise UserError(
            f"The model answers {where} with NaN or infinity, which no judge "
            "accepts. Train it again, or take an earlier checkpoint (--step)."
        )
    if factor_tn is not None:
        frames = np.arange(start, start + len(rates_tn))
        rates_tn = rates_tn * at_frames(factor_tn, frames)
    first = max(start, skip)
    return Prediction(session.name, trial.row, rates_tn[first - start :], None, first)


def _where(session: Session, trial: _Trial) -> str:
    return f"trial {session.files[trial.row]} of {session.name}"
