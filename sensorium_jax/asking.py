"""How a model must be asked: whole trials or windows of them, in which units.

This is part of every model: its preset says it, its card keeps it, and whoever wants
rates of whole trials reads it here. Nobody passes it by hand.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from sensorium_jax.errors import UserError, unknown
from sensorium_jax.normalize import INPUTS, JUDGED, UNITS

Array = Any
MODES = ("whole", "window")
BLENDS = ("uniform", "last")
SIGNALS = ("video", "behavior", "pupil")  # inputs that statistics may belong to
LONGEST, WIDEST = 1 << 20, 1 << 11  # frames, and pixels of a side


class Asking(NamedTuple):
    """What must be known of a model to ask it for the rates of a trial."""

    mode: str = "whole"  # "whole" trials, or a "window" at a time
    frames: int = 0  # of a window, as the model sees it; 0 where whole trials go in
    stride: int = 1  # frames of the film from one frame of the model to the next
    hop: int = 1  # frames of the film between the starts of two windows
    blend: str = "uniform"  # overlapping windows: their mean, or the "last" to speak
    inputs: str = "normalized"  # units of video, behavior and pupil; see normalize
    scale: float = 1.0  # frames are shrunk by this after normalization
    canvas: tuple[int, int] | None = None  # and then put in the middle of this
    units: str = JUDGED  # of its rates, as responses are normalized; see normalize
    causal: bool = True  # what comes later changes no rate

    @property
    def span(self) -> int:
        """Frames of the film from a window's first to its last."""
        return (self.frames - 1) * self.stride + 1

    def as_json(self) -> dict[str, Any]:
        """What a card keeps."""
        plain = self._asdict()
        return plain | {"canvas": None if self.canvas is None else list(self.canvas)}


PLAIN = Asking()  # whole trials, normalized, answered in the judges' units


class Twin(Protocol):
    """Whatever answers a stimulus with rates [B, T', N] of the last T' frames.

    `asking` and `raw` may be missing: whole trials in the judges' units are then given
    as recorded. `raw` names the inputs taken as recorded, others come normalized.
    """

    @property
    def respond(self) -> Callable[..., Array]:
        """Called with video_bthwc, behavior_btk, pupil_bt2, mouse, first_frame_b."""
        ...


def of(twin: Any) -> Asking:
    """How a twin must be asked."""
    return getattr(twin, "asking", PLAIN)


def from_json(plain: Mapping[str, Any], where: str) -> Asking:
    """An Asking from a card or a preset; missing fields have their defaults."""
    odd = [key for key in plain if key not in Asking._fields]
    if odd:
        raise unknown("field of asking", odd[0], Asking._fields, f"(in {where})")
    canvas = plain.get("canvas")
    canvas = tuple(canvas) if isinstance(canvas, list) else canvas
    asking = Asking(**{**plain, "canvas": canvas})
    check(asking, where)
    return asking


def check(asking: Asking, where: str) -> None:
    """Refuse what no model can be asked."""
    for word, known in (
        ("mode", MODES),
        ("blend", BLENDS),
        ("inputs", INPUTS),
        ("units", UNITS),
    ):
        if getattr(asking, word) not in known:
            value = str(getattr(asking, word))
            raise unknown(f"{word} of asking", value, known, f"(in {where})")
    sizes = {"stride": asking.stride, "hop": asking.hop}
    sizes |= {"frames": asking.frames} if asking.mode == "window" else {}
    for name, size in sizes.items():
        if type(size) is not int or not 1 <= size <= LONGEST:
            raise UserError(
                f"{where}: asking.{name} is {size!r:.40}; expected 1 to {LONGEST}."
            )
    if not isinstance(asking.scale, int | float) or not 0 < asking.scale <= 1:
        raise UserError(
            f"{where}: asking.scale is {asking.scale!r:.40}; expected 0 to 1."
        )
    if type(asking.causal) is not bool:
        raise UserError(
            f"{where}: asking.causal is {asking.causal!r:.40}; expected true or false."
        )
    sides = (1, 1) if asking.canvas is None else asking.canvas
    sound = isinstance(sides, tuple) and len(sides) == 2
    if not sound or any(type(n) is not int or not 1 <= n <= WIDEST for n in sides):
        raise UserError(
            f"{where}: asking.canvas is {asking.canvas!r:.40}; expected rows and "
            f"columns, each 1 to {WIDEST}."
        )


def clips(asking: Asking, length: int) -> list[np.ndarray]:
    """Frame numbers of every clip that a trial of that length is asked by, in order.

    Whole trials are one clip, or with a stride as many as it has, each beginning one
    frame later. Windows begin every `hop` frames; the last one ends with the trial.
    """
    if asking.mode == "whole":
        begins = range(min(asking.stride, length))
        return [np.arange(p, length, asking.stride) for p in begins]
    if length < asking.span:
        raise UserError(
            f"A trial has {length} frames, a window of the model spans {asking.span}. "
            "Leave such trials out, or take a model for shorter ones."
        )
    last = length - asking.span
    starts = np.arange(0, last + 1, asking.hop)
    # The neighbours of the first and the last window too, so that a stride leaves no
    # frame out at either end.
    ends = np.arange(min(asking.stride, last + 1))
    starts = np.union1d(starts, np.concatenate([ends, last - ends]))
    return list(starts[:, None] + np.arange(asking.frames) * asking.stride)


