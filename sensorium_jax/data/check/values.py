"""Faults of the numbers in trial files."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sensorium_jax.data.check.trials import Scan
from sensorium_jax.data.session import BEHAVIOR, PUPIL, RESPONSES, VIDEO
from sensorium_jax.findings import Fault, error, warning
from sensorium_jax.io.npy import AGAIN, Header
from sensorium_jax.rules import UNUSED

GREY = (-0.5, 255.5)  # 0..255, with room for rounding
NEGATIVE = 1e-3  # of the mean std of responses; official ones go down to about -1e-8
FEW = 3  # rows that may end a frame or two apart
APART = 2  # frames by which the modalities of a trial may end apart unremarked
CHANCE = 0.1  # expected silent trials of sparse responses above which one is no fault


class Seen(NamedTuple):
    """What one trial's values show."""

    faults: list[Fault]
    end: int  # valid frames
    active: float | None  # share of labelled responses that are not zero, if all read
    responses: int  # how many


def trial(
    scan: Scan, number: int, tier: str, scale: float, skip: set, *, whole: bool
) -> Seen:
    """Faults of one trial's values.

    scale is the mean std of responses; whole reads every value instead of the first and
    last row or pixel row of large files; skip holds (modality, number) to leave out.
    """
    faults: list[Fault] = []
    ends: dict[str, int] = {}
    active, count = None, 0
    may_hide = tier in scan.rules.hidden
    for what in scan.places:
        known = scan.headers[what].get(number)
        if known is None or (what, number) in skip:
            continue
        path = scan.file(what, number)
        try:
            values, complete = _values(path, known, what, timed=scan.timed, whole=whole)
            if values is not None and not complete and what == RESPONSES:
                silent = not np.nan_to_num(values).any() and not may_hide
                values, complete = (np.load(path), True) if silent else (values, False)
        except (OSError, ValueError) as problem:
            faults.append(error(path, f"cannot be read: {problem}"[:120], AGAIN))
            continue
        if values is None:
            continue
        end = _nan(path, values, faults, timed=scan.timed)
        # fmin and fmax pass NaN over; infinity shows in them.
        low, high = (float(f.reduce(values, None)) for f in (np.fmin, np.fmax))
        zero = what == RESPONSES and low == high == 0
        if end is not None and not (zero and may_hide):
            ends[what] = end
        keeps = scan.keeps_negative
        faults.extend(_range(path, what, low, high, scale, keeps_negative=keeps))
        if what == RESPONSES and complete and tier and not may_hide:
            gone_n = scan.missing.get(number)
            told = values if gone_n is None else values[~gone_n]
            count = int(np.sum(told == told))
            active = np.count_nonzero(np.nan_to_num(told)) / count if count else None
    faults.extend(_ends(scan, number, ends))
    return Seen(faults, min(ends.values(), default=0), active, count)


def silent(scan: Scan, seen: dict[int, Seen], tiers: dict[int, str]) -> Iterator[Fault]:
    """Labelled trials whose responses are all zero, as hidden ones are.

    A few sparse neurons may be silent together: where zeros are so common that chance
    makes such trials, they are a warning.
    """
    shares = {
        i: s.active for i, s in seen.items() if s.active is not None and s.responses
    }
    zeros = [i for i, share in shares.items() if share == 0]
    if not zeros:
        return
    mean = sum(shares.values()) / len(shares)
    chance = len(shares) * (1 - mean) ** min(seen[i].responses for i in zeros)
    make = warning if mean > 0 and chance > CHANCE else error
    hidden = ", ".join(scan.rules.hidden)
    remedy = f"give the trial a tier that hides its responses ({hidden}) or '{UNUSED}'"
    if not hidden:
        remedy = f"name the tier as hidden in the rules, or give it the tier '{UNUSED}'"
    for number in zeros:
        yield make(
            scan.file(RESPONSES, number),
            f"all-zero responses of a trial of tier '{tiers[number]}'",
            remedy,
        )


