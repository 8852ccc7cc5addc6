"""One mouse's recording, read lazily, whatever it is stored in.

A tree of .npy files and a zarr store differ only in their Reader; everything above
(windows, streams, scores) sees a Session.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Protocol

import numpy as np

from sensorium_jax import rules as every
from sensorium_jax.axes import Trial
from sensorium_jax.errors import UserError, unknown
from sensorium_jax.rules import TRAIN, UNUSED, VAL, Rules
from sensorium_jax.text import html_facts

VIDEO, RESPONSES, BEHAVIOR, PUPIL = "videos", "responses", "behavior", "pupil_center"
MODALITIES = (VIDEO, RESPONSES, BEHAVIOR, PUPIL)
FIELDS = "receptive_fields"  # a column of meta/neurons
MISSING = "missing"  # a column of meta/trials
MOST_TRIAL, MOST_FRAMES = 4 << 30, 10_000_000  # bytes and frames of one trial
STATISTICS = ("mean", "std", "min", "max", "median")  # of each; fields of Stats


class Reader(Protocol):
    """Reads raw, time-first, channel-last arrays of one session."""

    def length(self, trial: int) -> int:
        """Valid frames of a trial: the first NaN of any modality ends it."""
        ...

    def read(
        self, what: str, trial: int, frames: slice, out: np.ndarray
    ) -> "Future[None] | None":
        """Read frames of one modality into out ([t,h,w,c], [t,n], [t,k] or [t,2]).

        A reader that works in the background returns a future, done when out is full.
        """
        ...


@dataclass(frozen=True)
class Stats:
    """Statistics of one modality as stored, but time first and channel last.

    Every array broadcasts from the right against the modality's time-first array:
    a leading axis of T frames is there only where the release is per frame.
    """

    mean: np.ndarray
    std: np.ndarray
    min: np.ndarray | None = None
    max: np.ndarray | None = None
    median: np.ndarray | None = None


@dataclass(frozen=True)
class Session:
    """One mouse: what its files say of it, and a Reader for its trials."""

    name: str  # directory name of the official release
    rules: Rules  # what it was made for: kind, frames skipped, tiers
    where: str  # path or URL, for messages
    tiers: np.ndarray  # [trials] of str
    files: np.ndarray  # [trials] of int, the <i> of <i>.npy
    unit_ids_n: np.ndarray  # int64
    coordinates_n3: np.ndarray | None  # micrometres
    frame_shape: tuple[int, int, int]  # H, W, C
    video_dtype: np.dtype
    behaviors: int  # K; 0 where there is no behavior
    has_pupil: bool
    statistics: Mapping[str, Stats]
    reader: Reader
    columns: Mapping[str, np.ndarray] = field(
        default_factory=dict
    )  # other per-trial facts
    unit_columns: Mapping[str, np.ndarray] = field(
        default_factory=dict
    )  # area, layer, ...
    frames_per_second: float | None = None  # None where unknown
    degrees_per_pixel: float | None = None  # of visual angle; None where unknown

    @property
    def neurons(self) -> int:
        """How many neurons."""
        return len(self.unit_ids_n)

    @property
    def fields_n3(self) -> np.ndarray | None:
        """Measured receptive fields, (x, y, SD) in pixels; NaN where unknown."""
        given = self.unit_columns.get(FIELDS)
        if given is None:
            return None
        fields_n3 = np.full((self.neurons, 3), np.nan, np.float32)
        fields_n3[:, : given.shape[1]] = given
        return fields_n3

    @cached_property
    def missing_rn(self) -> np.ndarray | None:
        """Which responses are missing, bool [trials, neurons]; None where none are.

        They are zeros in the data, in every frame of the trial.
        """
        missing_rn = self.columns.get(MISSING)
        if missing_rn is None:
            return None
        expected = (self.trials, self.neurons)
        if missing_rn.shape != expected or missing_rn.dtype != bool:
            raise UserError(
                f"{self.where}: meta/trials/{MISSING}.npy is {missing_rn.dtype} of "
                f"shape {missing_rn.shape}, expected bool {expected}, trials by "
                "neurons. Write it anew, or rename it if it says something else."
            )
        return missing_rn if missing_rn.any() else None

    def responds(self, trial: int) -> bool:
        """Whether any response of a trial differs from zero."""
        known = getattr(self.reader, "responds", None)  # stores remember it
        if known is not None:
            return bool(known(trial))
        return bool(self.read(RESPONSES, trial).any())

    def hides(self, tier: str) -> bool:
        """Whether the responses of a tier are hidden behind zeros.

        They are where the rules allow it and every response of every trial is zero; a
        single trial in which nobody responds is a trial like any other.
        """
        if tier not in self.rules.hidden:
            return False
        if tier not in self._zeros:
            rows = np.flatnonzero(self.tiers == tier).tolist()
            self._zeros[tier] = not any(map(self.responds, rows))
        return self._zeros[tier]

    @cached_property
    def _zeros(self) -> dict[str, bool]:
        """Whether every response of a tier is zero, of the tiers asked for so far."""
        return {}

    @property
    def trials(self) -> int:
        """How many trials of any tier."""
        return len(self.tiers)

    def facts(self) -> dict[str, str]:
        """What a person would ask of a mouse first."""
        height, width, channels = self.frame_shape
        tiers = self.tiers.tolist()
        counts = {t: tiers.count(t) for t in dict.fromkeys(tiers)}
        return {
            "mouse": self.name,
            "rules": self.rules.name,
            "neurons": f"{self.neurons:,}",
            "frames": f"{height} x {width}" + f" x {channels}" * (channels > 1),
            "trials": ", ".join(f"{t} {n}" for t, n in counts.items()),
        }

    def __repr__(self) -> str:
        """One line, whatever is in the files."""
        return f"Session({', '.join(f'{k} {v}' for k, v in self.facts().items())})"

    def _repr_html_(self) -> str:
        return html_facts([self.facts()])

    @property
    def unit_digest(self) -> str:
        """What tells whether two recordings are of the same units."""
        return sha256(self.unit_ids_n.tobytes()).hexdigest()

    @property
    def recording_digest(self) -> str:
        """What tells whether two recordings are the same trials, in any format."""
        digest = sha256("/".join(self.tiers.tolist()).encode())
        for what in sorted(self.statistics):
            for values in (self.statistics[what].mean, self.statistics[what].std):
                digest.update(np.ascontiguousarray(values, np.float32).tobytes())
        return digest.hexdigest()

    def trials_of(self, tier: str) -> np.ndarray:
        """Rows of the trials of one tier; `val` stands for the tier that validates."""
        rows = np.flatnonzero(self.tiers == tier_named(tier, [self]))
        if not rows.size:
            have = set(self.tiers.tolist()) - {UNUSED}
            raise unknown("tier", tier, have, f"(in {self.where})")
        return rows

    def lengths(self, rows: np.ndarray) -> np.ndarray:
        """Frames of these trials."""
        return np.array([self.reader.length(row) for row in rows.tolist()], int)

    def first_shown(self) -> np.ndarray:
        """Row of the first trial that showed the same video, for each trial.

        A reader tells by numbers which videos are the same; where it does not know,
        every trial is the first of its own.
        """
        first = np.arange(self.trials)
        told = getattr(self.reader, "videos", None)
        used = np.flatnonzero(self.tiers != UNUSED)
        number = used if told is None else told(used)
        if len(np.unique(number)) == len(used):
            return first
        whole = np.stack([number, self.lengths(used)])
        _, at, same = np.unique(whole, axis=1, return_index=True, return_inverse=True)
        first[used] = used[at[same.ravel()]]
        return first

    def shape(self, what: str, frames: int) -> tuple[int, ...]:
        """Shape of a time-first array of one modality."""
        sizes = {
            VIDEO: self.frame_shape,
            RESPONSES: (self.neurons,),
            BEHAVIOR: (self.behaviors,),
            PUPIL: (2,),
        }
        return (frames, *sizes[what])

    def has(self, what: str) -> bool:
        """Whether the session has this modality at all."""
        return {BEHAVIOR: self.behaviors > 0, PUPIL: self.has_pupil}.get(what, True)

    def read(self, what: str, trial: int, frames: slice | None = None) -> np.ndarray:
        """Raw frames of one modality, time first; all valid frames by default."""
        start, stop, step = (frames or slice(None)).indices(self.reader.length(trial))
        dtype = self.video_dtype if what == VIDEO else np.float32
        out = np.zeros(self.shape(what, len(range(start, stop, step))), dtype)
        if self.has(what):
            wait = self.reader.read(what, trial, slice(start, stop, step), out)
            if wait is not None:
                wait.result()
        return out

    def trial(self, trial: int) -> Trial:
        """One whole trial, raw."""
        return Trial(
            *(self.read(what, trial) for what in (VIDEO, BEHAVIOR, PUPIL, RESPONSES))
        )


def tier_named(tier: str, sessions: Sequence[Session]) -> str:
    """A tier by its name; `val` stands for the one that validates in all sessions."""
    return validating(sessions) if tier == VAL else tier


def validating(sessions: Sequence[Session]) -> str:
    """The tier that validates in all sessions, by their rules."""
    name = every.validating([(s.rules, s.tiers) for s in sessions])
    if name is not None:
        return name
    another = "name the tier to judge by (config.validate.tier, --tier)"
    for s in sessions:
        if s.rules.validating(s.tiers) is None:
            have = sorted(set(s.tiers.tolist()) - {UNUSED})
            raise UserError(
                f"No tier of {s.where} validates: it has {', '.join(have)}, and its "
                f"rules are: {s.rules.words()}. Give trials such a tier, give other "
                f"rules (--rules), or {another}; it may be '{TRAIN}'."
            )
    raise UserError(
        f"No tier validates in every mouse: {own_choices(sessions)}. Give their trials "
        f"the same tiers, or {another} that all have."
    )


def own_choices(sessions: Sequence[Session]) -> str:
    """The tiers that validate in each session, in words."""
    return "; ".join(
        f"{s.name} has {' or '.join(s.rules.may_validate(s.tiers))}" for s in sessions
    )
