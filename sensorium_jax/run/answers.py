"""Some trials of a mouse laid end to end: what was shown, recorded and predicted."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax.data.session import VIDEO, Session, tier_named
from sensorium_jax.plots import recordings as pictures
from sensorium_jax.scoring import predict, trials

Rows = Sequence[int] | np.ndarray


class Answers(NamedTuple):
    """Predictions beside responses, in the judges' units, frame by frame."""

    recorded_tn: np.ndarray
    predicted_tn: np.ndarray
    frames: np.ndarray  # what was shown, uint8 [t, h, w] or [t, h, w, 3]
    starts: tuple[int, ...]  # frames at which trials begin
    mouse: str

    @property
    def correlation_n(self) -> np.ndarray:
        """Single-trial correlation of every neuron over these frames."""
        x_tn, y_tn = (x - x.mean(0) for x in (self.recorded_tn, self.predicted_tn))
        spread_n = np.sqrt((x_tn**2).sum(0) * (y_tn**2).sum(0))
        both_n = (x_tn * y_tn).sum(0)
        zero_n = np.zeros_like(both_n)
        return np.divide(both_n, spread_n, where=spread_n > 0, out=zero_n)

    def __repr__(self) -> str:
        """One line."""
        t, n = self.recorded_tn.shape
        trials = len(self.starts)
        return f"Answers({n} neurons of {self.mouse}, {trials} trials, {t} frames)"


def of_tier(
    twin: Any, session: Session, tier: str, *, frames: int | None = None
) -> Answers:
    """The trials of a tier whose responses are known."""
    rows = trials.rows_of(session, tier_named(tier, [session]))
    if not len(rows):
        rows = session.trials_of(tier)  # says which tiers there are
    return of(twin, session, rows, frames=frames)


def of(
    twin: Any, session: Session, rows: Rows, *, frames: int | None = None
) -> Answers:
    """The first of some trials, with so many frames at most."""
    some, total = [], 0
    for row in map(int, rows):
        if frames and total >= frames:
            break
        some.append(row)
        total += session.reader.length(row) - session.rules.skip
    recorded, predicted, video, starts = [], [], [], [0]
    for p in predict.beside(session, predict.predict(twin, session, some)):
        shown = slice(p.start, p.start + len(p.rates_tn))
        recorded.append(np.asarray(p.responses_tn)[: len(p.rates_tn)])
        predicted.append(np.asarray(p.rates_tn)[: len(recorded[-1])])
        video.append(session.read(VIDEO, p.trial, shown)[: len(recorded[-1])])
        starts.append(starts[-1] + len(recorded[-1]))
    joined = [np.concatenate(x)[:frames] for x in (recorded, predicted, video)]
    begins = tuple(s for s in starts[:-1] if not frames or s < frames)
    return Answers(joined[0], joined[1], _bytes(joined[2]), begins, session.name)


def _bytes(video_thwc: np.ndarray) -> np.ndarray:
    """Frames as pictures, [t, h, w] or [t, h, w, 3], uint8."""
    if video_thwc.shape[-1] != 3:
        video_thwc = video_thwc.astype(np.float32).mean(-1)
    black, white = pictures.greys(video_thwc)
    scaled = (video_thwc.astype(np.float32) - black) / max(white - black, 1e-9)
    return (255 * scaled).clip(0, 255).round().astype(np.uint8)
