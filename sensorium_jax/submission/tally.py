"""What a validator remembers of one mouse while its rows pass, and what it finds."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sensorium_jax.findings import Fault, error, warning
from sensorium_jax.submission.expected import SKIP, Mouse
from sensorium_jax.submission.parquet2023 import Row
from sensorium_jax.submission.units import unit_faults

RECORDED = "write unit_ids of the recording in every row, in the order predicted"


class Tally:
    """Faults of the rows of one mouse, counted while they pass one by one."""

    def __init__(self, mouse: Mouse):
        """Begin with no row of this mouse."""
        n = len(mouse.ids_n)
        self.mouse, self.rows = mouse, 0
        self.where = {int(unit): i for i, unit in enumerate(mouse.ids_n)}
        self.kinds: dict[str, list[Any]] = {}
        self.excess: Counter[int] = Counter()
        self.low_n, self.high_n = np.full(n, np.inf), np.full(n, -np.inf)
        self.sum_n, self.frames = np.zeros(n), 0

    def add(self, row: Row) -> None:
        """Look at one row; its trial is one of the mouse's."""
        self.rows += 1
        order_n = self._order(row)
        lengths, frames = row.lengths_n, self.mouse.frames(row.trial)
        units = len(self.mouse.ids_n)
        if not len(lengths):
            self._note("no prediction", row)
            return
        if len(set(lengths.tolist())) != 1:
            self._note("neurons of different lengths", row)
            return
        if len(lengths) != units and lengths[0] == units:
            self._note("transposed prediction", row)
            return
        if len(lengths) != units:
            self._note(f"prediction of {len(lengths)} neurons", row)
            return
        self.excess[int(lengths[0]) - frames] += 1
        self._values(row, order_n)

    def _note(self, kind: str, row: Row) -> None:
        self.kinds.setdefault(kind, []).append(row.trial)

    def _order(self, row: Row) -> np.ndarray | None:
        """Which neuron of the recording each row of the prediction is of."""
        ids, expected = row.ids_n, self.mouse.ids_n
        if ids is None:
            self._note("no neuron_ids", row)
            return None
        if np.array_equal(ids, expected):
            return np.arange(len(expected))
        wrong = [int(i) for i in ids if int(i) not in self.where]
        missing = len(self.where.keys() - {int(i) for i in ids})
        if wrong:
            self._note(f"wrong id {wrong[0]} that is no unit of the mouse", row)
        elif missing:
            self._note(f"{missing} of {len(expected)} neurons missing", row)
        elif len(ids) != len(expected):
            self._note("neurons given twice", row)
        else:
            self._note("neurons in another order than recorded", row)
            return np.array([self.where[int(i)] for i in ids])
        return None

    def _values(self, row: Row, order_n: np.ndarray | None) -> None:
        x_nt = row.prediction_nt
        for kind, bad in (("NaN", np.isnan(x_nt)), ("infinity", np.isinf(x_nt))):
            if bad.any():
                self._note(kind, row)
        if (x_nt < 0).any():
            self._note("negative values", row)
        if x_nt.size and not x_nt.any():
            self._note("all zeros", row)
        if order_n is None or not x_nt.size:
            return
        finite = np.where(np.isfinite(x_nt), x_nt, 0.0)
        self.low_n[order_n] = np.minimum(self.low_n[order_n], finite.min(1))
        self.high_n[order_n] = np.maximum(self.high_n[order_n], finite.max(1))
        self.sum_n[order_n] += finite.sum(1, dtype=np.float64)
        self.frames += x_nt.shape[1]

    def faults(self, name: str) -> Iterator[Fault]:
        """A fault per kind of finding."""
        who = self.mouse.session.name
        for kind, trials in self.kinds.items():
            finding = f"{kind} in {trials_words(trials, self.rows)} of {who}"
            if "another order" in kind:
                remedy = "see that predictions have the order of their neuron_ids"
                yield warning(name, finding, remedy)
            else:
                yield error(name, finding, _remedy(kind))
        yield from self._lengths(name, who)
        if not self.frames:
            return
        still = (self.low_n == self.high_n) & (self.high_n > -np.inf)
        zeros = bool((self.high_n == 0).all() and (self.low_n == 0).all())
        if still.any() and not zeros:
            finding = f"{still.sum()} constant neurons of {len(still)} of {who}"
            yield warning(name, finding, "a constant neuron scores 0; see to the model")
        if not zeros:
            yield from unit_faults(name, self.mouse, self.sum_n / self.frames)

    def _lengths(self, name: str, who: str) -> Iterator[Fault]:
        odd = {extra: n for extra, n in self.excess.items() if extra}
        rows = self.excess.total()
        if odd == {-1: rows} and self.mouse.session.year == 2023:
            finding = f"one frame too few for all {rows} trials of {who}"
            remedy = "give every frame from 50 on; the last one now goes unscored"
            yield warning(name, finding, remedy)
            return
        for extra, count in sorted(odd.items()):
            words = f"{abs(extra)} frames too {'many' if extra > 0 else 'few'}"
            remedy = "give every frame from 50 to the trial's end"
            if extra == SKIP:
                remedy = "drop the first 50 frames of every trial"
            finding = f"{words} in {count} of {self.rows} trials of {who}"
            yield error(name, finding, remedy)


def _remedy(kind: str) -> str:
    if kind == "transposed prediction":
        return "write a list per neuron, of its values over frames"
    if kind in ("NaN", "infinity"):
        return "look for them where the model is trained; write finite numbers"
    if kind == "negative values":
        return "rates are zero or more; clip them at zero"
    if kind == "all zeros":
        return "predict the trial; zeros look like responses that were hidden"
    if kind == "neurons of different lengths":
        return "write as many values for every neuron"
    if kind.startswith(("prediction of", "no prediction")):
        return "write a list for every neuron of the recording"
    return RECORDED


def trials_words(trials: Sequence[Any], total: int) -> str:
    """'3 of 60 trials (7, 9, 12)', or 'all 60 trials'."""
    if len(trials) == total:
        return f"all {total} trials"
    some = ", ".join(map(str, trials[:3])) + ", ..." * (len(trials) > 3)
    return f"{len(trials)} of {total} trials ({some})"
