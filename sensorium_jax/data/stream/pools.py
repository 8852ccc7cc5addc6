"""Which trials and neurons a stream draws from, and what follows for its mice."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sensorium_jax.axes import MouseInfo
from sensorium_jax.data.session import Session, tier_named
from sensorium_jax.data.statistics import VideoStats
from sensorium_jax.data.stream.windows import generator
from sensorium_jax.errors import UserError, unknown

SAMPLINGS = ("uniform", "proportional")


def check_choices(
    sizes: Mapping[str, int],
    start: str | int,
    sampling: str,
    *,
    mixed: bool,
    epochs: bool,
) -> None:
    """Raise UserError for choices that no stream can fulfil."""
    if sampling not in SAMPLINGS:
        raise unknown("sampling", sampling, SAMPLINGS, "Set config.data.sampling.")
    if not mixed and sampling != "uniform" or mixed and epochs:
        raise UserError(
            f"mixed={mixed}, sampling='{sampling}', epochs={epochs}: stacked batches "
            "hold every mouse equally, so proportional sampling needs mixed=True, "
            "and mixed batches have no epochs. Change one of them."
        )
    if isinstance(start, str) and start != "random":
        raise UserError(f"start is '{start}', expected 'random' or a frame index.")
    small = {name: size for name, size in sizes.items() if size < 1}
    if small:
        raise UserError(f"Found {small}, expected at least 1 of each.")


def labelled(session: Session, trial: int) -> bool:
    """Whether a trial's responses are real: hidden tiers hold zeros instead."""
    return not session.hides(str(session.tiers[trial]))


def trials(
    sessions: Sequence[Session], tier: str | Sequence[str], chosen: Any = None
) -> list[np.ndarray]:
    """Rows of each session's trial table to draw from.

    chosen: None for all trials of the tier (or tiers), a count of them drawn once, or
    rows per mouse (a list, or a dict by session name), which replace the tier.
    """
    given = _per_mouse(sessions, chosen, "trials")
    if given is not None:
        for session, rows in zip(sessions, given, strict=True):
            _check(session, rows, session.trials, "trials")
        return given
    tiers = (tier,) if isinstance(tier, str) else tuple(tier)
    tiers = tuple(tier_named(t, sessions) for t in tiers)
    pools = []
    for mouse, session in enumerate(sessions):
        parts = [session.trials_of(t) for t in tiers if _has(session, t, tiers)]
        if not parts:
            session.trials_of(tiers[0])
        pools.append(_some(np.sort(np.concatenate(parts)), chosen, mouse, 1))
    return pools


def some(rows: Mapping[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    """That many of each mouse's rows, drawn once; mice in the order of the sessions."""
    each = enumerate(rows.items())
    return {name: _some(np.sort(own), count, m, 1) for m, (name, own) in each}


def neurons(sessions: Sequence[Session], chosen: Any = None) -> list[np.ndarray | None]:
    """Rows of each session's neurons to use; None where all are."""
    given = _per_mouse(sessions, chosen, "neurons")
    if given is not None:
        for session, rows in zip(sessions, given, strict=True):
            _check(session, rows, session.neurons, "neurons")
        return list(given)
    if chosen is None:
        return [None] * len(sessions)
    return [_some(np.arange(s.neurons), chosen, m, 2) for m, s in enumerate(sessions)]


def long_enough(
    sessions: Sequence[Session], rows: Sequence[np.ndarray], frames: int
) -> list[np.ndarray]:
    """Rows whose trials have at least this many frames."""
    kept = []
    for session, pool in zip(sessions, rows, strict=True):
        lengths = np.array([session.reader.length(int(row)) for row in pool])
        if not (lengths >= frames).any():
            raise UserError(
                f"No trial of {session.where} has the {frames} frames that a window "
                f"spans; the longest has {lengths.max()}. Ask for fewer frames or a "
                "smaller stride (config.train.frames, config.data.stride)."
            )
        kept.append(pool[lengths >= frames])
    return kept


def info(mice: MouseInfo, sources: Sequence[Any]) -> MouseInfo:
    """The mice with only the chosen neurons, packed to the left."""
    if all(source.neurons is None for source in sources):
        return mice
    width = max(source.width for source in sources)

    def chosen(old: np.ndarray) -> np.ndarray:
        new = np.zeros((len(sources), width, *old.shape[2:]), old.dtype)
        for mouse, source in enumerate(sources):
            rows = slice(source.width) if source.neurons is None else source.neurons
            new[mouse, : source.width] = old[mouse, rows]
        return new

    return mice._replace(
        neurons_mn=chosen(mice.neurons_mn),
        coordinates_mn3=chosen(mice.coordinates_mn3),
        mean_rates_mn=chosen(mice.mean_rates_mn),
        fields_mn3=None if mice.fields_mn3 is None else chosen(mice.fields_mn3),
    )


def pad_video_stats(stats: VideoStats, mice: int) -> VideoStats:
    """Rows for padded mice too, mean 0 and std 1."""
    mean, std = stats
    more = ((0, mice - len(mean)), *((0, 0),) * 4)
    return VideoStats(
        np.pad(mean, more), np.pad(std, more, constant_values=np.float32(1))
    )


def _has(session: Session, tier: str, tiers: tuple[str, ...]) -> bool:
    return len(tiers) == 1 or bool(np.any(session.tiers == tier))


def _per_mouse(
    sessions: Sequence[Session], chosen: Any, kind: str
) -> list[np.ndarray] | None:
    if chosen is None or isinstance(chosen, (int, np.integer)):
        return None
    if isinstance(chosen, Mapping):
        missing = [s.name for s in sessions if s.name not in chosen]
        if missing:
            raise UserError(
                f"{kind} names {', '.join(map(str, chosen))}, but not {missing[0]}. "
                "Give an index array for every mouse."
            )
        chosen = [chosen[s.name] for s in sessions]
    if len(chosen) != len(sessions):
        raise UserError(
            f"{kind} has {len(chosen)} index arrays, expected {len(sessions)}, one per "
            "mouse."
        )
    return [np.asarray(rows, np.int64) for rows in chosen]


def _check(session: Session, rows: np.ndarray, size: int, kind: str) -> None:
    if not rows.size or rows.min() < 0 or rows.max() >= size:
        raise UserError(
            f"The {kind} chosen of {session.name} are {rows}, expected at least one "
            f"row between 0 and {size - 1}."
        )


def _some(rows: np.ndarray, count: int | None, mouse: int, purpose: int) -> np.ndarray:
    if count is None:
        return rows
    if not 0 < count <= len(rows):
        raise UserError(f"{count} were asked for, expected 1 to {len(rows)}.")
    random = generator(0, 0, mouse, purpose=purpose)
    return np.sort(random.choice(rows, count, replace=False))
