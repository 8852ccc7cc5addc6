"""What every format is turned into: a film, signals on their own clocks, trials."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax.data.formats import clocks
from sensorium_jax.data.formats.clocks import Clock, Read
from sensorium_jax.data.session import BEHAVIOR, PUPIL, RESPONSES
from sensorium_jax.errors import UserError

NONE = "none"  # what a user says to leave a signal out
SIGNALS = (RESPONSES, BEHAVIOR, PUPIL)
MOST_MEMORY = 1 << 30  # bytes that a file which cannot be read in parts may need
INFLATED = 1000  # bytes that one byte of a file may stand for; zeros pack that well


class Choices(NamedTuple):
    """What the user chose; None leaves it to the format, or to what is usual."""

    stimulus: str | None = None  # paths inside the source, or files; commas between
    stimulus_times: str | None = None
    response: str | None = None
    response_times: str | None = None
    behavior: str | None = None
    behavior_times: str | None = None
    pupil: str | None = None
    pupil_times: str | None = None
    trials: str | None = None  # a table of trials
    tiers: str | None = None  # its column that names tiers
    trial_seconds: float = 10.0  # of trials where there is no table
    rate: float | None = None  # frames per second to write
    size: tuple[int, int] | None = None  # height, width of frames to write
    method: str | None = None  # of clocks.METHODS, for every signal
    max_gap: float = 0.5  # seconds; what lies in a longer one is left out
    neuropil: float = 0.7  # share of Fneu that is subtracted from F
    transpose: bool = False  # frames lie as [width, height] in the source
    pictures: bool = False  # each trial is one picture, its responses one number
    window: tuple[float, float] = (0.05, 0.55)  # seconds after a picture's onset
    clip: bool = False  # negative responses become 0


TIMES = ("stimulus_times", "response_times", "behavior_times", "pupil_times")


def check_choices(choices: Choices, form: str, unread: Mapping[str, str]) -> None:
    """Refuse flags that a format does not read, which a user believes to be obeyed.

    unread: flag -> where the format has it from; "none" is always understood there.
    """
    for flag, remedy in unread.items():
        given, usual = getattr(choices, flag), getattr(Choices(), flag)
        if given != usual and given != NONE:
            raise UserError(
                f"--{flag.replace('_', '-')} {given} says nothing about {form}: "
                f"{remedy}."
            )
    if choices.window != Choices().window and not choices.pictures:
        raise UserError(
            "--window is of pictures: it says which seconds after their onset count. "
            "Give --pictures too, or leave it out."
        )


class Film(NamedTuple):
    """What was on the screen; read(first, stop) gives frames [t, h, w, c]."""

    name: str
    clock: Clock
    frame_shape: tuple[int, int, int]
    dtype: np.dtype
    read: Read


class Series(NamedTuple):
    """Signals that were sampled; read(first, stop) gives samples [s, n]."""

    name: str
    clock: Clock
    columns: int
    read: Read
    unit: str = ""
    delay_n: np.ndarray | None = None  # seconds that each signal is later than its time

    @property
    def span(self) -> tuple[float, float]:
        """Times of the first and the last sample."""
        return self.clock.span


class Spikes(NamedTuple):
    """Times of events, one unit after the other; ends_n says where each unit ends."""

    name: str
    times_e: np.ndarray
    ends_n: np.ndarray
    span: tuple[float, float]
    unit: str = "events"

    @property
    def columns(self) -> int:
        """How many units."""
        return len(self.ends_n)


Signal = Series | Spikes


class Table(NamedTuple):
    """Where trials begin and end, in seconds, and what they are for, where it says."""

    name: str
    starts: np.ndarray
    stops: np.ndarray
    tiers: np.ndarray | None = None  # of str


class Foreign(NamedTuple):
    """One recording as its format has it."""

    name: str  # of the session, unless the user names it
    form: str  # of the source
    film: Film
    signals: Mapping[str, tuple[Signal, ...]]  # of SIGNALS
    table: Table | None = None
    ids_n: np.ndarray | None = None
    coordinates_n3: np.ndarray | None = None  # micrometres, or pixels
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = {}  # more to write down about where it came from


class Listed(NamedTuple):
    """One line of --list."""

    path: str
    kind: str
    shape: tuple[int, ...]
    rate: float | None
    unit: str
    use: str  # what it could be


def safe_name(words: str) -> str:
    """A folder's name made of what a file calls itself."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", words).strip(".-_")[:100]
    return f"mouse-{name}" if name.lower() in ("", "data", "meta") else name


def check_name(name: str) -> str:
    """A name that the user gave; refused where it could not be a folder of a mouse."""
    if name != safe_name(name):
        raise UserError(
            f"'{name}' cannot name a recording. Expected letters, digits, dots, dashes "
            f"and underscores, and not data or meta, such as '{safe_name(name)}'."
        )
    return name


