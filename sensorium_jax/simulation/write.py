"""Writes whole simulated benchmarks: mice, trials, statistics and their truth.

Every trial is a function of the seed and its place, so a killed run goes on where it
stopped and ends with the same bytes.
"""

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sensorium_jax import progress
from sensorium_jax.data.release.write import SessionWriter, save_npy
from sensorium_jax.data.store.write import begin_store
from sensorium_jax.errors import UserError, unknown
from sensorium_jax.simulation import design, store
from sensorium_jax.simulation.cortex import truth
from sensorium_jax.simulation.cortex.calibrate import SETTLED
from sensorium_jax.simulation.design import Preset, Shown
from sensorium_jax.simulation.trials import Mouse, clip, make, new_mouse
from sensorium_jax.simulation.worlds import record
from sensorium_jax.simulation.worlds.presets import WORLDS

YEARS = (2022, 2023)
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
) -> tuple[Path, ...]:
    """Write a simulated benchmark into a folder; returns the folders of its mice.

    preset is a name of design.PRESETS or a Preset, or that of another world, which has
    its own size and form whatever the year. trials, if given, is the number of
    trials of each mouse. hide_tests zeros the responses of the live and final tests,
    as a competition does; the truth keeps them.
    """
    if year not in YEARS:
        raise unknown("year", str(year), map(str, YEARS))
    if isinstance(preset, str):
        if preset in WORLDS:
            if centered:
                raise UserError(
                    f"The fields of the world '{preset}' cannot be centered, only "
                    "those of the cortex. Leave out --centered."
                )
            return _world(Path(out), preset, seed, trials, hide=hide_tests)
        if preset not in design.PRESETS:
            raise unknown("preset", preset, (*design.PRESETS, *WORLDS))
        chosen = design.preset(preset, year)
    else:
        chosen = preset
    if trials is not None:
        chosen = chosen.resized(trials)
    if centered:
        chosen = replace(chosen, centered=True)
    out = Path(out)
    _claim(
        out, {"preset": vars(chosen), "year": year, "seed": seed, "hide": hide_tests}
    )
    plans = [design.plan(chosen, year, seed, m) for m in range(chosen.mice)]
    names = [design.mouse_name(chosen, year, seed, m) for m in range(chosen.mice)]
    write = _mouse
    if chosen.store:
        begin_store(out, names)
        write = store.record
    with progress.bar("Simulating", sum(map(len, plans))) as bar:
        return tuple(
            write(out, name, chosen, year, seed, m, plan, bar.add, hide=hide_tests)
            for m, (name, plan) in enumerate(zip(names, plans, strict=True))
        )


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
    part = note.with_name(f".{NOTE}")
    part.write_text(words)
    part.replace(note)


def _mouse(out, name, p: Preset, year, seed, number, plan, count, *, hide):
    folder = out / name
    pictures = year == 2022
    writer = SessionWriter(
        folder,
        year=year,
        neurons=p.neurons,
        frame_shape=(144, 256, 1) if pictures else (36, 64, 1),
        pad_to=p.pad_to,
        video_dtype=np.float32 if p.pad_to else np.uint8,
    )
    if writer.finished:
        count(len(plan))
        return folder
    mouse = new_mouse(p, year, seed, number)
    left = [i for i in range(len(plan)) if not writer.has(i)]
    count(len(plan) - len(left))

    def one(index: int) -> None:
        made = make(mouse, plan[index], index)
        if p.truth:
            truth.write_rates(folder, index, made.rates_tn)
        hidden = hide and plan[index].tier in design.HIDDEN
        traces = (made.behavior_tk, made.pupil_t2)
        writer.add(index, made.video_thwc, made.responses_tn, *traces, hidden=hidden)
        count(1)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, left))
    _finish(writer, mouse, plan)
    return folder


def _finish(writer: SessionWriter, mouse: Mouse, plan: Sequence[Shown]) -> None:
    folder, n = writer.folder, mouse.neurons
    facts = [clip(mouse.seed, s.kind, s.clip, s.frames)[1] for s in plan]
    truth.write_facts(folder, n, plan, facts, mouse.year)
    if truth.rates_file(folder, 0).exists():
        path = folder / truth.FOLDER / "ceilings.npy"
        save_npy(path, measured_ceilings(folder, plan, mouse.year))
    _share(folder, plan, "images" if mouse.year == 2022 else "videos")
    count = np.arange(len(plan))
    columns = {}
    if mouse.year == 2022:
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
        layout="per_frame" if mouse.year == 2023 else "per_neuron",
    )


def _share(folder: Path, plan: Sequence[Shown], videos: str) -> None:
    """Repeats of a clip become hard links to one file, where the disk can."""
    first: dict[tuple, Path] = {}
    for i, shown in enumerate(plan):
        path = folder / "data" / videos / f"{i}.npy"
        original = first.setdefault((shown.kind, shown.clip, shown.frames), path)
        if original is path or original.samefile(path):
            continue
        link = folder / f".link-{i}"
        try:
            os.link(original, link)
            os.replace(link, path)
        except OSError:
            return  # a disk without links keeps the copies


def measured_ceilings(folder: Path, plan: Sequence[Shown], year: int) -> np.ndarray:
    """Correlation [N] of the true rate with single trials of the validation tier."""
    tier = "validation" if year == 2022 else "oracle"
    start = 0 if year == 2022 else SETTLED
    sums = np.zeros(())
    for i in (i for i, s in enumerate(plan) if s.tier == tier):
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
