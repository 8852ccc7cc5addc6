"""Writes official trees, for the simulator and for own recordings."""

import shutil
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from sensorium_jax.data import config
from sensorium_jax.data.release import dynamic2023, static2022
from sensorium_jax.data.release.layout_statistics import layout_moments
from sensorium_jax.data.release.tree import SOURCES, TIERS
from sensorium_jax.data.session import BEHAVIOR, FIELDS, PUPIL, RESPONSES, VIDEO
from sensorium_jax.errors import UserError, unknown
from sensorium_jax.io import atomic
from sensorium_jax.io.atomic import PARTIAL, save_npy
from sensorium_jax.rules import (
    FILMS,
    OWN,
    PICTURES,
    RELEASES,
    TRAIN,
    UNUSED,
    Rules,
    from_json,
    of_kind,
)

FORMS = {PICTURES: static2022, FILMS: dynamic2023}  # files of a kind of recordings
LAYOUTS = ("per_neuron", "per_frame")  # of statistics


class SessionWriter:
    """Writes one session trial by trial, in bounded memory; a kill loses one trial.

    Trials already there are kept: ask has(file_index) before making a trial again.
    Nothing reads as a session until finish has written the tiers, which come last.
    Unfinished files lie in PARTIAL, never inside data/: the official loader counts
    every file there.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        rules: str | Rules = OWN,
        neurons: int,
        frame_shape: tuple[int, int, int],
        pad_to: int | None = None,
        video_dtype: Any = np.float32,
    ):
        """A folder to be, its N neurons and its (H, W, C) frames.

        rules: "own" (of films), "2022", "2023", or Rules, which say whether pictures or
        films are written. pad_to=324 adds the NaN tails of the 2023 release. Videos of
        uint8 hold no NaN and stay unpadded.
        """
        self.rules = _resolved(rules, FILMS)
        self.folder, self.neurons = Path(folder), neurons
        self.form = FORMS[self.rules.kind]
        self.frame_shape, self.pad_to = tuple(frame_shape), pad_to
        self.video_dtype = np.dtype(video_dtype)

    def _file(self, what: str, index: int) -> Path:
        return self.folder / "data" / self._name(what) / f"{index}.npy"

    def _name(self, what: str) -> str:
        return self.form.STIMULUS if what == VIDEO else what

    def _save(self, path: Path, array: np.ndarray) -> None:
        save_npy(path, array, self.folder / PARTIAL)

    def has(self, file_index: int) -> bool:
        """Whether this trial is there whole; responses are written last."""
        return self._file(RESPONSES, file_index).exists()

    @property
    def finished(self) -> bool:
        """Whether finish has run to its end."""
        return (self.folder / TIERS).exists()

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
        self._check(file_index, {"video": video_thwc} | rows)
        if hidden:
            length = max(self.pad_to or 0, len(video_thwc))  # zeros have no NaN tail
            rows[RESPONSES] = np.zeros((length, self.neurons), np.float32)
        if self.video_dtype.kind in "iu":
            video_thwc = np.rint(video_thwc)
        video_thwc = video_thwc.astype(self.video_dtype)
        video = self.form.video_to_file(video_thwc, self.pad_to)
        self._save(self._file(VIDEO, file_index), video)
        for what, x in rows.items():  # responses come last
            stored = self.form.rows_to_file(x, self.pad_to)
            self._save(self._file(what, file_index), stored)

    def _check(self, file_index: int, arrays: Mapping[str, np.ndarray]) -> None:
        frames = len(arrays["video"])
        if not self.rules.films and frames != 1:
            raise UserError(
                f"Trial {file_index} has {frames} frames, but the recording is of "
                "pictures, one frame each. Write films into a folder of their own."
            )
        sizes = {"video": self.frame_shape, RESPONSES: (self.neurons,), PUPIL: (2,)}
        for name, x in arrays.items():
            expected = (frames, *sizes.get(name, x.shape[1:]))
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

    def finish(
        self,
        tiers: Sequence[str] | np.ndarray,
        *,
        coordinates: np.ndarray | None = None,
        unit_ids: np.ndarray | None = None,
        columns: Mapping[str, Any] | None = None,
        unit_columns: Mapping[str, Any] | None = None,
        layout: str = "per_neuron",
        rate_hz: float | None = None,
        degrees_per_pixel: float | None = None,
        receptive_fields: np.ndarray | None = None,
    ) -> Path:
        """Write the session's facts and the statistics over its training trials.

        tiers[i] describes file i. layout "per_frame" gives the (N, T) response std of
        the 2023 release. The rules go into config.json, with frames per second and
        degrees per pixel where known. receptive_fields, where measured: x, y and if
        known the SD of each neuron's field in pixels of the frame, NaN where unknown.
        Returns the folder.
        """
        tiers = np.asarray(tiers, str)
        if layout not in LAYOUTS:
            raise unknown("layout", layout, LAYOUTS)
        rules = self._rules_of(tiers)
        self._statistics(tiers, layout)
        ids = np.arange(self.neurons) if unit_ids is None else np.asarray(unit_ids)
        facts = {"unit_ids": ids.astype(np.int64), **(unit_columns or {})}
        if coordinates is not None:
            facts["cell_motor_coordinates"] = coordinates
        if receptive_fields is not None:
            facts[FIELDS] = checked_fields(receptive_fields, self.frame_shape)
        self._facts("neurons", facts, self.neurons, "neurons")
        self._facts("trials", columns or {}, len(tiers), "tiers")
        path = self.folder / config.FILE
        plain = config.to_json(rules, str(path), rate_hz, degrees_per_pixel)
        atomic.write_json(path, plain, partial=self.folder / PARTIAL)
        shutil.rmtree(self.folder / PARTIAL, ignore_errors=True)
        save_npy(self.folder / TIERS, tiers)
        return self.folder

    def _rules_of(self, tiers: np.ndarray) -> Rules:
        """The rules with the tier that validates; unknown tiers are refused."""
        used = np.flatnonzero(tiers != UNUSED)
        missing = [int(i) for i in used if not self.has(int(i))]
        if missing:
            raise UserError(
                f"{self.folder}: {len(missing)} trials of a tier were never added, "
                f"the first is {missing[0]}. Add them, or give them the tier "
                f"'{UNUSED}'."
            )
        names = sorted(set(tiers.tolist()))
        if TRAIN not in names:
            raise UserError(
                f"{self.folder} has no trial of tier '{TRAIN}', where statistics come "
                f"from; the tiers given are {names}."
            )
        for name in names:
            if self.rules.tiers and name not in self.rules.tiers:
                remedy = f'These are the tiers of rules="{self.rules.name}".'
                raise unknown("tier", name, self.rules.tiers, remedy)
        judge = self.rules.validating(tiers)
        if self.rules.name == OWN and judge and not self.rules.validation:
            return self.rules._replace(validation=(judge,))
        return self.rules

    def _facts(self, group: str, facts: Mapping[str, Any], rows: int, of: str) -> None:
        for name, values in facts.items():
            if len(values) != rows:
                raise UserError(
                    f"{name} has {len(values)} rows, expected {rows} as {of}."
                )
            self._save(self.folder / "meta" / group / f"{name}.npy", np.asarray(values))

    def _statistics(self, tiers: np.ndarray, layout: str) -> None:
        for what in (VIDEO, RESPONSES, BEHAVIOR, PUPIL):
            every = [self._file(what, int(i)) for i in np.flatnonzero(tiers != UNUSED)]
            train = [self._file(what, int(i)) for i in np.flatnonzero(tiers == TRAIN)]
            if not train[0].exists():
                continue
            moments = layout_moments(
                *(train, every, layout),
                stimulus=what == VIDEO,
                time_last=self.rules.films,
            )
            folder = self.folder / "meta/statistics" / self._name(what)
            for source in SOURCES[:1] if self.rules.films else SOURCES:
                for key, values in moments.items():
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
    rules: str | Rules = OWN,
    skip: int = 0,
    rate_hz: float | None = None,
    degrees_per_pixel: float | None = None,
    pad_to: int | None = None,
    video_dtype: Any = np.float32,
    **facts: Any,
) -> Path:
    """Write your own recording; lists of trials in, a folder of files out.

    videos: per trial [t, h, w] or [t, h, w, c], 0..255; one frame each makes pictures.
    responses: per trial [t, n]; behavior [t, k]; pupil [t, 2]. Without tiers, stimuli
    shown more than once are for validation, or every tenth trial if nothing repeats.
    Responses of the tiers to hide are stored as zeros. rules: "own", or "2022" or
    "2023" for recordings that follow that competition, or Rules; they are written into
    config.json. skip: frames at the start of own trials that no score counts. rate_hz
    and degrees_per_pixel: where known. facts go to finish: coordinates, unit_ids,
    columns, unit_columns, layout, receptive_fields.
    """
    given = {VIDEO: videos, RESPONSES: responses, BEHAVIOR: behavior, PUPIL: pupil}
    lengths = {k: len(v) for k, v in given.items() if v is not None}
    if tiers is not None:
        lengths["tiers"] = len(tiers)
    if len(set(lengths.values())) != 1 or not len(videos):
        raise UserError(f"Expected as many of each, one per trial, found {lengths}.")
    first = channels(videos[0])
    rules = _resolved(rules, PICTURES if len(first) == 1 else FILMS, hide, skip)
    sizes = {"rate_hz": rate_hz, "degrees_per_pixel": degrees_per_pixel}
    config.to_json(rules, str(folder), *sizes.values())  # complain before the work
    writer = SessionWriter(
        folder,
        rules=rules,
        neurons=signals(responses, 0, len(first)).shape[1],
        frame_shape=first.shape[1:],
        pad_to=pad_to,
        video_dtype=video_dtype,
    )
    if writer.finished:
        raise UserError(f"{folder} holds a session. Remove it, or name a folder to be.")
    keys = []
    for i, video in enumerate(videos):
        video_thwc = channels(video)
        keys.append(blake2b(video_thwc.tobytes(), digest_size=8).hexdigest())
        rows = [signals(x, i, len(video)) for x in (responses, behavior, pupil)]
        hidden = tiers is not None and tiers[i] in hide
        writer.add(i, video_thwc, *rows, hidden=hidden)
    _, image_ids = np.unique(keys, return_inverse=True)
    if tiers is None:
        usual = rules.validation or RELEASES[rules.layout].validation
        tiers = default_tiers(image_ids, usual[0])
    if not rules.films:
        columns = {"frame_image_id": image_ids, "trial_idx": np.arange(len(image_ids))}
        facts["columns"] = columns | dict(facts.get("columns") or {})
    return writer.finish(tiers, **sizes, **facts)


def checked_fields(fields: np.ndarray, frame_shape: tuple[int, ...]) -> np.ndarray:
    """Receptive fields [n, 2 or 3]: x, y, SD in pixels; NaN where unknown."""
    fields = np.asarray(fields, np.float32)
    expected = "expected [neurons, 2 or 3]: x, y and SD in pixels of the frame"
    if fields.ndim != 2 or fields.shape[1] not in (2, 3):
        raise UserError(f"receptive_fields have shape {fields.shape}, {expected}.")
    height, width = frame_shape[:2]
    known = fields[np.isfinite(fields[:, :2]).all(1), :2]
    inside = ((known >= -0.5) & (known <= np.array([width, height]) - 0.5)).all(1)
    if len(known) and inside.mean() < 0.5:
        raise UserError(
            f"Of {len(known)} receptive fields {int(inside.sum())} lie inside frames "
            f"of {height} rows and {width} columns; {expected}, x before y, from the "
            "middle of the upper left pixel. Convert degrees to pixels."
        )
    return fields


def _resolved(
    rules: str | Rules, kind: str, hide: Sequence[str] = (), skip: int = 0
) -> Rules:
    """Rules by name, or as they are, with what own recordings hide and skip.

    kind is that of own recordings; a release knows its own.
    """
    if isinstance(rules, str):
        rules = RELEASES[rules] if rules in RELEASES else of_kind(kind, rules)
    if rules.name == OWN:
        hidden = tuple(dict.fromkeys((*rules.hidden, *hide)))
        rules = rules._replace(hidden=hidden, skip=skip or rules.skip)
        # Raises where the rules contradict themselves.
        return from_json(rules.as_json(), rules.kind, "Own rules")
    odd = [name for name in hide if name not in rules.hidden]
    if odd or skip not in (0, rules.skip):
        raise UserError(
            f"The rules of {rules.name} hide {', '.join(rules.hidden)} and skip "
            f"{rules.skip} frames; hide={list(hide)} and skip={skip} differ. Give "
            f'rules="{OWN}".'
        )
    return rules


def channels(video: np.ndarray) -> np.ndarray:
    """A video with its channel axis: [t, h, w] becomes [t, h, w, 1]."""
    video = np.asarray(video)
    if video.ndim not in (3, 4):
        raise UserError(
            f"A video has shape {video.shape}, expected [t, h, w] or [t, h, w, c]."
        )
    return video if video.ndim == 4 else video[..., None]


def signals(trials: Sequence[np.ndarray] | None, trial: int, frames: int) -> Any:
    """One trial's [t, n]; [n] of a picture and [t] of one signal get their axis."""
    if trials is None:
        return None
    row = np.asarray(trials[trial])
    flat = row.ndim == 1 and row.size % frames == 0
    return row.reshape(frames, -1) if flat else row


def default_tiers(stimulus: np.ndarray, validation: str) -> list[str]:
    """Repeated stimuli are for validation; if none or all repeat, every tenth trial."""
    shown = np.bincount(stimulus)[stimulus]
    held = shown > 1
    if not held.any() or held.all():
        held = np.arange(len(stimulus)) % 10 == min(9, len(stimulus) - 1)
        held &= len(stimulus) > 1
    return [validation if h else TRAIN for h in held]
