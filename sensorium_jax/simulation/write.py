"""Writes whole simulated benchmarks: mice, trials, statistics and their truth.

Every trial is a function of the seed and its place, so a killed run goes on where it
stopped and ends with the same bytes.
"""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sensorium_jax import progress
from sensorium_jax.data.release.write import SessionWriter
from sensorium_jax.data.store.write import begin_store
from sensorium_jax.errors import UserError, unknown
from sensorium_jax.io import atomic
from sensorium_jax.rules import RELEASES, Rules
from sensorium_jax.simulation import design, store
from sensorium_jax.simulation.cortex import truth
from sensorium_jax.simulation.design import Preset, Shown
from sensorium_jax.simulation.draws import FPS
from sensorium_jax.simulation.stimuli.clip import frame_shape
from sensorium_jax.simulation.trials import SimulatedMouse, clip, make, new_mouse
from sensorium_jax.simulation.worlds import record
from sensorium_jax.simulation.worlds.presets import WORLDS

YEARS = tuple(map(int, RELEASES))
THREADS = 2
NOTE = "simulation.json"


def simulate(
    out: str | Path,
    *,
    preset: str | Preset = "demo",
    year: int = 2023,
    seed: int = 0,
    trials: int | None = None,
    hide_tests: bool = False,
    centered: bool = False,
    turned: bool = False,
) -> tuple[Path, ...]:
    """Write a simulated benchmark into a folder; returns the folders of its mice.

    preset is a name of design.PRESETS or a Preset, or that of another world, which has
    its own size and rules whatever the year. year is that of the release whose layout
    and rules the recordings have. trials, if given, is the number of trials of each
    mouse. hide_tests zeros the responses of the live and final tests,
    as a competition does; the truth keeps them. turned gives every cell of the preset
    "types" an orientation of its own.
    """
    if year not in YEARS:
        raise unknown("year", str(year), RELEASES)
    rules = RELEASES[str(year)]
    if isinstance(preset, str):
        if preset in WORLDS:
            if centered or turned:
                raise UserError(
                    f"The fields of the world '{preset}' cannot be centered or turned, "
                    "only those of the cortex. Leave out --centered and --turned."
                )
            return _world(Path(out), preset, seed, trials, hide=hide_tests)
        if preset not in design.PRESETS:
            raise unknown("preset", preset, (*design.PRESETS, *WORLDS))
        chosen = design.preset(preset, rules)
    else:
        chosen = preset
    chosen = _changed(chosen, trials, centered=centered, turned=turned)
    out = Path(out)
    # Older simulations know of no types, and go on where they were.
    sizes = {k: v for k, v in vars(chosen).items() if v or k not in ("types", "turned")}
    _claim(out, {"preset": sizes, "year": year, "seed": seed, "hide": hide_tests})
    plans = [design.plan(chosen, rules, seed, m) for m in range(chosen.mice)]
    names = [design.mouse_name(chosen, rules, seed, m) for m in range(chosen.mice)]
    record = store.record if chosen.store else _record
    if chosen.store:
        begin_store(out, names)
    with progress.bar("Simulating", sum(map(len, plans))) as bar:
        folders = tuple(
            record(out, name, chosen, rules, seed, m, plan, bar.add, hide=hide_tests)
            for m, (name, plan) in enumerate(zip(names, plans, strict=True))
        )
    shutil.rmtree(out / atomic.PARTIAL, ignore_errors=True)
    return folders


def _changed(p: Preset, trials: int | None, *, centered: bool, turned: bool) -> Preset:
    """The preset with what was asked for beside it."""
    if trials is not None:
        p = p.resized(trials)
    if turned and not p.types:
        raise UserError(
            "Only cells of the preset 'types' can be turned: others have orientations "
            "of their own. Leave out --turned, or simulate --preset types."
        )
    return replace(p, centered=p.centered or centered, turned=p.turned or turned)


def _claim(out: Path, settings: dict[str, Any]) -> None:
    """Note what the folder holds; another simulation in it is an error."""
    words = json.dumps(settings, indent=1, default=vars, sort_keys=True)
    note = out / NOTE
    if note.exists() and note.read_text() != words:
        raise UserError(
            f"{out} already holds a simulation with other settings ({note}). "
            "Name another folder, or delete this one."
        )
    out.mkdir(parents=True, exist_ok=True)
    others = [p.name for p in out.iterdir() if not p.name.startswith(".")]
    if others and not note.exists():
        raise UserError(
            f"{out} holds other files ({', '.join(sorted(others)[:3])}). Name a folder "
            "of their own for simulated mice, so that none is taken for a real one."
        )
    atomic.write(note, words)


