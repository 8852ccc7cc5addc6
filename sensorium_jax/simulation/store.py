"""Writes a simulated mouse straight into a store, a few trials in memory at a time."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from sensorium_jax.axes import Trial
from sensorium_jax.data.store.read import Session, Stats
from sensorium_jax.data.store.write import StoreWriter
from sensorium_jax.rules import RELEASES
from sensorium_jax.simulation import design
from sensorium_jax.simulation.cortex import truth
from sensorium_jax.simulation.design import Preset, Shown
from sensorium_jax.simulation.trials import Made, Mouse, make, new_mouse

SAMPLE = 24  # training trials that the statistics are taken over


def record(
    out: Path,
    name: str,
    p: Preset,
    year: int,
    seed: int,
    number: int,
    plan: Sequence[Shown],
    count: Callable[[float], Any],
    *,
    hide: bool,
    threads: int = 2,
) -> Path:
    """Write one mouse of a store that has been begun, or go on writing it."""
    folder = out / name
    if (folder / "complete.json").exists():
        count(len(plan))
        return folder
    mouse = new_mouse(p, year, seed, number)
    session = _session(out, name, mouse, plan)
    frames = max(s.frames for s in plan)
    writer = StoreWriter(out, session, frames=frames, video_dtype=np.uint8)
    count(writer.next)
    for index, made in _ahead(mouse, plan, writer.next, threads):
        hidden = hide and plan[index].tier in design.HIDDEN
        writer.add(_trial(made, hidden=hidden))
        count(1)
    truth.write_facts(folder, mouse.neurons, plan, [{}] * len(plan), year)
    writer.finish(_session(out, name, mouse, plan, _statistics(mouse, plan)))
    return folder


def _trial(made: Made, *, hidden: bool) -> Trial:
    responses = np.zeros_like(made.responses_tn) if hidden else made.responses_tn
    return Trial(made.video_thwc, made.behavior_tk, made.pupil_t2, responses)


def _ahead(
    mouse: Mouse, plan: Sequence[Shown], start: int, threads: int
) -> Iterator[tuple[int, Made]]:
    """Trials in order, made by threads a few ahead."""
    with ThreadPoolExecutor(threads) as pool:
        for first in range(start, len(plan), threads):
            rows = range(first, min(first + threads, len(plan)))
            yield from zip(
                rows, pool.map(lambda i: make(mouse, plan[i], i), rows), strict=True
            )


def _statistics(mouse: Mouse, plan: Sequence[Shown]) -> dict[str, Stats]:
    rows = [i for i, s in enumerate(plan) if s.tier == "train"][:SAMPLE]
    parts: dict[str, list] = {}
    for i in rows:
        made = make(mouse, plan[i], i)
        # A pixel statistic is one number, as in the release.
        parts.setdefault("videos", []).append(made.video_thwc[::7].reshape(-1, 1))
        parts.setdefault("behavior", []).append(made.behavior_tk)
        parts.setdefault("pupil_center", []).append(made.pupil_t2)
        parts.setdefault("responses", []).append(made.responses_tn)
    found = {}
    for what, pieces in parts.items():
        x = np.concatenate(pieces).astype(np.float32)
        kinds = (x.mean(0), x.std(0), x.min(0), x.max(0), np.median(x, axis=0))
        found[what] = Stats(*(np.asarray(k, np.float32) for k in kinds))
    return found


def _session(
    out: Path,
    name: str,
    mouse: Mouse,
    plan: Sequence[Shown],
    statistics: dict[str, Stats] | None = None,
) -> Session:
    unread: Any = None
    pictures = mouse.year == 2022
    trials = np.arange(len(plan))
    clips = np.unique([f"{s.kind}-{s.clip}" for s in plan], return_inverse=True)[1]
    return Session(
        name=name,
        rules=RELEASES[str(mouse.year)],
        where=str(out / name),
        tiers=np.array([s.tier for s in plan]),
        files=trials,
        unit_ids_n=np.arange(1, mouse.neurons.cells + 1, dtype=np.int64),
        coordinates_n3=mouse.neurons.coordinates_n3.astype(np.float32),
        frame_shape=(144, 256, 1) if pictures else (36, 64, 1),
        video_dtype=np.dtype(np.uint8),
        behaviors=3 if pictures else 2,
        has_pupil=True,
        statistics=statistics or {},
        reader=unread,
        columns={"frame_image_id": clips, "trial_idx": trials} if pictures else {},
    )