def _values(
    path: Path, known: Header, what: str, *, timed: bool, whole: bool
) -> tuple[np.ndarray | None, bool]:
    """The array, or its first and last rows; whether that is all of it."""
    small = what in (BEHAVIOR, PUPIL) or len(known.shape) == 1
    if whole or small:
        return np.load(path), True
    if known.fortran or not timed:  # rows lie apart, or are all there is
        return None, False
    mapped = np.load(path, mmap_mode="r")
    return np.stack([mapped[0], mapped[-1]]), False


def _nan(path: Path, x: np.ndarray, faults: list[Fault], *, timed: bool) -> int | None:
    """Report NaN before the end; return the valid frames, None if there are none."""
    frames = x.shape[-1] if timed else 1
    if x.dtype.kind != "f":
        return frames
    if not timed:
        count = int(np.isnan(x).sum())
        if count:
            faults.append(_inside(path, f"NaN in {count} of {x.size} values"))
        return None if count else 1
    rows_t = np.isnan(x).reshape(-1, frames).sum(0)
    rows = x.size // frames
    if not rows_t.any():
        return frames
    there = np.flatnonzero(rows_t < rows)
    end = int(there[-1]) + 1 if there.size else 0
    if end == 0:
        faults.append(_inside(path, "nothing but NaN"))
        return None
    inside = np.flatnonzero(rows_t[:end])
    if not inside.size:
        return end
    first = int(inside[0])
    ragged = rows <= FEW and end - first <= APART and bool((rows_t[first:] > 0).all())
    if not ragged:
        faults.append(
            _inside(
                path,
                f"NaN inside the trial: at frame {first} of {end}, in {rows_t[first]} "
                f"of {rows} rows",
            )
        )
    return first if ragged else end


def _inside(path: Path, finding: str) -> Fault:
    return error(
        path, finding, f"fill the gap, or leave the neuron out, or give tier '{UNUSED}'"
    )


def _range(
    path: Path,
    what: str,
    low: float,
    high: float,
    scale: float,
    *,
    keeps_negative: bool,
) -> Iterator[Fault]:
    if np.isinf(low) or np.isinf(high):
        yield error(
            path,
            "infinity among the values",
            f"replace it by a number, or tier '{UNUSED}'",
        )
    elif what == RESPONSES and low < -max(NEGATIVE * scale, 1e-6):
        if keeps_negative:
            yield warning(
                path,
                f"negative responses down to {low:.4g}, kept on purpose",
                "train with the loss 'mse'; the Poisson loss needs zero or more",
            )
        else:
            yield error(
                path,
                f"negative responses down to {low:.4g}",
                "responses are rates: clip at zero, or shift the baseline",
            )
    elif what == VIDEO and (low < GREY[0] or high > GREY[1]):
        yield error(
            path,
            f"video outside 0-255: {low:.4g} to {high:.4g}",
            "store grey levels of 0 to 255, not normalized",
        )


def _ends(scan: Scan, number: int, ends: dict[str, int]) -> Iterator[Fault]:
    """Modalities of a trial that end far apart: the trial is cut to the shortest."""
    if len(ends) < 2:
        return
    short = min(ends, key=lambda w: ends[w])
    longest = max(ends.values())
    if longest - ends[short] <= APART:
        return
    lost = ends[short] < 0.5 * longest
    padded = {
        w: scan.headers[w][number].shape[-1]
        for w in ends
        if scan.headers[w][number].dtype.kind in "iu"
    }
    odd = short in padded and padded[short] < longest
    make = error if lost or odd else warning
    yield make(
        scan.file(short, number),
        f"wrong length: {ends[short]} valid frames, others of the trial {longest}",
        "the trial is cut to the shortest; write the missing frames",
    )


def darkest(scan: Scan, numbers: tuple[int, ...], skip: set) -> Iterator[Fault]:
    """A few videos whose values never pass 1: probably scaled already."""
    highs = []
    for number in numbers:
        known = scan.headers.get(VIDEO, {}).get(number)
        if known is not None and (VIDEO, number) not in skip:
            highs.append(float(np.fmax.reduce(np.load(scan.file(VIDEO, number)), None)))
    if highs and 0 < max(highs) <= 1:
        yield warning(
            scan.places[VIDEO],
            f"grey levels never pass {max(highs):.3g}",
            "store 0 to 255; published models expect that range",
        )
