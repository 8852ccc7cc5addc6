"""Recordings: every mouse under a path, in a tree or in a store, opened lazily."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sensorium_jax.axes import MouseInfo
from sensorium_jax.data import config, statistics
from sensorium_jax.data.release import dynamic2023, static2022
from sensorium_jax.data.session import Session
from sensorium_jax.data.store.layout import is_store
from sensorium_jax.errors import UserError, unknown
from sensorium_jax.io.names import is_inside
from sensorium_jax.normalize import JUDGED
from sensorium_jax.rules import TRAIN
from sensorium_jax.text import html_facts

DEPTH = 3  # archives unpack into a folder of their own name, sometimes twice
READERS = {r.STIMULUS: r for r in (dynamic2023, static2022)}


@dataclass(frozen=True)
class Recordings:
    """The sessions of one dataset, sorted by name."""

    sessions: tuple[Session, ...]
    path: str

    @classmethod
    def open(cls, path: str | Path, rules: str | None = None) -> "Recordings":
        """Open a tree of either layout, one mouse's folder, a store, or a store's URL.

        rules ("own", "2022" or "2023") take the place of those that the recordings
        carry. Where these carry none, the release of their layout is followed, which
        is said on standard error.
        """
        if is_store(path):
            from sensorium_jax.data.store.read import open_store

            return cls(tuple(open_store(str(path), rules)), str(path))
        root = Path(path).expanduser()
        folders = find(root)
        said = [config.of_folder(folder, r.KIND, rules) for folder, r in folders]
        pairs = zip(folders, said, strict=True)
        sessions = [r.open_session(folder, told) for (folder, r), told in pairs]
        names = [s.name for s in sessions]
        for name in names:
            if not is_inside(name):
                raise UserError(
                    f"{root} holds a mouse with the name {name!r:.100}. Expected a "
                    "name without control characters; rename the folder."
                )
            if names.count(name) > 1:
                same = [s.where for s in sessions if s.name == name]
                raise UserError(
                    f"Two sessions are named '{name}': {' and '.join(same)}. Expected "
                    "one folder per mouse; remove or rename one."
                )
        config.note(str(path), said)
        return cls(tuple(sorted(sessions, key=lambda s: s.name)), str(path))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the mice."""
        return tuple(s.name for s in self.sessions)

    def __len__(self) -> int:
        """How many mice."""
        return len(self.sessions)

    def __getitem__(self, mouse: int | str) -> Session:
        """One session by row, name or unambiguous part of its name."""
        return self.sessions[mouse if isinstance(mouse, int) else self._row(mouse)]

    def _row(self, name: str) -> int:
        if name in self.names:
            return self.names.index(name)
        rows = [i for i, n in enumerate(self.names) if name in n]
        if len(rows) != 1:
            raise unknown("mouse", name, self.names, f"(in {self.path})")
        return rows[0]

    def facts(self) -> list[dict[str, str]]:
        """A row of facts for every mouse, as tables show them."""
        return [session.facts() for session in self.sessions]

    def __repr__(self) -> str:
        """One line, whatever is in the files."""
        neurons = sum(s.neurons for s in self.sessions)
        kinds = " and ".join(sorted({s.rules.kind for s in self.sessions}))
        return (
            f"Recordings({self.path}: {len(self)} mice, {neurons:,} neurons, {kinds})"
        )

    def _repr_html_(self) -> str:
        return html_facts(self.facts())

    def select(self, mice: Sequence[int | str] | None = None) -> "Recordings":
        """The same recordings with some mice only, in the order asked for."""
        if mice is None:
            return self
        return replace(self, sessions=tuple(self[m] for m in mice))

    def mouse_info(self, response_scaling: str = JUDGED) -> MouseInfo:
        """What a model must know of the mice; mean rates are in normalized units."""
        shapes = {s.frame_shape for s in self.sessions}
        if len(shapes) != 1:
            raise UserError(
                f"The mice of {self.path} saw frames of different shapes (H, W, C): "
                f"{sorted(shapes)}. Expected one; select mice that share it."
            )
        train = np.array([int((s.tiers == TRAIN).sum()) for s in self.sessions])
        if not train.all():
            bare = self.sessions[int(np.argmin(train))]
            raise UserError(
                f"{bare.where} has no training trials; its tiers are "
                f"{sorted(set(bare.tiers.tolist()))}. Expected trials of tier 'train' "
                "in every mouse; select other mice."
            )
        most = max(s.neurons for s in self.sessions)
        neurons_mn = np.zeros((len(self), most), bool)
        coordinates_mn3 = np.zeros((len(self), most, 3), np.float32)
        mean_rates_mn = np.zeros((len(self), most), np.float32)
        for m, session in enumerate(self.sessions):
            n = session.neurons
            neurons_mn[m, :n] = True
            if session.coordinates_n3 is not None:
                coordinates_mn3[m, :n] = session.coordinates_n3
            mean_rates_mn[m, :n] = statistics.mean_rates(session, response_scaling)
        return MouseInfo(
            names=self.names,
            neurons_mn=neurons_mn,
            coordinates_mn3=coordinates_mn3,
            mean_rates_mn=mean_rates_mn,
            trials_m=np.array([s.trials for s in self.sessions]),
            train_trials_m=train,
            has_coordinates=all(s.coordinates_n3 is not None for s in self.sessions),
            has_pupil=any(s.has_pupil for s in self.sessions),
            behaviors=max(s.behaviors for s in self.sessions),
            frame_shape=self.sessions[0].frame_shape,
            fields_mn3=_fields(self.sessions, most),
        )


def _fields(sessions: Sequence[Session], most: int) -> np.ndarray | None:
    """Measured receptive fields of all mice; None where no mouse has any."""
    given = [s.fields_n3 for s in sessions]
    if all(fields_n3 is None for fields_n3 in given):
        return None
    fields_mn3 = np.full((len(sessions), most, 3), np.nan, np.float32)
    for m, fields_n3 in enumerate(given):
        if fields_n3 is not None:
            fields_mn3[m, : len(fields_n3)] = fields_n3
    return fields_mn3


def find(root: Path):
    """Every session folder under root, with the module of its release."""
    if not root.is_dir():
        hint = " Unpack the archive first." if root.suffix == ".zip" else ""
        raise UserError(
            f"{root} is not a folder. Expected a folder of recordings, the folder of "
            f"one mouse, or a store.{hint}"
        )
    try:
        folders = list(_walk(root, DEPTH, set()))
    except OSError as error:
        raise UserError(
            f"{root} cannot be read ({error}). Check its permissions."
        ) from None
    if not folders:
        holds = sorted(p.name for p in root.iterdir())
        words = (
            f"holds {', '.join(holds[:5])}{' ...' * (len(holds) > 5)}"
            if holds
            else "is empty"
        )
        raise UserError(
            f"{root} {words}. Expected folders of mice with data/videos (2023) or "
            "data/images (2022) inside. Fetch a recording, or make one with: "
            "sensorium simulate."
        )
    return folders


def _walk(folder: Path, depth: int, seen: set[str]):
    """Sessions below a folder; links into a folder that was looked through lead on."""
    for stimulus, release in READERS.items():
        if (folder / "data" / stimulus).is_dir():
            yield folder, release
            return
    here = os.path.realpath(folder)
    if depth and here not in seen:
        seen.add(here)
        for below in sorted(folder.iterdir()):
            hidden = below.name.startswith((".", "__"))
            if below.is_dir() and not hidden and below.name != "meta":
                yield from _walk(below, depth - 1, seen)
