"""Writes a simulated mouse straight into a store, a few trials in memory at a time."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from sensorium_jax.axes import Trial
from sensorium_jax.data.session import (
    BEHAVIOR,
    PUPIL,
    RESPONSES,
    VIDEO,
    Session,
    Stats,
)
from sensorium_jax.data.store.write import StoreWriter
from sensorium_jax.io.atomic import PARTIAL
from sensorium_jax.rules import TRAIN, Rules
from sensorium_jax.simulation.cortex import truth
from sensorium_jax.simulation.design import Preset, Shown
from sensorium_jax.simulation.draws import FPS
from sensorium_jax.simulation.stimuli.clip import frame_shape
from sensorium_jax.simulation.trials import (
    SimulatedMouse,
    SimulatedTrial,
    make,
    new_mouse,
)

SAMPLE = 24  # training trials that the statistics are taken over


def record(
    out: Path,
    name: str,
    p: Preset,
    rules: Rules,
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
    mouse = new_mouse(p, rules, seed, number)
    session = _session(out, name, mouse, plan)
    frames = max(s.frames for s in plan)
    writer = StoreWriter(out, session, frames=frames, video_dtype=np.uint8)
    count(writer.next)
    for index, trial in _in_order(mouse, plan, writer.next, threads):
        hidden = hide and plan[index].tier in rules.hidden
        writer.add(_recorded(trial, hidden=hidden))
        count(1)
    truth.write_facts(
        folder, mouse.neurons, plan, [{}] * len(plan), rules, out / PARTIAL
    )
    writer.finish(_session(out, name, mouse, plan, _statistics(mouse, plan)))
    return folder


def _recorded(trial: SimulatedTrial, *, hidden: bool) -> Trial:
    responses = np.zeros_like(trial.responses_tn) if hidden else trial.responses_tn
    return Trial(trial.video_thwc, trial.behavior_tk, trial.pupil_t2, responses)


def _in_order(
    mouse: SimulatedMouse, plan: Sequence[Shown], start: int, threads: int
) -> Iterator[tuple[int, SimulatedTrial]]:
    """Trials in order, made by threads a few ahead."""
    with ThreadPoolExecutor(threads) as pool:
        for first in range(start, len(plan), threads):
            rows = range(first, min(first + threads, len(plan)))
            yield from zip(
                rows, pool.map(lambda i: make(mouse, plan[i], i), rows), strict=True
            )


def _statistics(mouse: SimulatedMouse, plan: Sequence[Shown]) -> dict[str, Stats]:
    rows = [i for i, s in enumerate(plan) if s.tier == TRAIN][:SAMPLE]
    parts: dict[str, list] = {}
    for i in rows:
        trial = make(mouse, plan[i], i)
        # A pixel statistic is one number, as in the release.
        parts.setdefault(VIDEO, []).append(trial.video_thwc[::7].reshape(-1, 1))
        parts.setdefault(BEHAVIOR, []).append(trial.behavior_tk)
        parts.setdefault(PUPIL, []).append(trial.pupil_t2)
        parts.setdefault(RESPONSES, []).append(trial.responses_tn)
    statistics = {}
    for what, pieces in parts.items():
        x = np.concatenate(pieces).astype(np.float32)
        kinds = (x.mean(0), x.std(0), x.min(0), x.max(0), np.median(x, axis=0))
        statistics[what] = Stats(*(np.asarray(k, np.float32) for k in kinds))
    return statistics


def _session(
    out: Path,
    name: str,
    mouse: SimulatedMouse,
    plan: Sequence[Shown],
    statistics: dict[str, Stats] | None = None,
) -> Session:
    unread: Any = None
    pictures = not mouse.rules.films
    trials = np.arange(len(plan))
    clips = np.unique([f"{s.kind}-{s.clip}" for s in plan], return_inverse=True)[1]
    return Session(
        name=name,
        rules=mouse.rules,
        where=str(out / name),
        tiers=np.array([s.tier for s in plan]),
        files=trials,
        unit_ids_n=np.arange(1, mouse.neurons.cells + 1, dtype=np.int64),
        coordinates_n3=mouse.neurons.coordinates_n3.astype(np.float32),
        frame_shape=frame_shape(films=mouse.rules.films),
        video_dtype=np.dtype(np.uint8),
        behaviors=3 if pictures else 2,
        has_pupil=True,
        statistics=statistics or {},
        reader=unread,
        columns={"frame_image_id": clips, "trial_idx": trials} if pictures else {},
        frames_per_second=None if pictures else float(FPS),
    )