def speaks_for(asking: Asking, frames: np.ndarray, answered: int) -> np.ndarray:
    """Of a clip's frames those that its answer counts for; an answer is of the last.

    Where only the last to speak counts, a window keeps its newest `hop` frames; the
    first ones of a trial keep all, as nobody else can speak for those.
    """
    keep, first = answered, frames[0] < asking.stride
    if asking.mode == "window" and asking.blend == "last" and not first:
        keep = min(keep, -(-asking.hop // asking.stride))
    return frames[len(frames) - keep :]


class Joined:
    """The answers to the clips of one trial, brought together frame by frame."""

    def __init__(self, asking: Asking, length: int):
        """Nothing is answered yet."""
        self.asking, self.length = asking, length
        self.total_tn: Any = None
        self.count_t = np.zeros(length, np.int32)

    def add(self, frames: np.ndarray, rates_tn: np.ndarray) -> None:
        """Take the answer to one clip, of its last len(rates_tn) frames."""
        if self.total_tn is None:
            self.total_tn = np.zeros((self.length, rates_tn.shape[1]), np.float32)
        at = speaks_for(self.asking, frames, len(rates_tn))
        if self.asking.blend == "last":
            self.total_tn[at], self.count_t[at] = rates_tn[len(rates_tn) - len(at) :], 1
        else:
            self.total_tn[at] += rates_tn
            self.count_t[at] += 1

    def value(self) -> tuple[np.ndarray, int]:
        """Rates of the frames from the first that has an answer, and its number."""
        start = first_answered(self.count_t, self.asking)
        return self.total_tn[start:] / self.count_t[start:, None], start


def first_answered(count_t: np.ndarray, asking: Asking) -> int:
    """The first frame with an answer; a gap after it is an error."""
    start = int(np.argmax(count_t > 0))
    if not count_t[start:].all():
        missing = start + int(np.argmin(count_t[start:]))
        raise UserError(
            f"No window answers for frame {missing}: a hop of {asking.hop} leaves gaps "
            f"between windows of {asking.frames} frames {asking.stride} apart. Choose "
            "a smaller hop, without a common factor with the stride."
        )
    return start


def shares(
    asking: Asking, plan: Sequence[np.ndarray], lost: int
) -> tuple[list[np.ndarray], int]:
    """How much the answer to each frame of each clip counts in its frame of the film.

    The first `lost` frames of a clip have no answer. Returns the shares of the others,
    clip by clip, and the first frame of the film with an answer.
    """
    length = 1 + max(int(frames[-1]) for frames in plan)
    at = [speaks_for(asking, frames, len(frames) - lost) for frames in plan]
    count_t, last_t = np.zeros(length, int), np.zeros(length, int)
    for i, frames in enumerate(at):
        count_t[frames] += 1
        last_t[frames] = i
    each = []
    for i, (frames, spoken) in enumerate(zip(plan, at, strict=True)):
        share_t = np.zeros(len(frames) - lost, np.float32)
        latest = last_t[spoken] == i if asking.blend == "last" else 1 / count_t[spoken]
        share_t[len(share_t) - len(spoken) :] = latest
        each.append(share_t)
    return each, first_answered(count_t, asking)


def whole(
    respond: Callable[..., Array],
    asking: Asking,
    video_bthwc: Array,
    behavior_btk: Array | None,
    pupil_bt2: Array | None,
    first_frame_b: Array = 0,
    *,
    together: int = 8,
) -> Array:
    """Rates [B, T', N] of whole clips, whatever the model wants to be asked by.

    respond takes the clips that the model wants, with the index of their first frames.
    For use under jit; windows pass through one program, `together` at a time.
    """
    if asking.mode == "whole" and asking.stride == 1:
        return respond(video_bthwc, behavior_btk, pupil_bt2, first_frame_b)
    import jax
    import jax.numpy as jnp

    length = video_bthwc.shape[1]
    plan = clips(asking, length)
    first = jnp.asarray(first_frame_b)

    def one(frames: Array) -> Array:
        parts = (
            None if x is None else jnp.take(x, frames, axis=1)
            for x in (video_bthwc, behavior_btk, pupil_bt2)
        )
        return respond(*parts, first + frames[0])

    total: Any = None
    start = 0
    sizes = dict.fromkeys(len(frames) for frames in plan)
    for size in sizes:  # clips of one length, as windows are, pass through one program
        seen = np.stack([frames for frames in plan if len(frames) == size])
        rates_cbtn = jax.lax.map(one, jnp.asarray(seen), batch_size=together)
        lost = size - rates_cbtn.shape[2]
        share, start = shares(asking, plan, lost)
        mine = np.stack([s for s in share if len(s) == size - lost])
        weighted = rates_cbtn * jnp.asarray(mine)[:, None, :, None]
        _, b, _, n = rates_cbtn.shape
        flat = jnp.moveaxis(weighted, 1, 0).reshape(b, -1, n)
        at = seen[:, lost:].ravel()
        if total is None:
            total = jnp.zeros((b, length, n), rates_cbtn.dtype)
        total = total.at[:, at].add(flat)
    return total[:, start:]
