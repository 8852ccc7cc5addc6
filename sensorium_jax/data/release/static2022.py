"""The static release of 2022: a picture is a film with one frame."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sensorium_jax.data import config
from sensorium_jax.data.config import Told
from sensorium_jax.data.release import tree
from sensorium_jax.data.session import BEHAVIOR, PUPIL, RESPONSES, VIDEO, Session, Stats
from sensorium_jax.errors import UserError
from sensorium_jax.rules import PICTURES

STIMULUS, KIND = "images", PICTURES


def open_session(folder: Path, said: Told | None = None) -> Session:
    """A session of pictures; reads facts and headers, no trial.

    said is what it says of itself, if that was read already.
    """
    said = said or config.of_folder(folder, KIND)
    facts = tree.gather(folder, STIMULUS, said.links)
    first = tree.first_trial(facts)
    image, responses = first[VIDEO], first[RESPONSES]
    if image.ndim not in (2, 3) or responses.ndim != 1:
        raise UserError(
            f"{folder}: an image has shape {image.shape} and its responses "
            f"{responses.shape}. Expected (C, H, W) and (N,)."
        )
    channels = image.shape[0] if image.ndim == 3 else 1
    frame_shape = (*image.shape[-2:], channels)
    unit_ids_n, coordinates_n3 = tree.units(facts, folder, len(responses))
    statistics = {}
    for what in first:
        stored = tree.stored_statistics(folder, STIMULUS if what == VIDEO else what)
        shape = frame_shape if what == VIDEO else first[what].shape
        statistics[what] = Stats(
            **{k: _fit(folder, what, v, shape) for k, v in stored.items()}
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
        video_dtype=np.dtype(np.uint8 if image.dtype == np.uint8 else np.float32),
        behaviors=len(first[BEHAVIOR]) if BEHAVIOR in first else 0,
        has_pupil=PUPIL in first,
        statistics=statistics,
        reader=PictureReader(facts.folders, facts.files),
        columns=facts.columns,
        unit_columns=facts.units,
        frames_per_second=said.frames_per_second,
        degrees_per_pixel=said.degrees_per_pixel,
    )


@dataclass(frozen=True)
class PictureReader:
    """Reads whole files; each is one frame."""

    folders: dict[str, Path]
    files: np.ndarray

    def videos(self, rows: np.ndarray) -> np.ndarray:
        """A number for the video of each trial, equal where they share a file."""
        return tree.same_files(self.folders[VIDEO], self.files[rows])

    def length(self, trial: int) -> int:
        """One frame, whatever the trial."""
        return 1

    def read(self, what: str, trial: int, frames: slice, out: np.ndarray) -> None:
        """Fill out, [frame, h, w, c] or [frame, n]."""
        where = self.folders[what] / f"{self.files[trial]}.npy"
        stored = tree.read_npy(where)
        if what == VIDEO:
            stored = np.moveaxis(stored if stored.ndim == 3 else stored[None], 0, -1)
        part = stored[None][frames]
        tree.check_part(where, part, out)
        out[...] = part
        if out.dtype.kind == "f" and np.isnan(out).any():
            raise UserError(f"{where} holds a NaN; leave out the neuron or the trial.")


def _fit(folder: Path, what: str, x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Statistics broadcasting from the right against one frame."""
    if x.size == 1:
        return np.broadcast_to(x.reshape(()), shape if what != VIDEO else ())
    if what == VIDEO and x.ndim > 1:
        x = np.moveaxis(x if x.ndim == 3 else x[None], 0, -1)
    if len(shape) == 1 and x.size == shape[0]:
        return x.reshape(shape)
    try:
        fits = np.broadcast_shapes(x.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise tree.misfit(folder, what, x.shape, f"one number or {shape}")
    return x


def video_to_file(video_thwc: np.ndarray, pad_to: int | None = None) -> np.ndarray:
    """The array that a file holds: (C, H, W)."""
    return np.ascontiguousarray(np.moveaxis(video_thwc[0], -1, 0))


def rows_to_file(x_tn: np.ndarray, pad_to: int | None = None) -> np.ndarray:
    """Responses, behavior or pupil as stored: (N,)."""
    return np.ascontiguousarray(x_tn[0])
