"""What `sensorium simulate` does."""

from pathlib import Path

import numpy as np

from sensorium_jax.io import atomic
from sensorium_jax.run import Outcome
from sensorium_jax.simulation import write
from sensorium_jax.simulation.cortex import truth


def simulate(
    out: str,
    *,
    preset: str,
    year: int,
    seed: int,
    trials: int | None,
    hide_tests: bool,
    centered: bool,
    turned: bool,
) -> Outcome:
    """Write a simulated benchmark and say what it holds."""
    atomic.need_place(out, folder=True)
    options = {"trials": trials, "hide_tests": hide_tests}
    options |= {"centered": centered, "turned": turned}
    folders = write.simulate(out, preset=preset, year=year, seed=seed, **options)
    mice, lines = [], []
    for folder in folders:
        ids = np.load(folder / "meta/neurons/unit_ids.npy")
        facts = {"mouse": folder.name, "neurons": len(ids)}
        facts |= _trials(folder)
        mice.append(facts)
        words = ", ".join(f"{k} {v}" for k, v in facts.items() if k != "mouse")
        lines.append(f"{facts['mouse']}: {words}")
    text = "\n".join([*lines, f"Written to {out}; the truth lies in {truth.FOLDER}/."])
    return Outcome({"out": str(out), "year": year, "seed": seed, "mice": mice}, text)


def _trials(folder: Path) -> dict[str, float]:
    with np.load(folder / truth.FOLDER / "trials.npz") as file:
        facts: dict[str, float] = {"trials": len(file["tier"])}
    ceilings = folder / truth.FOLDER / "ceilings.npy"
    if ceilings.exists():
        facts["ceiling"] = round(float(np.mean(np.load(ceilings))), 3)
    return facts
