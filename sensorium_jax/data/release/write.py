"""Writes official trees, for the simulator and for own recordings."""

import json
import shutil
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from sensorium_jax.data.release import dynamic2023, own, static2022
from sensorium_jax.data.release.layout_statistics import layout_moments
from sensorium_jax.data.session import BEHAVIOR, PUPIL, RESPONSES, VIDEO
from sensorium_jax.errors import UserError, unknown
from sensorium_jax.io.atomic import save_npy

YEARS = {2022: static2022, 2023: dynamic2023}
PARTIAL = ".partial"  # never inside data/: the official loader counts every file there


class SessionWriter:
    """Writes one session trial by trial, in bounded memory; a kill loses one trial.

    Trials already there are kept: ask has(file_index) before making a trial again.
    Nothing reads as a session until finish has written the tiers, which come last.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        year: int = 2023,
        neurons: int,
        frame_shape: tuple[int, int, int],
        pad_to: int | None = None,
        video_dtype: Any = np.float32,
    ):
        """A folder to be, its N neurons and its (H, W, C) frames.

        pad_to=324 adds the NaN tails of the 2023 release. Videos of uint8 hold no NaN
        and stay unpadded.
        """
        if year not in YEARS:
            raise unknown("year", str(year), map(str, YEARS))
        self.folder, self.year, self.neurons = Path(folder), year, neurons
        self.frame_shape, self.pad_to = tuple(frame_shape), pad_to
        self.video_dtype = np.dtype(video_dtype)

    def _file(self, what: str, index: int) -> Path:
        return self.folder / "data" / self._name(what) / f"{index}.npy"

    def _name(self, what: str) -> str:
        return YEARS[self.year].STIMULUS if what == VIDEO else what

    def _save(self, path: Path, array: np.ndarray) -> None:
        save_npy(path, array, self.folder / PARTIAL)

    def has(self, file_index: int) -> bool:
        """Whether this trial is there whole; responses are written last."""
        return self._file(RESPONSES, file_index).exists()

    @property
    def finished(self) -> bool:
        """Whether finish has run to its end."""
        return (self.folder / "meta/trials/tiers.npy").exists()

    def add(
        self,
        file_index: int,
        video_thwc: np.ndarray,
        responses_tn: np.ndarray,
        behavior_tk: np.ndarray | None = None,
        pupil_t2: np.ndarray | None = None,
        *,
        hidden: bool = False,
    ) -> None:
        """Write one trial, raw; hidden responses are stored as zeros."""
        video_thwc = np.asarray(video_thwc)
        rows = {BEHAVIOR: behavior_tk, PUPIL: pupil_t2, RESPONSES: responses_tn}
        rows = {k: np.asarray(x, np.float32) for k, x in rows.items() if x is not None}
        sizes = {"video": self.frame_shape, RESPONSES: (self.neurons,), PUPIL: (2,)}
        for name, x in ({"video": video_thwc} | rows).items():
            expected = (len(video_thwc), *sizes.get(name, x.shape[1:]))
            if x.shape != expected:
                raise UserError(
                    f"Trial {file_index}: {name} has shape {x.shape}, expected "
                    f"{expected}, time first. Transpose or resample it, or open the "
                    "writer with other neurons or frame_shape."
                )
            if x.dtype.kind == "f" and np.isnan(x).any():
                raise UserError(
                    f"Trial {file_index}: {name} holds a NaN, which would end the "
                    "trial there. Cut the trial, or leave out the neuron."
                )
        if hidden:
            length = max(self.pad_to or 0, len(video_thwc))  # zeros have no NaN tail
            rows[RESPONSES] = np.zeros((length, self.neurons), np.float32)
        form = YEARS[self.year]
        if self.video_dtype.kind in "iu":
            video_thwc = np.rint(video_thwc)
        video = form.video_to_file(video_thwc.astype(self.video_dtype), self.pad_to)
        self._save(self._file(VIDEO, file_index), video)
        for what, x in rows.items():  # responses come last
            self._save(self._file(what, file_index), form.rows_to_file(x, self.pad_to))

    def finish(
        self,
        tiers: Sequence[str] | np.ndarray,
        *,
        coordinates: np.ndarray | None = None,
        unit_ids: np.ndarray | None = None,
        columns: Mapping[str, Any] | None = None,
        unit_columns: Mapping[str, Any] | None = None,
        layout: str = "per_neuron",
        config: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write the session's facts and the statistics over its training trials.

        tiers[i] describes file i. layout "per_frame" gives the (N, T) response std of
        the 2023 release. Returns the folder.
        """
        tiers = np.asarray(tiers, str)
        missing = [
            int(i) for i in np.flatnonzero(tiers != "none") if not self.has(int(i))
        ]
        if missing:
            raise UserError(
                f"{self.folder}: {len(missing)} trials of a tier were never added, "
                f"the first is {missing[0]}. Add them, or give them the tier 'none'."
            )
        if "train" not in tiers:
            raise UserError(
                f"{self.folder} has no trial of tier 'train', where statistics come "
                f"from; the tiers given are {sorted(set(tiers.tolist()))}."
            )
        if layout not in ("per_neuron", "per_frame"):
            raise UserError(f"Layout '{layout}': expected 'per_neuron' or 'per_frame'.")
        self._statistics(tiers, layout)
        ids = np.arange(self.neurons) if unit_ids is None else np.asarray(unit_ids)
        facts = {"unit_ids": ids.astype(np.int64), **(unit_columns or {})}
        if coordinates is not None:
            facts["cell_motor_coordinates"] = coordinates
        self._facts("neurons", facts, self.neurons, "neurons")
        self._facts("trials", columns or {}, len(tiers), "tiers")
        (self.folder / "config.json").write_text(
            json.dumps({"links": {}, **(config or {})})
        )
        shutil.rmtree(self.folder / PARTIAL, ignore_errors=True)
        save_npy(self.folder / "meta/trials/tiers.npy", tiers)
        return self.folder

    def _facts(self, group: str, facts: Mapping[str, Any], rows: int, of: str) -> None:
        for name, values in facts.items():
            if len(values) != rows:
                raise UserError(
                    f"{name} has {len(values)} rows, expected {rows} as {of}."
                )
            self._save(self.folder / "meta" / group / f"{name}.npy", np.asarray(values))

    def _statistics(self, tiers: np.ndarray, layout: str) -> None:
        for what in (VIDEO, RESPONSES, BEHAVIOR, PUPIL):
            every = [self._file(what, int(i)) for i in np.flatnonzero(tiers != "none")]
            train = [self._file(what, int(i)) for i in np.flatnonzero(tiers == "train")]
            if not train[0].exists():
                continue
            found = layout_moments(
                *(train, every, layout),
                stimulus=what == VIDEO,
                time_last=self.year != 2022,
            )
            folder = self.folder / "meta/statistics" / self._name(what)
            for source in ("all", "stimulus_frame")[: 1 + (self.year == 2022)]:
                for key, values in found.items():
                    self._save(folder / source / f"{key}.npy", values)


