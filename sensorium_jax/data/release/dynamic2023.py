"""The dynamic release of 2023: films, time-last files, NaN tails."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sensorium_jax.data import config
from sensorium_jax.data.config import Told
from sensorium_jax.data.release import tree
from sensorium_jax.data.session import (
    BEHAVIOR,
    MOST_FRAMES,
    PUPIL,
    RESPONSES,
    VIDEO,
    Session,
    Stats,
)
from sensorium_jax.errors import UserError
from sensorium_jax.rules import FILMS, OWN, Rules

STIMULUS, KIND = "videos", FILMS
PROBES = 3  # rows or pixels looked at for the end of a trial; tails are whole frames


def open_session(folder: Path, said: Told | None = None) -> Session:
    """A session of films; reads facts and headers, no trial.

    said is what it says of itself, if that was read already.
    """
    said = said or config.of_folder(folder, KIND)
    facts = tree.gather(folder, STIMULUS, said.links)
    first = tree.first_trial(facts)
    video, responses = first[VIDEO], first[RESPONSES]
    if video.ndim not in (3, 4) or responses.ndim != 2:
        raise UserError(
            f"{folder}: a video has shape {video.shape} and its responses "
            f"{responses.shape}. Expected (H, W, T) or (C, H, W, T), and (N, T)."
        )
    channels = video.shape[0] if video.ndim == 4 else 1
    frame_shape = (*video.shape[-3:-1], channels)
    unit_ids_n, coordinates_n3 = tree.units(facts, folder, len(responses))
    statistics = {}
    for what, example in first.items():
        stored = tree.stored_statistics(folder, STIMULUS if what == VIDEO else what)
        fit = _video_stats if what == VIDEO else _row_stats
        statistics[what] = Stats(
            **{k: fit(folder, what, v, example) for k, v in stored.items()}
        )
    return Session(
        name=folder.name,
        rules=said.rules,
        where=str(folder),
        tiers=facts.tiers,
        files=facts.files,
        unit_ids_n=unit_ids_n,
        coordinates_n3=coordinates_n3,
        frame_shape=frame_shape,
        video_dtype=np.dtype(np.uint8 if video.dtype == np.uint8 else np.float32),
        behaviors=len(first[BEHAVIOR]) if BEHAVIOR in first else 0,
        has_pupil=PUPIL in first,
        statistics=statistics,
        reader=FilmReader(facts.folders, facts.files, _reach(statistics, said.rules)),
        columns=facts.columns,
        unit_columns=facts.units,
        frames_per_second=said.frames_per_second,
        degrees_per_pixel=said.degrees_per_pixel,
    )


@dataclass(frozen=True)
class FilmReader:
    """Copies just the frames asked for out of memory maps."""

    folders: dict[str, Path]
    files: np.ndarray
    limit: int  # frames that the statistics reach
    lengths: dict[int, int] = field(default_factory=dict)

    def _open(self, what: str, trial: int) -> np.ndarray:
        path = self.folders[what] / f"{self.files[trial]}.npy"
        stored = tree.open_npy(path)
        if stored.ndim and stored.shape[-1] > MOST_FRAMES:
            raise UserError(
                f"{path} has {stored.shape[-1]} frames. Expected time last, and at "
                f"most {MOST_FRAMES} frames; cut the recording into shorter trials."
            )
        return stored

    def videos(self, rows: np.ndarray) -> np.ndarray:
        """A number for the video of each trial, equal where they share a file."""
        return tree.same_files(self.folders[VIDEO], self.files[rows])

    def length(self, trial: int) -> int:
        """Valid frames of a trial: the first NaN of any modality ends it.

        So does the first NaN that dividing by the statistics makes, since the official
        chain divides before it cuts.
        """
        if trial not in self.lengths:
            ends = [_end(self._open(what, trial)) for what in self.folders]
            self.lengths[trial] = min(self.limit, *ends)
        return self.lengths[trial]

    def read(self, what: str, trial: int, frames: slice, out: np.ndarray) -> None:
        """Fill out, time first and channel last, from a time-last file."""
        stored = self._open(what, trial)
        part = np.moveaxis(stored[..., frames], -1, 0)
        if what == VIDEO:
            part = part[..., None] if stored.ndim == 3 else np.moveaxis(part, 1, -1)
        where = self.folders[what] / f"{self.files[trial]}.npy"
        tree.check_part(where, part, out)
        out[...] = part
        if out.dtype.kind == "f" and np.isnan(out).any():
            at = frames.start + int(np.argwhere(np.isnan(out))[0][0]) * frames.step
            raise UserError(
                f"{where} has a NaN at frame {at}, before the trial ends. NaN may only "
                "fill whole frames after the end; leave out the neuron or the trial."
            )


def _end(stored: np.ndarray) -> int:
    """First frame with a NaN, of (..., T)."""
    frames = stored.shape[-1]
    if stored.dtype.kind != "f":
        return frames
    gone = np.isnan(_probes(stored)).any(0)
    return int(gone.argmax()) if gone.any() else frames


def _probes(x: np.ndarray) -> np.ndarray:
    """A few rows or pixels [probe, T] of (..., T)."""
    if x.ndim == 2 and len(x) <= PROBES:
        return x
    shape = x.shape[:-1]
    spots = [tuple((n - 1) * k // (PROBES - 1) for n in shape) for k in range(PROBES)]
    return np.stack([x[spot] for spot in spots])


def _reach(statistics: Mapping[str, Stats], rules: Rules) -> int:
    """Frames that can be divided by the statistics; responses always can.

    Where one training trial alone reaches, the std is 0, which in the releases ends the
    trial as a NaN does; own recordings are not divided there and keep those frames.
    """
    ends = [sys.maxsize]
    for what, stored in statistics.items():
        for x_t in (stored.mean, stored.std):
            if x_t.ndim == (4 if what == VIDEO else 2):
                x = np.moveaxis(x_t, 0, -1)
                ends.append(x.shape[-1] if what == RESPONSES else _end(x))
                if x_t is stored.std and what != RESPONSES and rules.name != OWN:
                    ends.append(_still(x, ends[-1]))
    return min(ends)


def _still(std: np.ndarray, end: int) -> int:
    """First of the last frames before the end at which nothing varies, of (..., T).

    A signal that never varies at all is another matter: then there is no such frame.
    """
    varies = np.flatnonzero((_probes(std)[:, :end] > 0).any(0))
    return int(varies[-1]) + 1 if varies.size else end


def _row_stats(
    folder: Path, what: str, x: np.ndarray, example: np.ndarray
) -> np.ndarray:
    """Statistics of (R, T) files as (R,), (T, 1) or (T, R)."""
    rows, frames = example.shape
    if x.size == 1:
        return np.broadcast_to(x.reshape(()), (rows,))
    if x.shape in ((rows,), (rows, 1)):
        return x.reshape(rows)
    if x.ndim == 1:
        x = x[None]
    if x.ndim != 2 or x.shape[0] not in (1, rows) or x.shape[1] < frames:
        raise tree.misfit(
            folder, what, x.shape, f"one number, ({rows},) or ({rows}, {frames})"
        )
    return x.T


def _video_stats(
    folder: Path, what: str, x: np.ndarray, example: np.ndarray
) -> np.ndarray:
    """Statistics of (C?, H, W, T) files as () or ([T,] H, W, C), with 1 for any."""
    height, width, frames = example.shape[-3:]
    full = (example.shape[0] if example.ndim == 4 else 1, height, width, frames)
    if x.size == 1:
        return x.reshape(())
    if x.shape == full[:1]:
        x = x[:, None, None, None]
    elif x.shape == full[1:3] or (full[0] > 1 and x.shape == full[:3]):
        x = x[..., None]
    x = x.reshape((1,) * (4 - x.ndim) + x.shape)
    fits = all(n in (1, m) for n, m in zip(x.shape, full[:3], strict=False))
    if x.ndim != 4 or not fits or 1 < x.shape[3] < frames:
        raise tree.misfit(folder, what, x.shape, f"one number or {example.shape}")
    x_thwc = np.transpose(x, (3, 1, 2, 0))
    return x_thwc[0] if len(x_thwc) == 1 else x_thwc


def video_to_file(video_thwc: np.ndarray, pad_to: int | None = None) -> np.ndarray:
    """The array that a file holds: (H, W, T), colors (C, H, W, T), with a NaN tail.

    Integers have no NaN and stay unpadded.
    """
    video_chwt = np.transpose(video_thwc, (3, 1, 2, 0))
    return _padded(video_chwt[0] if len(video_chwt) == 1 else video_chwt, pad_to)


def rows_to_file(x_tn: np.ndarray, pad_to: int | None = None) -> np.ndarray:
    """Responses, behavior or pupil as stored: (N, T) with a NaN tail."""
    return _padded(x_tn.T, pad_to)


def _padded(x: np.ndarray, frames: int | None) -> np.ndarray:
    if x.dtype.kind != "f" or not frames or frames <= x.shape[-1]:
        return np.ascontiguousarray(x)
    out = np.full((*x.shape[:-1], frames), np.nan, x.dtype)
    out[..., : x.shape[-1]] = x
    return out
