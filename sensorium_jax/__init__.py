"""The JAX home of the SENSORIUM benchmarks.

import sensorium_jax as sj
recordings = sj.load("2023", "data/2023")
sj.submit(sj.model("runs/demo"), recordings, "submission")
"""

from pathlib import Path
from typing import Any

__version__ = "0.1.0.dev0"
YEARS = ("2022", "2023")
SIMULATED = "simulated"


def load(what: str, root: str | Path, **options: Any) -> Any:
    """Recordings of a release, "2022" or "2023", that lie under root.

    "simulated" makes a simulated cortex there first, or what is missing of it; options
    go to simulate.benchmark.simulate (preset, year, seed).
    """
    from sensorium_jax.data.recordings import Recordings
    from sensorium_jax.errors import UserError, unknown

    what = str(what)
    if what == SIMULATED:
        from sensorium_jax.simulation.write import simulate

        simulate(root, **options)
        return Recordings.open(root)
    if what not in YEARS or options:
        raise unknown("release", what, (*YEARS, SIMULATED), "Options simulate only.")
    found = Recordings.open(root)
    years = {str(s.year) for s in found.sessions}
    if years != {what}:
        raise UserError(
            f"{root} holds recordings of {', '.join(sorted(years))}, not of {what}. "
            f"Name that year, or fetch the other: sensorium download {what} --to DIR."
        )
    return found


def model(source: str | Path, *, step: int | None = None) -> Any:
    """A trained twin from a run, a checkpoint folder or a published model's name."""
    from sensorium_jax.zoo import describe

    return describe.load(source, step=step)


def submit(twin: Any, recordings: Any, out: str | Path, **options: Any) -> Any:
    """Predict the tests of a competition and write what its server takes into out.

    options are those of run.submit.predict_and_write: track, tiers, names, mouse and
    units. Says which files were written (.tables by tier) and which to upload
    (.uploads).
    """
    from sensorium_jax.rules import PICTURES
    from sensorium_jax.run.submit import predict_and_write

    if "track" not in options and recordings.sessions[0].rules.kind == PICTURES:
        sees = getattr(twin, "behaviors", 0)  # a model of SENSORIUM+ sees behavior
        options["track"] = "sensorium+" if sees else "sensorium"
    return predict_and_write(twin, recordings.sessions, out, **options)
