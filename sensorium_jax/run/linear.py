"""The linear model of recordings, for every table: fitted once, kept on disk.

Each mouse has a file of its own, named after what it was fitted to, so that other
choices of mice, stores and trees of the same trials find it again.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from sensorium_jax import progress
from sensorium_jax.axes import Batch
from sensorium_jax.data.session import Session
from sensorium_jax.errors import UserError
from sensorium_jax.io import atomic, npy
from sensorium_jax.maps import fit, linear
from sensorium_jax.maps.linear import Linear, Weights
from sensorium_jax.maps.reduce import Plan
from sensorium_jax.run import passes

FOLDER, VERSION = ".sensorium", 2
UNITS = "per_neuron"  # a factor for every frame is noise where trials are few


@dataclass(frozen=True)
class Linears:
    """A twin that asks each mouse's own linear model."""

    twins: Mapping[str, Linear]

    raw = ()
    units = UNITS
    asking = linear.asked(UNITS)

    def respond(
        self,
        video_bthwc: Any,
        behavior_btk: Any = None,
        pupil_bt2: Any = None,
        mouse: str = "",
        first_frame_b: Any = 0,
    ) -> Any:
        """Rates [B, T, N] of one mouse by its name."""
        twin = self.twins[mouse]
        return twin.respond(video_bthwc, behavior_btk, pupil_bt2, 0, first_frame_b)


def fitted(sessions: Sequence[Session], places: Sequence[str | Path | None]) -> Linears:
    """The linear models of these mice, read where they are kept, else fitted and kept.

    places: folders to keep them in, the first that can be written; URLs never can.
    """
    folders = [Path(p).expanduser() for p in places if p and "://" not in str(p)]
    mice = passes.mice(sessions, UNITS)
    twins, missing = {}, []
    for mouse in mice:
        name = f"linear-{digest(mouse)}.npz"
        kept = (read(folder / FOLDER / name, mouse) for folder in folders)
        twin = next((twin for twin in kept if twin is not None), None)
        if twin is None:
            missing.append((mouse, name))
        else:
            twins[mouse.session.name] = twin
    rows = [passes.learned_and_held(mouse.session) for mouse, _ in missing]
    total = sum(
        mouse.steps(train) + 2 * mouse.steps(held)
        for (mouse, _), (train, held) in zip(missing, rows, strict=True)
    )
    if missing:
        with progress.bar("Fitting the linear model", total) as bar:
            for mouse, name in missing:
                twin = fit_one(mouse, bar)
                keep(folders, name, twin)
                twins[mouse.session.name] = twin
    return Linears(twins)


def fit_one(mouse: passes.Mouse, bar: progress.Bar) -> Linear:
    """The linear model of one mouse, in three passes of which two are short."""
    train, held = passes.learned_and_held(mouse.session)

    def counted(rows: np.ndarray) -> Iterator[Batch]:
        for batch in mouse.batches(rows):
            yield batch
            bar.add(note=mouse.session.name)

    maps = fit.fit(
        mouse.plan,
        lambda: counted(train),
        lambda: counted(held),
        mouse.normalized(),
        mouse.info,
        units=UNITS,
    )
    return maps.linear


def digest(mouse: passes.Mouse) -> str:
    """What tells whether a kept model is of these trials, chosen by the same ones."""
    session = mouse.session
    train, held = passes.learned_and_held(session)
    facts = [VERSION, session.recording_digest, session.unit_digest, list(mouse.plan)]
    facts += [train.tolist(), held.tolist()]
    return sha256(json.dumps(facts).encode()).hexdigest()[:20]


def keep(folders: Sequence[Path], name: str, twin: Linear) -> None:
    """Write a model into the first folder that takes it; none may do so."""
    for folder in folders:
        try:
            with atomic.whole(folder / FOLDER / name) as part, open(part, "wb") as file:
                np.savez(file, **_arrays(twin))  # pyright: ignore[reportArgumentType]
            return
        except OSError:
            continue
    print(
        "note: the linear model could not be kept and will be fitted again; give a "
        "--workdir that can be written, or leave it out with --no-linear",
        file=sys.stderr,
    )


def _arrays(twin: Linear) -> dict[str, np.ndarray]:
    """The rows of the neurons that exist, without those that only pad."""
    (n,) = twin.neurons
    arrays = {k: np.asarray(v[0]) for k, v in twin.weights._asdict().items()}
    arrays["weight_mdn"] = arrays["weight_mdn"][:, :n]
    by_neuron = set(arrays) - {"weight_mdn", "mean_md"}
    return {k: v[:n] if k in by_neuron else v for k, v in arrays.items()}


def read(path: Path, mouse: passes.Mouse) -> Linear | None:
    """A model that is kept; None where there is none, or it is damaged."""
    if not path.exists():
        return None
    session, plan = mouse.session, mouse.plan
    n = session.neurons
    try:
        arrays = npy.archive_of(path)
        parts = {name: arrays[name] for name in Weights._fields}
    except (OSError, UserError, KeyError):
        return None
    shapes = {"weight_mdn": (plan.light, n), "mean_md": (plan.light,)}
    shapes |= {"bend_mn3": (n, 3)}
    if any(
        x.shape != shapes.get(name, (n,)) or x.dtype.kind != "f"
        for name, x in parts.items()
    ):
        return None
    weights = Weights(**{k: jnp.asarray(v[None]) for k, v in parts.items()})
    return of_mouse(plan, weights, session)


def of_mouse(plan: Plan, weights: Weights, session: Session) -> Linear:
    """The twin of one mouse."""
    behaviors = session.behaviors if plan.signals else 0
    names, neurons = (session.name,), (session.neurons,)
    return Linear(plan, weights, names, neurons, behaviors, linear.asked(UNITS))
