"""The truth on disk: <mouse>/meta/ground_truth/, which official readers ignore."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sensorium_jax.errors import UserError
from sensorium_jax.io import npy
from sensorium_jax.io.atomic import PARTIAL, save_npy, whole
from sensorium_jax.rules import RELEASES, Rules
from sensorium_jax.simulation.cortex.neurons import Neurons
from sensorium_jax.simulation.design import Shown

FOLDER = "meta/ground_truth"


def rates_file(mouse: Path, index: int) -> Path:
    """True rates [N, T] of file i, in response units."""
    return mouse / FOLDER / "rates" / f"{index}.npy"


def write_rates(mouse: Path, index: int, rates_tn: np.ndarray) -> None:
    """Keep the true rates of one trial."""
    array = np.ascontiguousarray(rates_tn.T, np.float32)
    save_npy(rates_file(mouse, index), array, mouse / PARTIAL)


def write_facts(
    mouse: Path,
    neurons: Neurons,
    shown: Sequence[Shown],
    facts: Sequence[dict],
    rules: Rules,
    partial: Path,
) -> None:
    """Write neurons.npz and trials.npz; facts are the parameters of the clips.

    partial is the folder of unfinished files.
    """
    trials = {
        "stimulus": [s.kind for s in shown],
        "clip": [f"{s.kind}-{s.clip}" for s in shown],
        "repeat": [s.repeat for s in shown],
        "tier": [s.tier for s in shown],
        "parameters": [json.dumps(f, default=float) for f in facts],
    }
    cells = {"year": int(rules.name), **neurons._asdict()}
    for name, arrays in (("neurons", cells), ("trials", trials)):
        path = mouse / FOLDER / f"{name}.npz"
        with whole(path, partial=partial) as new, open(new, "wb") as file:
            np.savez(file, **arrays)


def read_neurons(mouse: Path) -> tuple[Neurons, Rules]:
    """The neurons of one mouse, and the rules of the release it is recorded for."""
    path = mouse / FOLDER / "neurons.npz"
    arrays = npy.archive_of(path)
    try:
        neurons = Neurons(**{k: arrays[k] for k in Neurons._fields})
        _check(neurons, path)
        return neurons, RELEASES[str(arrays["year"])]
    except KeyError as error:
        raise UserError(
            f"{path} says nothing of {error}. Simulate the recordings again."
        ) from None


def _check(neurons: Neurons, path: Path) -> None:
    """Refuse cells that are not all described alike."""
    n = neurons.kind.size
    shapes = {"coordinates_n3": (n, 3), "center_n2": (n, 2), "eye_22": (2, 2)}
    for name, x in neurons._asdict().items():
        kinds = "U" if name == "kind" else "biuf"
        expected = shapes.get(name, (n,))
        if x.dtype.kind not in kinds or x.shape != expected or not n:
            raise UserError(
                f"{path} has {name} of type {x.dtype} and shape {x.shape}, expected "
                f"{expected}. Simulate the recordings again."
            )
    if not npy.is_text(neurons.kind):
        raise UserError(f"{path} names no kinds of cells. Simulate them again.")


def mice(tree: Path) -> list[Path]:
    """Folders of the simulated mice of a tree; the tree may be one mouse itself."""
    places = [tree, *sorted(p for p in tree.iterdir() if p.is_dir())]
    return [p for p in places if (p / FOLDER / "neurons.npz").exists()]