def write_session(
    folder: str | Path,
    *,
    videos: Sequence[np.ndarray],
    responses: Sequence[np.ndarray],
    behavior: Sequence[np.ndarray] | None = None,
    pupil: Sequence[np.ndarray] | None = None,
    tiers: Sequence[str] | None = None,
    hide: Sequence[str] = (),
    year: int | None = None,
    rate_hz: float = 30.0,
    pad_to: int | None = None,
    video_dtype: Any = np.float32,
    **facts: Any,
) -> Path:
    """Write your own recording; lists of trials in, a folder that everything reads out.

    videos: per trial [t, h, w] or [t, h, w, c], 0..255; one frame each makes pictures.
    responses: per trial [t, n]; behavior [t, k]; pupil [t, 2]. Without tiers, stimuli
    shown more than once are for validation, or every tenth trial if nothing repeats.
    facts go to finish: coordinates, unit_ids, columns, unit_columns, layout.
    """
    given = {VIDEO: videos, RESPONSES: responses, BEHAVIOR: behavior, PUPIL: pupil}
    lengths = {k: len(v) for k, v in given.items() if v is not None}
    if tiers is not None:
        lengths["tiers"] = len(tiers)
    if len(set(lengths.values())) != 1 or not len(videos):
        raise UserError(f"Expected as many of each, one per trial, found {lengths}.")
    first = own.channels(videos[0])
    year = year or (2022 if len(first) == 1 else 2023)
    writer = SessionWriter(
        folder,
        year=year,
        neurons=own.rows(responses, 0, len(first)).shape[1],
        frame_shape=first.shape[1:],
        pad_to=pad_to,
        video_dtype=video_dtype,
    )
    if writer.finished:
        raise UserError(f"{folder} holds a session. Remove it, or name a folder to be.")
    keys = []
    for i, video in enumerate(videos):
        video_thwc = own.channels(video)
        keys.append(blake2b(video_thwc.tobytes(), digest_size=8).hexdigest())
        rows = [own.rows(x, i, len(video)) for x in (responses, behavior, pupil)]
        hidden = tiers is not None and tiers[i] in hide
        writer.add(i, video_thwc, *rows, hidden=hidden)
    _, image_ids = np.unique(keys, return_inverse=True)
    if tiers is None:
        tiers = own.default_tiers(image_ids, "validation" if year == 2022 else "oracle")
    if year == 2022:
        columns = {"frame_image_id": image_ids, "trial_idx": np.arange(len(image_ids))}
        facts["columns"] = columns | dict(facts.get("columns") or {})
    return writer.finish(tiers, config={"frames_per_second": rate_hz}, **facts)
