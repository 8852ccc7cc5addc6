"""`sensorium screen`: frames of recordings, or pictures, that drive neurons most."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sensorium_jax import progress
from sensorium_jax.data import statistics
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.session import VIDEO, Session
from sensorium_jax.errors import UserError
from sensorium_jax.findings import Fault
from sensorium_jax.insilico.ranking import Clip, screen as ask
from sensorium_jax.insilico.subjects import Subject
from sensorium_jax.io import npy
from sensorium_jax.normalize import at_frames, standardize
from sensorium_jax.run import Outcome
from sensorium_jax.run.insilico.asked import Asked, resumed, subject

BLOCK = 2048  # neurons; everything is shown once for each block


def screen(
    asked: Asked,
    *,
    data: str,
    tier: str | None = None,
    top: int = 5,
    apart: int | None = None,
) -> Outcome:
    """Rank frames of a tree or store, of one tier or all, or of .npy files of pictures.

    The number of a clip is its trial's, or that of the picture in order. apart is in
    frames; usually half a second, so that one scene counts once.
    """
    one = subject(asked)
    usual = round(one.fps / 2) if one.fps else 1
    apart = usual if apart is None else apart
    folder = Path(data).expanduser()
    loose = sorted(folder.glob("*.npy")) if folder.is_dir() else []
    session = None if loose else _session(data, one)
    options = {"data": str(data), "tier": tier, "top": top, "apart": apart}

    def some(neurons):
        clips = (
            _pictures(one, loose) if session is None else _trials(one, session, tier)
        )
        return ask(one, clips, neurons, top=top, apart=apart)

    return resumed("screen", asked, one, options, some, block=BLOCK)


def _session(data: str, one: Subject) -> Session:
    """The recording of the mouse that is asked, or else the first."""
    recordings = Recordings.open(data)
    named = [s for s in recordings.sessions if s.name == one.name]
    return (named or list(recordings.sessions))[0]


def _trials(one: Subject, session: Session, tier: str | None) -> Iterator[Clip]:
    rows = np.arange(session.trials) if tier is None else session.trials_of(tier)
    scale = None
    if "video" not in getattr(one.twin, "raw", ("video",)):
        scale = [x[0] for x in statistics.video_stats([session])]
    for row in progress.track(rows.tolist(), f"Screening {session.name[:24]}"):
        video = session.read(VIDEO, row).astype(np.float32)
        if scale is not None:
            frames = np.arange(len(video))
            mean, std = (at_frames(s, frames) for s in scale)
            video = standardize(video, mean, std).astype(np.float32)
        if len(video) > one.lost:
            yield Clip(int(session.files[row]), video)


def _pictures(one: Subject, files: list[Path]) -> Iterator[Clip]:
    """Grey levels 0..255, brought to the twin's units by its screen."""
    h, w, c = one.frame
    number = 0
    for path in files:
        stack = npy.mapped(path)
        if isinstance(stack, Fault):
            raise UserError(
                f"{path}: {stack.finding}. Expected pictures; {stack.remedy}."
            )
        stack = stack[None] if stack.ndim == 2 else stack
        fits = stack.shape[1:3] == (h, w) and stack.shape[3:] in ((), (1,), (c,))
        if not fits or stack.dtype.kind not in "biuf":
            raise UserError(
                f"{path} has shape {stack.shape} and type {stack.dtype}; expected "
                f"pictures of {h} x {w}, [pictures, rows, columns], grey levels 0 to "
                "255."
            )
        for picture in stack:
            level = np.asarray(picture, np.float32).reshape(h, w, -1)
            share = level / 255 * (one.screen.white - one.screen.black)
            video = np.broadcast_to(share + one.screen.black, (h, w, c))
            length = one.memory if one.films else 1
            yield Clip(number, np.broadcast_to(video, (length, h, w, c)))
            number += 1
