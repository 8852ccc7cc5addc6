"""A page of pictures of every recording, to see within a minute whether all is right.

Frames, activity with a mark where each trial begins, one stimulus shown again and
again, and how reliable every neuron is.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax import progress
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.session import BEHAVIOR, PUPIL, RESPONSES, VIDEO, Session
from sensorium_jax.data.stimuli import folds
from sensorium_jax.data.stream.pools import labelled
from sensorium_jax.errors import UserError
from sensorium_jax.io import atomic
from sensorium_jax.plots import recordings as plots
from sensorium_jax.rules import UNUSED

SUFFIXES = (".png", ".svg", ".pdf")
PAGE_FRAMES, CLIPS = 8, 3  # on the page
NEURONS, LENGTH = 80, 900  # neurons and frames of its raster
BEST = 4  # neurons beside each other
REPEATED = 12  # films that reliability is measured on, of at most so many trials each


class Page(NamedTuple):
    """A page that was drawn, and what it says of the neurons in two numbers."""

    path: Path
    name: str  # of the recording
    reliability: float | None  # median over neurons; None where nothing is repeated
    reliable: float | None  # share of neurons above plots.RELIABLE

    def __str__(self) -> str:
        """The line that is printed."""
        words = "no stimulus is repeated, so reliability is not known"
        if self.reliability is not None:
            words = (
                f"{self.reliable:.0%} of the neurons repeat themselves (correlation "
                f"with the other repeats above {plots.RELIABLE}), median "
                f"{self.reliability:.3f}"
            )
        return f"pictures of {self.name} in {self.path}: {words}"


def check_place(out: str | Path) -> Path:
    """Where pages go; refused where it is no picture, before anything is read."""
    out = Path(out)
    if out.suffix.lower() not in SUFFIXES:
        raise UserError(
            f"{out} is no picture. Expected a name ending in {', '.join(SUFFIXES)}."
        )
    return out


def draw(path: str | Path, out: str | Path, rules: str | None = None) -> list[Page]:
    """Draw a page of every recording that Recordings.open finds under path.

    With several mice their names are added to out.
    """
    out, sessions = check_place(out), Recordings.open(path, rules).sessions
    pages = []
    for session in sessions:
        more = "" if len(sessions) == 1 else f"-{session.name}"
        place = out.with_name(f"{out.stem}{more}{out.suffix}")
        shown = shown_of(session)
        figure = plots.page(shown)
        with atomic.whole(place) as temporary:
            figure.savefig(temporary, format=out.suffix[1:].lower(), dpi=110)
        known = shown.reliability_n[np.isfinite(shown.reliability_n)]
        several = float(np.median(known)) if known.size else None
        share = float((known > plots.RELIABLE).mean()) if known.size else None
        pages.append(Page(place, session.name, several, share))
    return pages


def shown_of(session: Session) -> plots.Shown:
    """What the page of one recording is drawn from."""
    rows = np.flatnonzero(session.tiers != UNUSED)
    # Hidden responses are zeros, which say nothing of a neuron.
    real = rows[[labelled(session, int(row)) for row in rows]]
    groups = _repeats(session, real)
    reliability_n = _reliability(session, groups)
    order = np.argsort(-np.nan_to_num(reliability_n, nan=-2.0), kind="stable")
    some = order[np.unique(np.linspace(0, len(order) - 1, NEURONS).astype(int))]
    activity = _activity(session, real if real.size else rows, np.sort(some))
    seconds = session.rules.films and session.frames_per_second
    words = ("seconds" if seconds else "frames") if session.rules.films else "pictures"
    size = "x".join(map(str, session.frame_shape))
    return plots.Shown(
        title=(
            f"{session.name}: {len(rows)} trials, {session.neurons} neurons, "
            f"frames {size}"
        ),
        rate=seconds or 1.0,
        unit=words,
        clips=_clips(session, rows),
        **activity,
        repeats_rtn=_repeated(session, groups, order[:BEST]),
        reliability_n=reliability_n,
    )


def _activity(session: Session, rows: np.ndarray, some: np.ndarray) -> dict[str, Any]:
    """Some neurons, the film and the animal in the first trials, one after the other.

    Fields of plots.Shown.
    """
    films = session.rules.films
    x, change, behavior, pupil = [], [], [], []
    starts, total = [], 0
    for row in map(int, rows):
        if total and total + session.reader.length(row) > LENGTH:
            break
        x.append(session.read(RESPONSES, row)[:, some])
        video = session.read(VIDEO, row).astype(np.float32)
        moved = np.abs(np.diff(video, axis=0)).mean((1, 2, 3))
        change.append(np.append(0.0, moved) if films else video.std((1, 2, 3)))
        nothing = x[-1][:, :0]
        behavior.append(session.read(BEHAVIOR, row) if session.behaviors else nothing)
        pupil.append(session.read(PUPIL, row) if session.has_pupil else nothing)
        starts.append(total)
        total += len(x[-1])
    joined = (np.concatenate(v)[:LENGTH] for v in (x, change, behavior, pupil))
    names = ("responses_tn", "change_t", "behavior_tk", "pupil_t2")
    marks = tuple(s for s in starts if s < LENGTH) if films else ()
    return dict(zip(names, joined, strict=True)) | {"starts": marks}


def _clips(session: Session, rows: np.ndarray) -> dict[str, np.ndarray]:
    clips = {}
    for row in rows[np.unique(np.linspace(0, len(rows) - 1, CLIPS).astype(int))]:
        length = session.reader.length(int(row))
        places = np.unique(np.linspace(0, length - 1, PAGE_FRAMES).astype(int))
        frames = [session.read(VIDEO, int(row), slice(p, p + 1))[0] for p in places]
        words = f"trial {session.files[row]}\n{session.tiers[row]}"
        clips[words] = np.stack(frames)
    return clips


def _repeats(session: Session, rows: np.ndarray) -> list[np.ndarray]:
    """Rows of every stimulus that was shown again, the most often shown first."""
    if not len(rows):
        return []
    if "frame_image_id" in session.columns:
        shown = session.columns["frame_image_id"][rows]
    else:
        shown = folds.stimuli(session, rows)
    _, shown = np.unique(shown, return_inverse=True)
    groups = [rows[shown == s] for s in range(shown.max() + 1)]
    several = [g for g in groups if len(g) > 1]
    return sorted(several, key=len, reverse=True)


def _reliability(session: Session, groups: list[np.ndarray]) -> np.ndarray:
    """Correlation of a trial with the mean of the other repeats, of every neuron.

    Over the frames of all repeats of a few films; one film is in memory at a time.
    """
    sums = np.zeros((5, session.neurons))
    count = 0
    if not groups:
        return np.full(session.neurons, np.nan)
    # A correlation does not change by a shift; without it, a large mean of small
    # changes would leave nothing of them.
    shift_n = session.read(RESPONSES, int(groups[0][0]), slice(0, 1))[0]
    several = groups[:REPEATED] if session.rules.films else groups
    for group in progress.track(several, f"repeats of {session.name[:24]}"):
        group = group[:REPEATED].tolist()
        frames = slice(0, min(session.reader.length(row) for row in group))
        total_tn = sum(session.read(RESPONSES, row, frames) - shift_n for row in group)
        for row in group:
            x_tn = session.read(RESPONSES, row, frames) - shift_n
            others_tn = (total_tn - x_tn) / (len(group) - 1)
            terms = ((x_tn, None), (others_tn, None), (x_tn, x_tn))
            terms += ((others_tn, others_tn), (x_tn, others_tn))
            for i, (a_tn, b_tn) in enumerate(terms):
                part = a_tn if b_tn is None else a_tn * b_tn
                sums[i] += part.sum(0, dtype=np.float64)
            count += len(x_tn)
    x, y, xx, yy, xy = sums / count
    spread = (xx - x * x).clip(0) * (yy - y * y).clip(0)
    both = xy - x * y
    return np.divide(
        both, np.sqrt(spread), where=spread > 0, out=np.full_like(x, np.nan)
    )


def _repeated(
    session: Session, groups: list[np.ndarray], best: np.ndarray
) -> np.ndarray:
    """One film again and again [R, T, n], of the neurons that tell it best."""
    if not groups:
        return np.empty((0, 0, len(best)), np.float32)
    group = groups[0][: 4 * REPEATED].tolist()
    frames = slice(0, min(session.reader.length(row) for row in group))
    return np.stack([session.read(RESPONSES, row, frames)[:, best] for row in group])
