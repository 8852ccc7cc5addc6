"""A twin's answers to the trials of a recording, as a submission holds them."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np

from sensorium_jax import normalize
from sensorium_jax.axes import Trial
from sensorium_jax.data import statistics
from sensorium_jax.data.session import BEHAVIOR, PUPIL, VIDEO, Session
from sensorium_jax.data.stream import gather
from sensorium_jax.errors import UserError, unknown
from sensorium_jax.scoring import predict
from sensorium_jax.submission.expected import SKIP

RAW = ("video", "behavior", "pupil")
JUDGED = "per_frame"
UNITS = ("auto", *normalize.SCALINGS, "raw")  # of rates; auto asks the twin
Array = Any


class Twin(Protocol):
    """Whatever answers a stimulus with rates [B, T', N] of the last T' frames.

    Its attribute `raw`, if it has one, names the inputs taken as recorded; the others
    are given in normalized units. Without it everything is given as recorded. `units`
    names those of its rates; without it they are the judges', per_frame.
    """

    @property
    def respond(self) -> Callable[..., Array]:
        """Called with video_bthwc, behavior_btk, pupil_bt2 and the mouse's name."""
        ...


def trials(
    session: Session, rows: Sequence[int] | np.ndarray, raw: Sequence[str] = RAW
) -> Iterator[Trial]:
    """Trials without their responses, one in memory at a time."""
    scale = gather.scale_of(session, "per_frame")
    video = statistics.video_stats([session])
    for row in map(int, rows):
        frames = slice(0, session.reader.length(row), 1)
        seen = {what: session.read(what, row) for what in (VIDEO, BEHAVIOR, PUPIL)}
        if "video" not in raw:
            mean, std = (normalize.at_frames(x[0], frames) for x in video)
            seen[VIDEO] = normalize.standardize(seen[VIDEO], mean, std)
        for what, word in ((BEHAVIOR, "behavior"), (PUPIL, "pupil")):
            if word not in raw and session.has(what) and scale is not None:
                gather.normalize(what, seen[what], scale, frames)
        nothing = np.zeros((frames.stop, 0), np.float32)
        yield Trial(seen[VIDEO], seen[BEHAVIOR], seen[PUPIL], nothing)


def answers(
    twin: Twin,
    session: Session,
    rows: Sequence[int] | np.ndarray,
    *,
    units: str = "auto",
    **how: Any,
) -> Iterator[np.ndarray]:
    """Predictions [n, t] of trials in the judges' units, from frame 50 of a film on.

    units is what the twin answers in. how goes to predict.
    """
    factor_tn = to_judged(session, getattr(twin, "units", JUDGED), units)
    respond = partial(_respond, twin, session.name)
    shown: Any = trials(session, rows, getattr(twin, "raw", RAW))
    skip = SKIP if session.year == 2023 else 0
    made = predict.predict(respond, shown, **how)
    for row, (rates_tn, start) in zip(rows, made, strict=True):
        where = f"trial {session.files[row]} of {session.name}"
        if start > skip:
            raise UserError(
                f"The model answers {where} from frame {start} on; a submission needs "
                f"frame {skip}. Use a model that loses fewer leading frames."
            )
        if rates_tn.shape[1] != session.neurons:
            raise UserError(
                f"The model answers {where} with {rates_tn.shape[1]} neurons; it has "
                f"{session.neurons}. Give the recordings that the model was made of."
            )
        if not np.isfinite(rates_tn).all():
            raise UserError(
                f"The model answers {where} with NaN or infinity, which no judge "
                "accepts. Train it again, or take an earlier checkpoint (--step)."
            )
        if factor_tn is not None:
            seen = slice(start, start + len(rates_tn))
            rates_tn = rates_tn * normalize.at_frames(factor_tn, seen)
        yield np.ascontiguousarray(rates_tn[skip - start :].T)


def to_judged(session: Session, own: str, units: str = "auto") -> np.ndarray | None:
    """What rates [t, n] are multiplied by to be in the judges' units, if by anything.

    own is what the twin says of its rates; units, unless "auto", overrules it.
    """
    if units not in UNITS:
        raise unknown("response units", units, UNITS, "Give --units.")
    units = own if units == "auto" else units
    if units == JUDGED:
        return None
    precision_tn = statistics.precision(session, JUDGED)
    if units == "raw":
        return precision_tn
    return precision_tn / statistics.precision(session, units)


def _respond(twin, mouse, video_bthwc, behavior_btk, pupil_bt2):
    signals = getattr(twin, "behaviors", behavior_btk.shape[-1])
    if not signals:  # a model of the stimulus alone
        behavior_btk = behavior_btk[..., :0]
    return twin.respond(video_bthwc, behavior_btk, pupil_bt2, mouse)
