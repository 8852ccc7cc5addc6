"""Writes official trees, for the simulator and for own recordings."""

import contextlib
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from sensorium_jax.data import config
from sensorium_jax.data.release import (
    dynamic2023,
    notes,
    session_facts,
    small_files,
    static2022,
    trial_arrays,
)
from sensorium_jax.data.release.layout_statistics import layout_moments
from sensorium_jax.data.release.tree import NUMBER, SOURCES, TIERS, npy_shape
from sensorium_jax.data.release.trial_arrays import CLIP, KEEP, REFUSE, Changes
from sensorium_jax.data.session import (
    BEHAVIOR,
    FIELDS,
    MISSING,
    MODALITIES,
    PUPIL,
    RESPONSES,
    VIDEO,
)
from sensorium_jax.errors import UserError
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
        fill_gaps: bool = False,
        negative: str = REFUSE,
    ):
        """A folder to be, its N neurons and its (H, W, C) frames.

        rules: "own" (of films), "2022", "2023", or Rules, which say whether pictures or
        films are written. pad_to=324 adds the NaN tails of the 2023 release. Videos of
        uint8 hold no NaN and stay unpadded. fill_gaps interpolates NaN of behavior and
        pupil in time, else they are refused. negative responses are refused ("refuse"),
        stored as they are ("keep"), or made 0 ("clip").
        """
        trial_arrays.check_negative(negative)
        self.fill_gaps, self.negative = fill_gaps, negative
        self.rules = _resolved(rules, FILMS)
        self.folder, self.neurons = Path(folder), neurons
        self.form = FORMS[self.rules.kind]
        self.frame_shape, self.pad_to = tuple(frame_shape), pad_to
        self.video_dtype = np.dtype(video_dtype)
        self.partial = self.folder / PARTIAL
        noted = notes.read(self.partial)
        self.noted = set(noted)  # trials that have notes
        self.added: set[int] = set()  # by this writer; others were kept
        # The first trial of each video, by what the video is told by.
        self.firsts = {n[notes.VIDEO]: i for i, n in noted.items() if notes.VIDEO in n}
        self.places = {w: self.folder / "data" / self._name(w) for w in MODALITIES}

    def _file(self, what: str, index: int) -> Path:
        return self.places[what] / f"{index}.npy"

    def _name(self, what: str) -> str:
        return self.form.STIMULUS if what == VIDEO else what

    def _save(self, path: Path, array: np.ndarray) -> None:
        small_files.save(path, array, self.partial)

    def _save_video(self, index: int, video: np.ndarray) -> str:
        """Write a trial's video; one shown before becomes a second name of its file.

        Returns what the video is told by, or nothing where it was shown before.
        """
        digest = blake2b(video.data, digest_size=16, key=str(video.shape).encode())
        told, path = digest.hexdigest(), self._file(VIDEO, index)
        known = {i: t for t, i in self.firsts.items()} if index in self.noted else {}
        if index in known:  # written again: others cannot go by it any more
            del self.firsts[known[index]]
        first = self.firsts.get(told)
        if first is not None and small_files.link(
            self._file(VIDEO, first), path, self.partial
        ):
            return ""
        self._save(path, video)
        self.firsts[told] = index
        return told

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
        """Write one trial, raw; hidden responses are stored as zeros.

        So are those of a neuron that is NaN in the whole trial: they are missing there,
        which finish writes down, and nobody learns from them or is judged by them.
        """
        where = f"Trial {file_index}"
        video_thwc = np.asarray(video_thwc)
        rows = {BEHAVIOR: behavior_tk, PUPIL: pupil_t2, RESPONSES: responses_tn}
        rows = {k: np.asarray(x) for k, x in rows.items() if x is not None}
        self._check_shapes(where, {"video": video_thwc} | rows)
        gone_n = trial_arrays.unanswered(where, rows[RESPONSES])
        if gone_n.any():
            rows[RESPONSES] = np.where(gone_n, 0, rows[RESPONSES])
        rows, changes = self._mended(where, rows, hidden=hidden)
        if hidden:
            length = max(self.pad_to or 0, len(video_thwc))  # zeros have no NaN tail
            rows[RESPONSES] = np.zeros((length, self.neurons), np.float32)
        video_thwc = self._as_stored(where, video_thwc)
        video = self.form.video_to_file(video_thwc, self.pad_to)
        told = self._save_video(file_index, video)
        facts: dict[str, Any] = {notes.CHANGED: changes} if changes else {}
        if told:
            facts[notes.VIDEO] = told
        if gone_n.any() and not hidden:
            facts[notes.MISSING] = np.packbits(gone_n).tobytes().hex()
        if facts or file_index in self.noted:
            notes.append(self.folder / PARTIAL, file_index, facts)
            self.noted.add(file_index)
        for what, x in rows.items():  # responses come last
            stored = self.form.rows_to_file(x, self.pad_to)
            self._save(self._file(what, file_index), stored)
        self.added.add(file_index)

    def _check_shapes(self, where: str, arrays: Mapping[str, np.ndarray]) -> None:
        frames = len(arrays["video"])
        if not self.rules.films and frames != 1:
            raise UserError(
                f"{where} has {frames} frames, but the recording is of pictures, one "
                "frame each. Write films into a folder of their own."
            )
        sizes = {"video": self.frame_shape, RESPONSES: (self.neurons,), PUPIL: (2,)}
        trial_arrays.check_shapes(where, arrays, sizes)

    def _mended(
        self, where: str, rows: dict[str, np.ndarray], *, hidden: bool
    ) -> tuple[dict[str, np.ndarray], dict[str, Changes]]:
        """Behavior, pupil and responses as they are to be stored; what was changed."""
        mended, changes = {}, {}
        for what, x in rows.items():
            if what != RESPONSES and self.fill_gaps and x.dtype.kind == "f":
                x, changes[what] = trial_arrays.fill_gaps(where, what, x)
            trial_arrays.check_numbers(where, what, x)
            if what == RESPONSES and not hidden:
                below, low = trial_arrays.negatives(x)
                if below and self.negative == REFUSE:
                    raise trial_arrays.refuse_negative(where, below / x.size, low)
                if self.negative == CLIP or below:
                    changes[what] = Changes(below, x.size)
                if self.negative == CLIP:
                    x = np.maximum(x, 0)
            mended[what] = x.astype(np.float32)
        return mended, changes

    def _as_stored(self, where: str, video_thwc: np.ndarray) -> np.ndarray:
        """A video of the type that its file has."""
        trial_arrays.check_numbers(where, "video", video_thwc)
        if self.video_dtype.kind in "iu":
            video_thwc = np.rint(video_thwc)
            low, high = np.iinfo(self.video_dtype).min, np.iinfo(self.video_dtype).max
            if video_thwc.min() < low or video_thwc.max() > high:
                raise UserError(
                    f"{where}: the video holds {video_thwc.min():.4g} to "
                    f"{video_thwc.max():.4g}, which {self.video_dtype} cannot. "
                    "Expected grey levels of 0 to 255."
                )
        return video_thwc.astype(self.video_dtype)

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
        session_facts.check_layout(layout)
        units = session_facts.unit_facts(
            self.neurons, unit_ids, coordinates, unit_columns
        )
        if receptive_fields is not None:
            units[FIELDS] = session_facts.fields(
                receptive_fields, self.neurons, self.frame_shape
            )
        trials = session_facts.trial_facts(len(tiers), columns)
        rules = self._rules_of(tiers)
        path = self.folder / config.FILE
        plain = config.to_json(rules, str(path), rate_hz, degrees_per_pixel)
        self._check_files(tiers)
        noted = notes.read(self.folder / PARTIAL)
        changed = self._changed(noted)
        if changed:
            plain[config.CHANGED] = changed
        missing_rn = self._missing(noted, tiers)
        if missing_rn is not None:
            trials[MISSING] = missing_rn
        (self.folder / f"meta/trials/{MISSING}.npy").unlink(missing_ok=True)
        self._statistics(tiers, layout, missing_rn)
        for group, facts in (("neurons", units), ("trials", trials)):
            for name, values in facts.items():
                self._save(self.folder / "meta" / group / f"{name}.npy", values)
        atomic.write_json(path, plain, partial=self.folder / PARTIAL)
        shutil.rmtree(self.folder / PARTIAL, ignore_errors=True)
        save_npy(self.folder / TIERS, tiers)
        return self.folder

    def _rules_of(self, tiers: np.ndarray) -> Rules:
        """The rules with the tier that validates; unknown tiers are refused."""
        used = np.flatnonzero(tiers != UNUSED)
        kept = (i for i in used.tolist() if i not in self.added)
        missing = [i for i in kept if not self.has(i)]
        if missing:
            raise UserError(
                f"{self.folder}: {len(missing)} trials of a tier were never added, "
                f"the first is {missing[0]}. Add them, or give them the tier "
                f"'{UNUSED}'."
            )
        session_facts.check_tiers(str(self.folder), tiers.tolist(), self.rules)
        judge = self.rules.validating(tiers)
        if self.rules.name == OWN and judge and not self.rules.validation:
            return self.rules._replace(validation=(judge,))
        return self.rules

    def _check_files(self, tiers: np.ndarray) -> None:
        """Refuse files of an earlier writing, which no reader could use with these."""
        used = set(np.flatnonzero(tiers != UNUSED).tolist())
        for what in MODALITIES:
            files = trial_files(self.folder / "data" / self._name(what))
            beyond = sorted(i for i in files if i >= len(tiers))
            if beyond:
                raise UserError(
                    f"{files[beyond[0]]} is there, but only {len(tiers)} tiers were "
                    f"given. Give such trials the tier '{UNUSED}', or delete the files "
                    "if an earlier writing left them."
                )
            without = sorted(used - set(files))
            if files and without:
                raise UserError(
                    f"{self.folder}: {what} is there for {len(files)} trials, but not "
                    f"for trial {without[0]}. Add that trial again with it, or delete "
                    f"{self._file(what, 0).parent} to do without."
                )
            for i in sorted(used & set(files) - self.added):
                self._check_file(what, files[i])

    def _check_file(self, what: str, path: Path) -> None:
        """Refuse a kept file that has other neurons or frames than the writer."""
        if what == VIDEO:
            frame = np.zeros((1, *self.frame_shape), self.video_dtype)
            expected = self.form.video_to_file(frame).shape
            expected = expected[:-1] if self.rules.films else expected
        elif what == RESPONSES:
            expected = (self.neurons,)
        else:
            return
        shape = npy_shape(path)
        if shape[: len(expected)] != expected:
            raise UserError(
                f"{path} has shape {shape}, expected {expected} and frames. An earlier "
                "writing left it; delete the folder and write the recording again."
            )

    def _missing(
        self, noted: Mapping[int, Mapping[str, Any]], tiers: np.ndarray
    ) -> np.ndarray | None:
        """Which responses are missing, [trials, neurons]; None where none are."""
        gone = {i: note[MISSING] for i, note in noted.items() if MISSING in note}
        used = np.flatnonzero(tiers != UNUSED)
        missing_rn = np.zeros((len(tiers), self.neurons), bool)
        for i in used[[int(i) in gone for i in used]].tolist():
            packed = np.frombuffer(bytes.fromhex(gone[i]), np.uint8)
            missing_rn[i] = np.unpackbits(packed, count=self.neurons)
        if not missing_rn.any():
            return None
        words = f"{missing_rn[used].mean():.2%} of the responses, by neuron and trial,"
        lost = int(missing_rn[tiers == TRAIN].all(0).sum())
        more = f"; {lost} neurons miss every training trial" if lost else ""
        print(
            f"note: {self.folder}: {words} are missing and count nowhere{more}",
            file=sys.stderr,
        )
        return missing_rn

    def _changed(self, noted: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
        """What config.json says of gaps filled and negative responses; also told."""
        told: dict[str, Any] = {}
        for what, total in _totals(noted).items():
            share = total.values / max(total.of, 1)
            if not share:
                continue
            if what != RESPONSES:
                told[what] = {"filled": share, "longest": total.longest}
                words = (
                    f"{share:.2%} of {what} was NaN and is interpolated in time, over "
                    f"at most {total.longest} frames"
                )
            else:
                told[what] = {"negative": self.negative}
                if self.negative == KEEP:
                    continue  # trials without any are not counted, so no share is known
                told[what]["share"] = share
                words = f"{share:.2%} of the responses were negative and are 0 now"
            print(f"note: {self.folder}: {words}", file=sys.stderr)
        return told

    def _statistics(
        self, tiers: np.ndarray, layout: str, missing_rn: np.ndarray | None
    ) -> None:
        gone = None if missing_rn is None else missing_rn[tiers == TRAIN]
        for what in (VIDEO, RESPONSES, BEHAVIOR, PUPIL):
            train = [self._file(what, int(i)) for i in np.flatnonzero(tiers == TRAIN)]
            if not train[0].exists():
                continue
            used = (
                np.flatnonzero(tiers != UNUSED)
                if layout != session_facts.LAYOUTS[0]
                else ()
            )
            every = [self._file(what, int(i)) for i in used]
            moments = layout_moments(
                *(train, every, layout),
                stimulus=what == VIDEO,
                time_last=self.rules.films,
                missing=gone if what == RESPONSES else None,
            )
            folder = self.folder / "meta/statistics" / self._name(what)
            for source in SOURCES[:1] if self.rules.films else SOURCES:
                for key, values in moments.items():
                    self._save(folder / source / f"{key}.npy", values)


def _totals(noted: Mapping[int, Mapping[str, Any]]) -> dict[str, Changes]:
    """What was changed in all trials, those of a killed process too."""
    totals: dict[str, Changes] = {}
    for note in noted.values():
        for what, plain in note.get(notes.CHANGED, {}).items():
            one, total = Changes(*plain), totals.get(what, Changes(0, 0))
            totals[what] = Changes(
                total.values + one.values,
                total.of + one.of,
                max(total.longest, one.longest),
            )
    return totals


def write_session(
    folder: str | Path,
    *,
    videos: Sequence[np.ndarray],
    responses: Sequence[np.ndarray],
    behavior: Sequence[np.ndarray] | None = None,
    pupil: Sequence[np.ndarray] | None = None,
    tiers: Sequence[str] | None = None,
    hide: Sequence[str] = (),
    pictures: bool = False,
    fill_gaps: bool = False,
    negative: str = REFUSE,
    rules: str | Rules = OWN,
    skip: int = 0,
    rate_hz: float | None = None,
    degrees_per_pixel: float | None = None,
    pad_to: int | None = None,
    video_dtype: Any = np.float32,
    coordinates: np.ndarray | None = None,
    unit_ids: np.ndarray | None = None,
    columns: Mapping[str, Any] | None = None,
    unit_columns: Mapping[str, Any] | None = None,
    layout: str = "per_neuron",
    receptive_fields: np.ndarray | None = None,
) -> Path:
    """Write your own recording; lists of trials in, a folder of files out.

    videos: per trial [t, h, w] or [t, h, w, c], 0..255; one frame each makes pictures.
    responses: per trial [t, n], NaN in every frame where a neuron was not recorded in
    the trial; behavior [t, k]; pupil [t, 2]. With pictures=True,
    videos are a stack [m, h, w] or [m, h, w, c], responses [m, n], behavior [m, k].
    Without tiers, those of default_tiers are given. Responses of the tiers to hide are
    stored as zeros. fill_gaps and negative are those of SessionWriter. rules: "own", or
    "2022" or "2023" for recordings that follow that competition, or Rules; they are
    written into config.json. skip: frames at the start of own trials that no score
    counts. rate_hz and degrees_per_pixel: where known. The rest goes to finish.

    What cannot be is refused before anything is written, as far as that shows without
    reading the videos twice; no error leaves a part of a recording behind. What an
    earlier call left that was killed is written anew.
    """
    folder = Path(folder)
    given = {"videos": videos, RESPONSES: responses, "behavior": behavior}
    trial_arrays.check_counts(given | {"pupil": pupil, "tiers": tiers})
    trial_arrays.check_negative(negative)
    first = trial_arrays.channels(videos[0], pictures=pictures)
    kind = PICTURES if pictures or len(first) == 1 else FILMS
    rules = _resolved(rules, kind, hide, skip)
    sizes = {"rate_hz": rate_hz, "degrees_per_pixel": degrees_per_pixel}
    config.to_json(rules, str(folder), *sizes.values())
    neurons = trial_arrays.neurons(responses, len(first))
    session_facts.check_layout(layout)
    session_facts.unit_facts(neurons, unit_ids, coordinates, unit_columns)
    session_facts.trial_facts(len(videos), columns)
    if receptive_fields is not None:
        session_facts.fields(receptive_fields, neurons, first.shape[1:])
    if tiers is not None:
        session_facts.check_tiers(str(folder), [str(t) for t in tiers], rules)
    hidden = [tiers is not None and tiers[i] in hide for i in range(len(videos))]
    trial_arrays.check_values(
        *(responses, behavior, pupil),
        fill=fill_gaps,
        negative=negative,
        hidden=hidden,
        films=kind == FILMS,
    )
    writer = SessionWriter(
        folder,
        rules=rules,
        neurons=neurons,
        frame_shape=first.shape[1:],
        pad_to=pad_to,
        video_dtype=video_dtype,
        fill_gaps=fill_gaps,
        negative=negative,
    )
    _make_way(writer)
    try:
        keys = []
        for i, video in enumerate(videos):
            video_thwc = trial_arrays.channels(video, pictures=pictures)
            keys.append(blake2b(video_thwc.tobytes(), digest_size=8).hexdigest())
            rows = [
                trial_arrays.signals(x, i, len(video_thwc))
                for x in (responses, behavior, pupil)
            ]
            writer.add(i, video_thwc, *rows, hidden=hidden[i])
        _, image_ids = np.unique(keys, return_inverse=True)
        if tiers is None:
            usual = rules.validation or RELEASES[rules.layout].validation
            tiers = default_tiers(image_ids, usual[0])
        if not rules.films:
            every = {"frame_image_id": image_ids, "trial_idx": np.arange(len(keys))}
            columns = every | dict(columns or {})
        return writer.finish(
            tiers,
            coordinates=coordinates,
            unit_ids=unit_ids,
            columns=columns,
            unit_columns=unit_columns,
            layout=layout,
            receptive_fields=receptive_fields,
            **sizes,
        )
    except Exception:
        _clear(folder)
        raise


def _make_way(writer: SessionWriter) -> None:
    """Remove what a writing left that was killed; refuse a folder of other files."""
    folder = writer.folder
    if writer.finished:
        raise UserError(f"{folder} holds a session. Remove it, or name a folder to be.")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file. Name a folder to be.")
    if (folder / PARTIAL).exists():
        _clear(folder)
    elif (folder / "data").exists() or (folder / "meta").exists():
        raise UserError(
            f"{folder} holds the files of something else. Remove it, or name a folder "
            "to be."
        )


def _clear(folder: Path) -> None:
    """Remove an unfinished session: trials, facts and statistics, and empty folders."""
    for name in (dynamic2023.STIMULUS, static2022.STIMULUS, *MODALITIES[1:]):
        for path in trial_files(folder / "data" / name).values():
            path.unlink()
    for place in ("meta/neurons", "meta/trials"):
        for path in (folder / place).glob("*.npy"):
            path.unlink()
    shutil.rmtree(folder / "meta/statistics", ignore_errors=True)
    shutil.rmtree(folder / PARTIAL, ignore_errors=True)
    (folder / config.FILE).unlink(missing_ok=True)
    for place in (*folder.glob("data/*"), *folder.glob("meta/*")):
        with contextlib.suppress(OSError):
            place.rmdir()
    for place in (folder / "data", folder / "meta", folder):
        with contextlib.suppress(OSError):
            place.rmdir()


def trial_files(place: Path) -> dict[int, Path]:
    """The trial files of a modality's folder, by number."""
    names = os.listdir(place) if place.is_dir() else ()
    stems = (name.removesuffix(".npy") for name in names if name.endswith(".npy"))
    numbers = filter(NUMBER.fullmatch, stems)
    return {int(number): place / f"{number}.npy" for number in numbers}


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


def default_tiers(stimulus: np.ndarray, validation: str) -> list[str]:
    """Repeated stimuli are for validation, or every tenth of them where they are most.

    No stimulus is in both tiers, unless only one was shown. If none repeats, every
    tenth trial is for validation.
    """
    _, first, number, shown = np.unique(
        stimulus, return_index=True, return_inverse=True, return_counts=True
    )
    held = (shown > 1)[number]
    if 2 * held.sum() > len(held) and len(first) > 1:
        repeated = np.flatnonzero(shown > 1)
        repeated = repeated[np.argsort(first[repeated])]
        held = np.isin(number, repeated[_tenth(len(repeated))])
    elif not held.any() or held.all():
        held = np.isin(np.arange(len(held)), _tenth(len(held)))
        held &= len(held) > 1
    return [validation if h else TRAIN for h in held]


def _tenth(count: int) -> np.ndarray:
    """Every tenth index, at least one."""
    return np.arange(min(9, count - 1), count, 10)
