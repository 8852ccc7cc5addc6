"""`sensorium reconstruct`: the movie that best explains what a mouse answered."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sensorium_jax import progress
from sensorium_jax.errors import UsageError
from sensorium_jax.insilico import record
from sensorium_jax.insilico.ascend import Climb
from sensorium_jax.insilico.movies import reconstruct as movies
from sensorium_jax.insilico.movies.reconstruct import HOW, MASK, Job, Options, Prepared
from sensorium_jax.io import atomic, npy
from sensorium_jax.rules import VAL
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
from sensorium_jax.run.insilico.recorded import TRIALS, recorded, session_of
from sensorium_jax.text import align, cell

LARGEST = 1 << 34  # bytes of a part of the result


def reconstruct(
    asked: Asked,
    *,
    data: str | None = None,
    tier: str = VAL,
    trials: int = TRIALS,
    frames: int | None = None,
    counts: Sequence[int] = (),
    draws: int = 1,
    starts: int = Options().starts,
    loss: str = "poisson",
    ensemble: str = "members",
    mask: float = MASK,
    steps: int = HOW.steps,
    rate: float = HOW.rate,
    optimizer: str = HOW.optimizer,
    smooth: float = HOW.smooth,
    smooth_time: float = Options().smooth_time,
    variation: float = HOW.variation,
    start: float = HOW.start,
    patience: int = HOW.patience,
) -> Outcome:
    """Read some trials of a tier back, from more and more neurons.

    Every few trials through one model are kept when they are done, so that a killed
    run goes on where it was.
    """
    if not (data or asked.truth):
        raise UsageError("Say which recordings are read back, with --data TREE.")
    one = subject(asked)
    session = session_of(one, str(data or asked.truth))
    climb = Climb(steps, rate, optimizer, smooth=smooth, variation=variation)
    climb = climb._replace(patience=patience, start=start)
    options = Options(tuple(counts), draws, starts, loss, ensemble, climb)
    options = options._replace(smooth_time=smooth_time, mask=mask)
    plain = {**options._asdict(), "climb": climb._asdict(), "data": session.where}
    plain |= {"tier": tier, "trials": trials, "frames": frames}
    folder = Path(asked.out)
    atomic.need_place(folder, folder=True)
    neurons = numbers(asked.neurons, one.neurons)
    said = request("reconstruct", asked, one, neurons, plain)
    final, another = folder / f"reconstruct.{asked.format}", "another experiment, which"
    if final.exists():
        claim(folder / REQUEST, said, f"{another} differs in")
        result = record.load(final)
    else:
        more = {"tier": tier, "trials": trials, "frames": frames, "seed": asked.seed}
        read = recorded(one, session, **more)
        movies.check(one, read, neurons, options)  # before the folder is claimed
        claim(folder / REQUEST, said, f"{another} differs in")
        given = {"seed": asked.seed, "memory": asked.bytes}
        prepared = movies.prepare(one, read, neurons, options, **given)
        result = movies.summary(prepared, _solved(prepared, folder / PARTS))
        result.save(final)
    out = written(result, final, figure=asked.figure)
    return Outcome(out.data, "\n".join([words(result), out.text]), out.code)


def _solved(prepared: Prepared, folder: Path) -> dict[Job, dict[str, np.ndarray]]:
    """Every job, computed or as it was kept."""
    parts, todo = {}, movies.jobs(prepared)
    total = sum(len(job.trials) for job in todo)
    with progress.bar("Reconstructing", total) as bar:
        for job in todo:
            path = folder / f"{job.name}.npz"
            if not path.is_file():
                arrays = movies.solve(prepared, job)
                with atomic.whole(path) as part, open(part, "wb") as file:
                    np.savez(file, allow_pickle=False, **arrays)
            parts[job] = npy.archive_of(path, LARGEST)
            loss = float(parts[job]["loss"].mean())
            bar.add(len(job.trials), f"{job.count} neurons: loss {loss:.4f}")
    return parts


def words(result: record.Result) -> str:
    """The table by number of neurons, and what it is compared with."""
    about = result.about
    names = ["neurons", "correlation", "se", "frame", "time", "shuffled", "loss"]
    keys = [n + "_correlation" if n in ("frame", "time") else n for n in names]
    rows = [[cell(row[k]) for k in keys] for row in about["table"]]
    lines = [
        f"Pixel correlation of {len(about['trials'])} reconstructed trials "
        f"({about['frames']} frames, tier {about['tier']}) with what was shown:",
        *align([names, *rows]),
    ]
    mean = about.get("mean_movie")
    if mean is not None:
        lines.append(f"mean training film: {mean['correlation']:.3f}")
    if "by_member" in about:
        each = ", ".join(f"{x:.3f}" for x in about["by_member"])
        lines.append(f"through each model alone: {each}")
    return "\n".join(lines)
