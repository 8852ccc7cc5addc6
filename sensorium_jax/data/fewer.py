"""Recordings with a part of their neurons: what fewer of them are worth."""

from concurrent.futures import Future
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.session import MISSING, RESPONSES, Reader, Session, Stats
from sensorium_jax.errors import UserError


def fewer_neurons(recordings: Recordings, share: float) -> Recordings:
    """The same recordings with a share of each mouse's neurons, at least one.

    A smaller share is a part of every larger one; neurons keep their order.
    """
    if not 0 < share <= 1:
        raise UserError(
            f"{share:g} of the neurons were asked for. Expected a share above 0 and at "
            "most 1."
        )
    if share == 1:
        return recordings
    some = tuple(only(s, a_part(s.neurons, share)) for s in recordings.sessions)
    return replace(recordings, sessions=some)


def a_part(neurons: int, share: float) -> np.ndarray:
    """A share of so many neurons: the first of a fixed random order, sorted."""
    order = np.random.default_rng(0).permutation(neurons)
    return np.sort(order[: max(1, round(share * neurons))])


def only(session: Session, chosen: np.ndarray) -> Session:
    """A session as if these neurons were all that was recorded."""
    columns = dict(session.columns)
    if MISSING in columns:
        columns[MISSING] = columns[MISSING][:, chosen]
    coordinates = session.coordinates_n3
    statistics = dict(session.statistics)
    if RESPONSES in statistics:
        statistics[RESPONSES] = _of(statistics[RESPONSES], session.neurons, chosen)
    return replace(
        session,
        unit_ids_n=session.unit_ids_n[chosen],
        coordinates_n3=None if coordinates is None else coordinates[chosen],
        unit_columns={k: v[chosen] for k, v in session.unit_columns.items()},
        columns=columns,
        statistics=statistics,
        reader=_Some(session.reader, session.neurons, chosen),
    )


@dataclass(frozen=True)
class _Some:
    """A Reader of some neurons."""

    reader: Reader
    neurons: int  # that were recorded
    chosen: np.ndarray

    def length(self, trial: int) -> int:
        return self.reader.length(trial)

    def read(
        self, what: str, trial: int, frames: slice, out: np.ndarray
    ) -> Future[None] | None:
        if what != RESPONSES:
            return self.reader.read(what, trial, frames, out)
        every_tn = np.zeros((len(out), self.neurons), out.dtype)
        wait = self.reader.read(what, trial, frames, every_tn)
        if wait is not None:
            wait.result()
        out[...] = every_tn[:, self.chosen]
        return None


def _of(stats: Stats, neurons: int, chosen: np.ndarray) -> Stats:
    """Statistics of some neurons; those that are one for all stay."""
    names = [field.name for field in fields(stats)]
    given: dict[str, Any] = {name: getattr(stats, name) for name in names}
    for name, x in given.items():
        if x is not None and x.shape[-1:] == (neurons,):
            given[name] = x[..., chosen]
    return Stats(**given)
