"""What neurons are shown that was not made up: trials of recordings, and pictures."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sensorium_jax import progress
from sensorium_jax.data import statistics
from sensorium_jax.data.formats import films
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.session import VIDEO, Session
from sensorium_jax.errors import UserError
from sensorium_jax.findings import Fault
from sensorium_jax.insilico.ranking import Clip
from sensorium_jax.insilico.subjects import Subject
from sensorium_jax.io import npy
from sensorium_jax.normalize import at_frames, shrink, shrunk_shape, standardize


def clips(one: Subject, data: str, tier: str | None = None) -> Iterator[Clip]:
    """All of a tree, a store, its URL, or a folder of .npy files or pictures."""
    folder = Path(data).expanduser()
    if folder.is_dir():
        stacks = sorted(folder.glob("*.npy"))
        if stacks:
            return _pictures(one, (_stack(path) for path in stacks))
        if any(p.suffix.lower() in films.PICTURES for p in folder.iterdir()):
            return _pictures(one, _files(one, folder))
    return _trials(one, _session(data, one), tier)


def some(one: Subject, data: str, frames: int, count: int, seed: int) -> np.ndarray:
    """Natural clips [count, T, H, W, C] in units of contrast, drawn by the seed.

    Each is the last frames of a clip, wherever the draw has it end.
    """
    rng = np.random.default_rng([seed, 17])
    kept: list[np.ndarray] = []
    for i, clip in enumerate(clips(one, data)):
        video = clip.video_thwc
        if len(video) < frames:
            continue
        # Every clip is kept with the same chance, without knowing how many there are.
        at = len(kept) if len(kept) < count else int(rng.integers(0, i + 1))
        if at >= count:
            continue
        end = int(rng.integers(frames, len(video) + 1))
        piece = np.array(one.screen.contrast(video[end - frames : end]), np.float32)
        kept[at : at + 1] = [piece]
    if not kept:
        raise UserError(
            f"{data} has no clip of {frames} frames or more to start from. Give other "
            "recordings or pictures, or fewer --frames."
        )
    return np.stack([kept[i % len(kept)] for i in range(count)])


def _session(data: str, one: Subject) -> Session:
    """The recording of the mouse that is asked, or else the first."""
    recordings = Recordings.open(data)
    named = [s for s in recordings.sessions if s.name == one.name]
    session = (named or list(recordings.sessions))[0]
    rate, known = session.frames_per_second, session.rules.films and one.fps
    if known and rate and abs(rate - known) > 1e-6 * known:
        raise UserError(
            f"{session.name} has {rate:g} frames per second, the model was made for "
            f"{known:g}. Give recordings of its frame rate."
        )
    h, w, c = session.frame_shape
    seen = (*shrunk_shape(h, w, one.asking.scale), c)
    if seen != one.frame and (h, w, c) != one.frame:
        raise UserError(
            f"{session.name} has frames of {h} x {w} x {c}, the model sees "
            f"{' x '.join(map(str, one.frame))}. Give recordings of its frames."
        )
    return session


def _trials(one: Subject, session: Session, tier: str | None) -> Iterator[Clip]:
    rows = np.arange(session.trials) if tier is None else session.trials_of(tier)
    scale = None
    if "video" not in getattr(one.twin, "raw", ("video",)):
        scale = [x[0] for x in statistics.video_stats([session])]
    for row in progress.track(rows.tolist(), f"Reading {session.name[:24]}"):
        video = session.read(VIDEO, row).astype(np.float32)
        if scale is not None:
            frames = np.arange(len(video))
            mean, std = (at_frames(s, frames) for s in scale)
            video = standardize(video, mean, std).astype(np.float32)
        if len(video) > one.lost:
            yield Clip(int(session.files[row]), small(one, video))


def small(one: Subject, video_thwc: np.ndarray) -> np.ndarray:
    """Frames as stimuli have them, small where the model sees them so."""
    share = one.frame[0] / video_thwc.shape[1]
    return video_thwc if share == 1 else np.asarray(shrink(video_thwc, share))


def _stack(path: Path) -> np.ndarray:
    """Pictures [n, H, W, C] of a .npy file, not read yet."""
    stack = npy.mapped(path)
    if isinstance(stack, Fault):
        raise UserError(f"{path}: {stack.finding}. Expected pictures; {stack.remedy}.")
    stack = stack[None] if stack.ndim == 2 else stack
    return stack[..., None] if stack.ndim == 3 else stack


def _files(one: Subject, folder: Path) -> Iterator[np.ndarray]:
    """Pictures of a folder, a few at a time, in the order of numbers in names."""
    frames = films.folder(folder, color=one.frame[2] == 3)
    for start in range(0, frames.count, 32):
        yield frames.read(start, min(start + 32, frames.count))


def _pictures(one: Subject, stacks: Iterator[np.ndarray]) -> Iterator[Clip]:
    """Grey levels 0..255, brought to the twin's units by its screen."""
    h, w, c = one.frame
    length, number = one.memory if one.films else 1, 0
    for stack in stacks:
        if (
            stack.ndim != 4
            or stack.shape[1:3] != (h, w)
            or stack.shape[3] not in (1, c)
        ):
            raise UserError(
                f"Pictures of shape {stack.shape[1:]} were given; expected {h} x {w}, "
                "[pictures, rows, columns], grey levels 0 to 255, as the model sees "
                "them. Make them that size."
            )
        for picture in stack:
            share = np.asarray(picture, np.float32) / 255
            level = one.screen.black + share * (one.screen.white - one.screen.black)
            yield Clip(number, np.broadcast_to(level, (length, h, w, c)))
            number += 1