def inner_name(name: Any, where: str) -> str:
    """A file's name that another file gives; refused where it leaves the folder."""
    plain = isinstance(name, str) and re.fullmatch(r"[\w .+=,@()-]{1,200}", name)
    if not plain or name.strip(" .") == "":
        raise UserError(
            f"{where} names the file {name!r:.100}. Expected the name of a file beside "
            "it, without folders; nothing outside of them is read."
        )
    return name


def check_claim(claimed: int, stored: int, name: str) -> None:
    """Refuse what would need far more memory than its file could fill."""
    if claimed > max(stored, 1) * INFLATED + MOST_MEMORY // 64:
        raise UserError(
            f"{name} claims {claimed / 1e9:.3g} GB, but {stored / 1e6:.3g} MB are "
            "stored of it. The file is damaged or was never filled; write it again."
        )


def parts(choice: str | None) -> list[str]:
    """What lies between commas."""
    return [p.strip() for p in (choice or "").split(",") if p.strip()]


def with_columns(choice: str) -> tuple[str, str]:
    """A path and the columns asked for behind a colon, as in eye_tracker:0-1."""
    path, _, columns = choice.rpartition(":")
    if path and re.fullmatch(r"\d+(-\d+)?", columns):
        return path, columns
    return choice, ""


def some_columns(series: Series, columns: str) -> Series:
    """Some columns of a signal, as in "2" or "0-1"; all where none are named."""
    if not columns:
        return series
    first, _, last = columns.partition("-")
    low, high = int(first), int(last or first) + 1
    if not low < high <= series.columns:
        raise UserError(
            f"{series.name} has columns 0 to {series.columns - 1}; {columns} was asked "
            "for. Expected columns such as :2 or :0-1."
        )
    keep = slice(low, high)
    delay_n = None if series.delay_n is None else series.delay_n[keep]
    return series._replace(
        name=f"{series.name}:{columns}",
        columns=high - low,
        read=lambda a, b: _rows(series.read(a, b))[:, keep],
        delay_n=delay_n,
    )


def _rows(samples: np.ndarray) -> np.ndarray:
    return samples.reshape(len(samples), -1)


def spikes(times_e: np.ndarray, ends_n: np.ndarray, name: str) -> Spikes:
    """Units from their times, one unit after the other, and where each ends."""
    if not times_e.size or not ends_n.size:
        raise UserError(f"{name} has no spikes. Choose another response.")
    times_e, ends_n = times_e.astype(np.float64, copy=False), ends_n.astype(np.int64)
    if (np.diff(ends_n, prepend=0) < 0).any() or ends_n[-1] != len(times_e):
        raise UserError(
            f"{name} has {len(times_e)} spikes, but its units end at {ends_n[-1]}. The "
            "file is damaged; write it again."
        )
    if not np.isfinite(times_e).all():
        raise UserError(f"{name} has spikes at NaN or infinite times. Remove them.")
    step_e = np.diff(times_e, prepend=times_e[0])
    begins = np.concatenate([[0], ends_n[:-1]])
    step_e[begins[begins < len(times_e)]] = 0
    if (step_e < 0).any():
        raise UserError(f"{name} has spikes that are not in order. Sort each unit's.")
    span = float(times_e.min()), float(times_e.max())
    return Spikes(name, times_e, ends_n, span)


def kept_units(signals: tuple[Signal, ...], keep_n: np.ndarray) -> tuple[Signal, ...]:
    """The same without the units that are not to be kept."""
    kept, begin = [], 0
    for signal in signals:
        mine_n = keep_n[begin : begin + signal.columns]
        begin += signal.columns
        kept.append(signal if mine_n.all() else _kept(signal, mine_n))
    return tuple(s for s in kept if s.columns)


def _kept(signal: Signal, keep_n: np.ndarray) -> Signal:
    if isinstance(signal, Series):
        delay_n = None if signal.delay_n is None else signal.delay_n[keep_n]
        return signal._replace(
            columns=int(keep_n.sum()),
            read=lambda a, b: _rows(signal.read(a, b))[:, keep_n],
            delay_n=delay_n,
        )
    units = np.split(signal.times_e, signal.ends_n[:-1])
    units = [u for u, keep in zip(units, keep_n, strict=True) if keep]
    ends_n = np.cumsum([len(u) for u in units], dtype=np.int64)
    return signal._replace(times_e=np.concatenate([*units, []]), ends_n=ends_n)


def trial_values(
    signal: Signal,
    onset_t: np.ndarray,
    width: float,
    method: str,
    longest: float,
    *,
    missing: bool = False,
) -> tuple[np.ndarray, float]:
    """A signal at the frames of one trial [t, n], and the gap that it bridges.

    missing: as in clocks.at_frames.
    """
    if isinstance(signal, Spikes):
        return clocks.counts(signal.times_e, signal.ends_n, onset_t, width), 0.0
    return clocks.at_frames(
        *(signal.clock, signal.read, onset_t, width, method),
        longest=longest,
        delay_n=signal.delay_n,
        missing=missing,
    )
