"""`sensorium cluster`: kinds of neurons, each with its most discriminative stimulus."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from sensorium_jax import progress
from sensorium_jax.errors import UserError
from sensorium_jax.findings import Fault
from sensorium_jax.insilico import record
from sensorium_jax.insilico.ascend import Climb
from sensorium_jax.insilico.clusters import cluster as clusters, show as shows
from sensorium_jax.insilico.clusters.problem import Problem
from sensorium_jax.insilico.clusters.search import Rules, State
from sensorium_jax.insilico.constraints import Budget
from sensorium_jax.insilico.optimal import Aim
from sensorium_jax.insilico.record import Result
from sensorium_jax.io import atomic, npy, plain_json
from sensorium_jax.report.frames import png
from sensorium_jax.run import Outcome
from sensorium_jax.run.claimed import claim
from sensorium_jax.run.insilico.asked import (
    PARTS,
    REQUEST,
    Asked,
    numbers,
    request,
    subject,
    written,
)
from sensorium_jax.simulation.cortex.rates import Truth

RIG = "rig"  # folder of what a rig shows


def cluster(
    asked: Asked,
    *,
    clusters_at_start: int,
    seeds: int = 1,
    temperature: float = clusters.TEMPERATURE,
    contrast: float = 0.2,
    steps: int = 50,
    rate: float = 0.5,
    smooth: float = 0.0,
    rounds: int = Rules(2).rounds,
    cycles: int = Rules(2).cycles,
    split: bool = True,
    merge: bool = True,
    center: bool = True,
    frames: int | None = None,
    burn: int | None = None,
    count: str = "last",
    labels: str | None = None,
    repeats: int = 10,
    pause: float = 0.5,
) -> Outcome:
    """Cluster some neurons; stimuli are also written as a rig shows them.

    labels: an .npy file of one type for each neuron of the mouse; the truth of a
    simulation knows them itself.
    """
    one = subject(asked)
    budget = Budget(contrast=contrast, low=one.screen.low, high=one.screen.high)
    rules = Rules(clusters_at_start, rounds, cycles=cycles, split=split, merge=merge)
    options: dict[str, Any] = {
        "aim": Aim(frames=frames, burn=burn, count=count),
        "climb": Climb(steps=steps, rate=rate, smooth=smooth),
        "budget": budget,
        "temperature": temperature,
        "center": center,
    }
    plain = {k: v._asdict() if hasattr(v, "_asdict") else v for k, v in options.items()}
    plain |= {"rules": rules._asdict(), "seeds": seeds, "labels": labels}
    plain |= {"repeats": repeats, "pause": pause}
    folder = Path(asked.out)
    atomic.need_place(folder, folder=True)
    neurons = numbers(asked.neurons, one.neurons)
    said = request("cluster", asked, one, neurons, plain)
    claim(folder / REQUEST, said, "another experiment, which differs in")
    final = folder / f"cluster.{asked.format}"
    known = _labels(one, labels)
    if final.exists():
        result = record.load(final)
    else:
        more: dict[str, Any] = {"seed": asked.seed, "memory": asked.bytes}
        prepared = clusters.prepare(one, neurons, **options, **more)
        seeded = [asked.seed + i for i in range(seeds)]
        with progress.bar("Clustering", None) as bar:
            ends = [_searched(prepared.problem, rules, s, folder, bar) for s in seeded]
        result = clusters.summary(prepared, rules, ends, known)
        result.save(final)
    rig = _rig(result, folder / RIG, repeats, pause, asked.seed)
    out = written(result, final, figure=asked.figure)
    words = _words(result)
    files = [*out.data["files"], *rig]
    text = "\n".join([words, out.text, f"written: {folder / RIG}"])
    return Outcome({**out.data, "files": files}, text, out.code)


def _searched(
    problem: Problem, rules: Rules, seed: int, folder: Path, bar: progress.Bar
) -> State:
    """One search to its end; every stage is kept, so that a killed one goes on."""
    path = folder / PARTS / f"seed{seed}.npz"
    begun = _read(path) if path.is_file() else None
    for state in clusters.stages(problem, rules, seed, begun):
        bar.add(1, f"seed {seed}: {state.clusters} clusters, {state.value:.3f}")
        _keep(state, path)
    return _read(path)


ARRAYS = ("labels_n", "z", "value_k", "rates_kn")


def _keep(state: State, path: Path) -> None:
    words = {k: v for k, v in state._asdict().items() if k not in ARRAYS}
    arrays = {k: getattr(state, k) for k in ARRAYS}
    with atomic.whole(path) as part, open(part, "wb") as file:
        np.savez(file, words=np.array(json.dumps(words)), **arrays)


def _read(path: Path) -> State:
    file, again = npy.archive_of(path), "Delete it to search anew."
    try:
        words = plain_json.loads(str(file["words"]).encode(), str(path), again)
        words["path"] = tuple((name, k, value) for name, k, value in words["path"])
        return State(**{k: file[k] for k in ARRAYS}, **words)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is of no search ({error}). {again}") from None


def _labels(one: Any, path: str | None) -> np.ndarray | None:
    """Types of all neurons of the mouse, where somebody knows them."""
    if path is None:
        return known_types(one)
    labels = npy.load(Path(path))
    if isinstance(labels, Fault):
        raise UserError(
            f"{path} holds no labels ({labels.finding}). Give an .npy file with one "
            "number or word for each neuron."
        )
    if labels.shape != (one.neurons,):
        raise UserError(
            f"{path} has shape {labels.shape}; expected ({one.neurons},), one label "
            "for each neuron of the mouse."
        )
    return labels


def known_types(one: Any) -> np.ndarray | None:
    """What the truth of a simulation says of each neuron."""
    if not isinstance(one.twin, Truth):
        return None
    return one.twin.neurons[one.twin.row(one.mouse)].kind


def _rig(
    result: Result, folder: Path, repeats: int, pause: float, seed: int
) -> list[str]:
    """Frames as PNG files and one .npz with their timing."""
    one = shows.show(result, repeats=repeats, pause=pause, seed=seed)
    for s, frames in enumerate(one.frames):
        for t, frame in enumerate(frames):
            place = folder / f"stimulus{s:02d}"
            if frame.shape[-1] in (1, 3):
                atomic.write(place / f"{t:03d}.png", png(frame))
                continue
            for c, channel in enumerate(np.moveaxis(frame, -1, 0)):
                atomic.write(place / f"{t:03d}-{c}.png", png(channel[..., None]))
    path = folder / "show.npz"
    arrays = {k: np.asarray(v) for k, v in one._asdict().items()}
    with atomic.whole(path) as part, open(part, "wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    return [str(path)]


def _words(result: Result) -> str:
    about = result.about
    sizes = ", ".join(map(str, about["sizes"]))
    lines = [
        f"{about['clusters']} clusters of {sizes} neurons; mean objective "
        f"{about['objective']:.3f} of at most {about['most_possible']:.3f}"
    ]
    if about["agreement"] is not None:
        seeds = len(result["objective_by_seed"])
        lines.append(f"ARI between {seeds} seeds: {about['agreement']:.3f}")
    if "ari" in about:
        lines.append(f"ARI to the known types: {about['ari']:.3f}")
    return "\n".join(lines)