def _record(
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
) -> Path:
    """Write one mouse of a tree, or go on writing it."""
    folder = out / name
    writer = SessionWriter(
        folder,
        rules=rules,
        neurons=p.neurons,
        frame_shape=frame_shape(films=rules.films),
        pad_to=p.pad_to,
        video_dtype=np.float32 if p.pad_to else np.uint8,
    )
    if writer.finished:
        count(len(plan))
        return folder
    mouse = new_mouse(p, rules, seed, number)
    left = [i for i in range(len(plan)) if not writer.has(i)]
    count(len(plan) - len(left))

    def one(index: int) -> None:
        trial = make(mouse, plan[index], index)
        if p.truth:
            truth.write_rates(folder, index, trial.rates_tn)
        hidden = hide and plan[index].tier in rules.hidden
        traces = (trial.behavior_tk, trial.pupil_t2)
        writer.add(index, trial.video_thwc, trial.responses_tn, *traces, hidden=hidden)
        count(1)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, left))
    _finish(writer, mouse, plan)
    return folder


def _finish(
    writer: SessionWriter, mouse: SimulatedMouse, plan: Sequence[Shown]
) -> None:
    folder, n, rules = writer.folder, mouse.neurons, mouse.rules
    facts = [clip(mouse.seed, s.kind, s.clip, s.frames)[1] for s in plan]
    truth.write_facts(folder, n, plan, facts, rules, folder / atomic.PARTIAL)
    if truth.rates_file(folder, 0).exists():
        path = folder / truth.FOLDER / "ceilings.npy"
        atomic.save_npy(path, measured_ceilings(folder, plan, rules))
    _share(folder, plan, writer.form.STIMULUS)
    count = np.arange(len(plan))
    columns = {}
    if not rules.films:
        names = [f"{s.kind}-{s.clip}" for s in plan]
        columns = {
            "frame_image_id": np.unique(names, return_inverse=True)[1],
            "frame_image_class": np.full(len(plan), "simulated"),
            "trial_idx": count,
            "frame_trial_ts": count * 1.0,
        }
    units = n.cells
    writer.finish(
        [s.tier for s in plan],
        coordinates=n.coordinates_n3,
        unit_ids=np.arange(1, units + 1),
        columns=columns,
        unit_columns={
            "area": np.full(units, "V1"),
            "layer": np.full(units, "L2/3"),
            "animal_ids": np.full(units, 90001 + mouse.number),
            "sessions": np.ones(units, int),
            "scan_idx": np.ones(units, int),
        },
        layout="per_frame" if rules.films else "per_neuron",
        rate_hz=FPS if rules.films else None,
    )


def _share(folder: Path, plan: Sequence[Shown], videos: str) -> None:
    """Repeats of a clip become hard links to one file, where the disk can."""
    first: dict[tuple, Path] = {}
    for i, shown in enumerate(plan):
        path = folder / "data" / videos / f"{i}.npy"
        original = first.setdefault((shown.kind, shown.clip, shown.frames), path)
        if original is path or original.samefile(path):
            continue
        try:
            with atomic.whole(path, partial=folder / atomic.PARTIAL) as link:
                os.link(original, link)
        except OSError:
            return  # a disk without links keeps the copies


def measured_ceilings(folder: Path, plan: Sequence[Shown], rules: Rules) -> np.ndarray:
    """Correlation [N] of the true rate with single trials that validate."""
    tiers, start = [s.tier for s in plan], rules.skip
    judge = rules.validating(tiers)
    sums = np.zeros(())
    for i in (i for i, tier in enumerate(tiers) if tier == judge):
        y = np.load(folder / "data/responses" / f"{i}.npy").astype(np.float64)
        mu = np.load(truth.rates_file(folder, i)).astype(np.float64)
        y = y.reshape(len(y), -1)[:, start : mu.reshape(len(mu), -1).shape[1]]
        mu = mu.reshape(len(mu), -1)[:, start:]
        terms = (np.ones_like(y), mu, y, mu * mu, y * y, mu * y)
        sums = sums + np.stack([t.sum(1) for t in terms])
    n, m, y, mm, yy, my = sums
    covariance = my - m * y / n
    return covariance / np.sqrt((mm - m * m / n) * (yy - y * y / n) + 1e-12)


def _world(
    out: Path, name: str, seed: int, trials: int | None, *, hide: bool
) -> tuple[Path, ...]:
    """Write the mice of a world that is not the cortex."""
    world = WORLDS[name] if trials is None else WORLDS[name].resized(trials)
    shows = [s._asdict() for s in world.shows]
    _claim(out, {"world": name, "shows": shows, "seed": seed, "hide": hide})
    mice = [
        record.begin(out, name, world, seed, m, hide=hide) for m in range(world.mice)
    ]
    with progress.bar("Simulating", sum(len(r.shown) for r in mice)) as bar:
        return tuple(record.record(r, bar.add) for r in mice)
