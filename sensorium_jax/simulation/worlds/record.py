"""Writes a world as an official tree with its truth, trial by trial.

Every trial is a function of the seed and its place, so a killed run goes on where it
stopped and ends with the same bytes.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax.data.release.write import SessionWriter
from sensorium_jax.io import atomic
from sensorium_jax.rules import PICTURES, own
from sensorium_jax.simulation.cortex import truth
from sensorium_jax.simulation.design import Shown
from sensorium_jax.simulation.draws import generator
from sensorium_jax.simulation.worlds.world import (
    TEST,
    VALIDATION,
    Population,
    World,
    plan,
)

THREADS = 2
REMEMBERED = 100 << 20  # bytes of clips
CELLS = "cells.npz"  # not the cortex's neurons.npz: other cells have other facts
PARTIAL = ".partial"


class Recording(NamedTuple):
    """One mouse of a world on its way to the disk."""

    world: World
    seed: int
    mouse: int
    folder: Path
    shown: Sequence[Shown]
    hide: bool
    clip: Callable[..., Any]  # as the world's own, remembered for the repeats


def name_of(world: str, seed: int, mouse: int) -> str:
    """Folder name of one mouse; the tail tells worlds and seeds apart."""
    words = generator(seed, "name", world).integers(0, 2**32, 2)
    tail = "".join(f"{w:08x}" for w in np.asarray(words))
    return f"{world}{mouse + 1}-{tail}"


def begin(
    out: Path, name: str, world: World, seed: int, mouse: int, *, hide: bool
) -> Recording:
    """One mouse and its trials; nothing is written yet."""
    folder = out / name_of(name, seed, mouse)
    shown = plan(world, seed, mouse)
    size = int(np.prod(world.frame_shape)) * max(s.frames for s in shown)
    clip = lru_cache(max(REMEMBERED // size, 1))(partial(world.clip, seed))
    return Recording(world, seed, mouse, folder, shown, hide, clip)


def record(r: Recording, count: Callable[[float], Any]) -> Path:
    """Write one mouse, or go on writing it; returns its folder."""
    world = r.world
    writer = SessionWriter(
        r.folder,
        rules=own(world.kind, validation=(VALIDATION,), hidden=(TEST,) * r.hide),
        neurons=world.neurons,
        frame_shape=world.frame_shape,
        video_dtype=np.uint8,
    )
    if writer.finished:
        count(len(r.shown))
        return r.folder
    population = world.population(r.seed, r.mouse)
    left = [i for i in range(len(r.shown)) if not writer.has(i)]
    count(len(r.shown) - len(left))

    def one(index: int) -> None:
        shown = r.shown[index]
        video, traces, rates_tn, responses_tn = trial(r, population, index)
        truth.write_rates(r.folder, index, rates_tn)
        hidden = r.hide and shown.tier == TEST
        writer.add(index, video, responses_tn, *traces, hidden=hidden)
        count(1)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, left))
    _finish(r, writer, population)
    return r.folder


def trial(r: Recording, population: Population, index: int) -> tuple[Any, ...]:
    """Video, traces, mean responses and responses of one trial, time first."""
    world, shown = r.world, r.shown[index]
    video = r.clip(shown.kind, shown.clip, shown.frames)
    traces = (None, None)
    if world.behave is not None:
        rng = generator(r.seed, "behavior", r.mouse, index)
        traces = world.behave(rng, shown.frames)
    rates_tn = population.rates(video, traces[0])
    rng = generator(r.seed, "responses", r.mouse, index)
    moment = index / max(len(r.shown) - 1, 1)
    responses_tn = population.observe(rng, rates_tn, moment)
    return video, traces, rates_tn, responses_tn


def _finish(r: Recording, writer: SessionWriter, population: Population) -> None:
    folder = r.folder / truth.FOLDER
    trials = {
        "stimulus": [s.kind for s in r.shown],
        "clip": [f"{s.kind}-{s.clip}" for s in r.shown],
        "repeat": [s.repeat for s in r.shown],
        "tier": [s.tier for s in r.shown],
    }
    for file, facts in ((CELLS, population.facts), ("trials.npz", trials)):
        partial = r.folder / PARTIAL
        with atomic.whole(folder / file, partial=partial) as new, open(new, "wb") as f:
            np.savez(f, allow_pickle=False, **facts)
    atomic.save_npy(folder / "ceilings.npy", ceilings(r.folder, r.shown, VALIDATION))
    pictures = r.world.kind == PICTURES
    _share(r.folder, r.shown, "images" if pictures else "videos")
    columns = {}
    if pictures:
        ids = np.unique(trials["clip"], return_inverse=True)[1]
        columns = {"frame_image_id": ids, "trial_idx": np.arange(len(ids))}
    writer.finish(
        trials["tier"],
        coordinates=population.coordinates_n3,
        unit_ids=np.arange(1, r.world.neurons + 1),
        columns=columns,
        rate_hz=r.world.hertz,
    )


def ceilings(folder: Path, shown: Sequence[Shown], tier: str) -> np.ndarray:
    """Correlation [N] of the true rates with single trials of a tier."""
    pairs = []
    for i in (i for i, s in enumerate(shown) if s.tier == tier):
        y = np.load(folder / "data/responses" / f"{i}.npy").astype(np.float64)
        mu = np.load(truth.rates_file(folder, i)).astype(np.float64)
        pairs.append((y.reshape(len(y), -1), mu.reshape(len(mu), -1)))
    y, mu = (np.concatenate(x, axis=1) for x in zip(*pairs, strict=True))
    y, mu = y - y.mean(1, keepdims=True), mu - mu.mean(1, keepdims=True)
    power = (y * y).sum(1) * (mu * mu).sum(1)
    return (y * mu).sum(1) / np.sqrt(np.maximum(power, 1e-12))


def _share(folder: Path, shown: Sequence[Shown], stimuli: str) -> None:
    """Repeats of a clip become hard links to one file, where the disk can."""
    first: dict[tuple, Path] = {}
    for i, s in enumerate(shown):
        path = folder / "data" / stimuli / f"{i}.npy"
        original = first.setdefault((s.kind, s.clip, s.frames), path)
        if original is path or original.samefile(path):
            continue
        link = folder / f".link-{i}"
        try:
            os.link(original, link)
            os.replace(link, path)
        except OSError:
            return  # a disk without links keeps the copies
