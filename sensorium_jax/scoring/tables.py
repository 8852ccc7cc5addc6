"""The numbers of a model as records that print, serialize and plot alike everywhere.

`single_trial` and the like are means over the neurons of all mice together, as the
official library averages; `..._over_mice` are means over mice of their means, as many
participants report. None stands for what cannot be known.
"""

import csv
import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sensorium_jax.io import atomic
from sensorium_jax.text import align, cell, html_table

Interval = tuple[float, float]
COLUMNS = {
    "single_trial": "single trial",
    "single_trial_interval": "95 %",
    "single_trial_median": "median",
    "null": "null",
    "linear": "linear",
    "to_average": "to average",
    "ceiling": "ceiling",
    "fraction_of_ceiling": "fraction",
    "trials": "trials",
    "neurons": "neurons",
    "undefined": "undefined",
}
ORIGINS = {"truth": "true rates", "repeats": "repeats", None: "nothing: no repeats"}
NO_NULL = "a constant has no correlation here"
NOT_FITTED = "not fitted"  # what stands where the linear model would
REMEDIES = (
    "Try longer training (--config.train.steps), readouts that start where the data "
    "say (--config.readout.start=data), kernels that fit the frame, or a smaller "
    "model; sensorium check looks for faults in the recordings."
)
LINEAR = "linear: the best linear-nonlinear model of the training trials"


def plain(value: Any) -> Any:
    """Records, tuples and what they hold as JSON has them."""
    if hasattr(value, "as_dict"):
        return value.as_dict()
    if isinstance(value, Mapping):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return value


class Scores(NamedTuple):
    """One row of numbers: some neurons over some trials."""

    single_trial: float
    single_trial_interval: Interval  # 95 % of resamples of the trials
    single_trial_over_mice: float
    single_trial_over_mice_interval: Interval
    null: float  # of the best constant: each neuron's training mean
    null_interval: Interval | None  # None where a constant has no correlation: 0
    to_average: float | None
    to_average_over_mice: float | None
    ceiling: float | None
    ceiling_over_mice: float | None
    ceiling_from: str | None  # "truth" or "repeats"
    ceiling_from_repeats: float | None  # also where the truth is known
    fraction_of_ceiling: float | None
    fraction_of_ceiling_interval: Interval | None
    feve: float | None  # of the mice that have neurons to be judged by it
    feve_median: float | None
    neurons: int
    undefined: int  # neurons without a correlation, which score 0
    trials: int
    stimuli_shown: int
    linear: float | None = None  # of the best linear-nonlinear model; None: not fitted
    linear_interval: Interval | None = None
    over_linear: float | None = None  # single_trial less that, on the same resamples
    over_linear_interval: Interval | None = None
    # Medians over the neurons of all mice together.
    single_trial_median: float | None = None
    null_median: float | None = None
    linear_median: float | None = None
    to_average_median: float | None = None
    ceiling_median: float | None = None
    feve_mice: int = 0  # how many mice have neurons to be judged by FEVE

    def as_dict(self) -> dict[str, Any]:
        """The numbers under the names that JSON has."""
        return plain(self._asdict())

    def cell(self, key: str) -> str:
        """One number as it stands in a table."""
        value = getattr(self, key)
        return NOT_FITTED if key == "linear" and value is None else cell(value)

    def cells(self, name: str) -> list[str]:
        """A row of a table, in the order of COLUMNS."""
        return [name, *map(self.cell, COLUMNS)]

    def lines(self, name: str = "") -> list[str]:
        """The row under its heads."""
        return align([["", *COLUMNS.values()], self.cells(name)])

    def __str__(self) -> str:
        """What is printed."""
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        return html_table([["", *COLUMNS.values()], self.cells("")])

    def rows(self) -> list[dict[str, Any]]:
        """The numbers as a row of a csv."""
        return [numbers(self)]

    def figure(self) -> Any:
        """The score between its null and its ceiling, as a matplotlib Figure."""
        from sensorium_jax.plots import scores

        return scores.bars({"": self})


class Depth(NamedTuple):
    """Mean scores of neurons of about one cortical depth (z, micrometres)."""

    depth: float
    low: float
    high: float
    neurons: int
    single_trial: float
    null: float
    ceiling: float | None

    def as_dict(self) -> dict[str, Any]:
        """The numbers under the names that JSON has."""
        found = self._asdict()
        ends = {"from": found.pop("low"), "to": found.pop("high")}
        return {"depth": found.pop("depth"), **ends, **found}


class Difference(NamedTuple):
    """How much better one model predicts than another."""

    difference: float
    difference_interval: Interval
    p: float  # two-sided

    def as_dict(self) -> dict[str, Any]:
        """The numbers under the names that JSON has."""
        return plain(self._asdict())


class Comparison(NamedTuple):
    """Two models on the same trials: single-trial correlation of the first less that
    of the second."""

    model: str  # the second
    single_trial: float  # of the second
    difference: float
    difference_interval: Interval
    p: float  # two-sided
    neurons_better: float  # share of neurons that the first predicts better
    mice: Mapping[str, Difference]

    def as_dict(self) -> dict[str, Any]:
        """The numbers under the names that JSON has."""
        found = plain(self._asdict())
        return found if self.model else {k: v for k, v in found.items() if k != "model"}

    def __str__(self) -> str:
        """What is printed."""
        low, high = self.difference_interval
        return (
            f"{self.difference:+.4f} ({low:+.4f} to {high:+.4f}, p {self.p:.3g}), "
            f"{self.neurons_better:.0%} of neurons predicted better"
        )


class TierScores(NamedTuple):
    """Every number of one tier."""

    all: Scores
    poisson: float | None  # loss per bin
    bits_per_spike: float | None
    bits_per_spike_median: float | None
    mice: Mapping[str, Scores]
    stimuli: Mapping[str, Scores]  # by type
    depths: Sequence[Depth]
    against: Comparison | None = None
    poisson_median: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The numbers under the names that JSON has."""
        found = plain({k: v for k, v in self._asdict().items() if k != "all"})
        if self.against is None:
            del found["against"]
        return {**self.all.as_dict(), **found}

    def parts(self) -> list[tuple[str, str, Scores]]:
        """Each row with what it is of: all, a mouse or a type of stimulus."""
        return [
            ("all", "all", self.all),
            *(("mouse", name, row) for name, row in self.mice.items()),
            *(("stimulus", name, row) for name, row in self.stimuli.items()),
        ]

    def table(self, tier: str) -> list[list[str]]:
        """Heads, and a row of cells for each part."""
        rows = [[tier, *COLUMNS.values()]]
        for of, name, row in self.parts():
            rows.append(row.cells(name if of == "all" else f"  {name}"))
        return rows

    def notes(self) -> list[str]:
        """What stands below the table."""
        a, null = self.all, "null: each neuron's training mean"
        some = 0 < a.feve_mice < len(self.mice)
        of = f", of {a.feve_mice} of {len(self.mice)} mice" if some else ""
        words = [
            f"over mice {cell(a.single_trial_over_mice)}",
            f"FEVE {cell(a.feve)} (median {cell(a.feve_median)}{of})",
            f"Poisson loss {cell(self.poisson)} (median {cell(self.poisson_median)})",
            f"bits per spike {cell(self.bits_per_spike)} "
            f"(median {cell(self.bits_per_spike_median)})",
            f"ceiling from {ORIGINS[a.ceiling_from]}",
            null if a.null_interval else f"null 0: {NO_NULL}",
            LINEAR if a.linear is not None else f"linear: {NOT_FITTED}",
        ]
        medians = [
            f"{words} {cell(value)}"
            for words, value in (
                ("single trial", a.single_trial_median),
                ("null", a.null_median),
                ("linear", a.linear_median),
                ("to average", a.to_average_median),
                ("ceiling", a.ceiling_median),
            )
            if value is not None
        ]
        lines = ["; ".join(words), f"medians over neurons: {', '.join(medians)}"]
        lines += beside_linear(a)
        if self.depths:
            parts = [f"{d.depth:.0f} um {d.single_trial:.3f}" for d in self.depths]
            lines.append("by depth: " + ", ".join(parts))
        if self.against:
            lines.append(f"against {self.against.model}: {self.against}")
        return lines

    def lines(self, tier: str = "") -> list[str]:
        """A table of all of it, each mouse and each type of stimulus, and notes."""
        return [*align(self.table(tier)), *self.notes()]

    def __str__(self) -> str:
        """What is printed."""
        return "\n".join(self.lines())

    def __repr__(self) -> str:
        """The main numbers in one line."""
        a = self.all
        return (
            f"TierScores(single_trial={a.single_trial:.4f}, null={a.null:.4f}, "
            f"ceiling={cell(a.ceiling, 4)}, mice={len(self.mice)}, trials={a.trials})"
        )

    def html(self, tier: str = "") -> str:
        """The table and its notes for a notebook."""
        notes = "".join(f"<p>{html.escape(line)}</p>" for line in self.notes())
        return html_table(self.table(tier)) + notes

    def _repr_html_(self) -> str:
        return self.html()

    def rows(self) -> list[dict[str, Any]]:
        """A row of a csv for all, each mouse and each type of stimulus."""
        names = ("poisson", "bits_per_spike")
        names = tuple(f"{n}{end}" for n in names for end in ("", "_median"))
        more = {name: getattr(self, name) for name in names}
        return [
            {"of": of, "name": name, **numbers(row), **(more if of == "all" else {})}
            for of, name, row in self.parts()
        ]

    def figure(self) -> Any:
        """All, each mouse and each type of stimulus, as a matplotlib Figure."""
        from sensorium_jax.plots import scores

        return scores.bars({name: row for _, name, row in self.parts()})


class Report(NamedTuple):
    """Every number of every tier that was scored."""

    tiers: Mapping[str, TierScores]
    neurons: Sequence[Mapping[str, Any]] = ()  # a row for each; see scoring.neurons

    def as_dict(self) -> dict[str, Any]:
        """The numbers of each tier, under the names that JSON has."""
        return plain(self.tiers)

    def lines(self) -> list[str]:
        """A table for each tier, with an empty line between them."""
        lines: list[str] = []
        for tier, scores in self.tiers.items():
            lines += [*([""] if lines else []), *scores.lines(tier)]
        return lines

    def __str__(self) -> str:
        """What is printed."""
        return "\n".join(self.lines())

    def __repr__(self) -> str:
        """The main numbers in one line."""
        parts = [f"{tier}={scores!r}" for tier, scores in self.tiers.items()]
        return f"Report({', '.join(parts)})"

    def _repr_html_(self) -> str:
        return "".join(scores.html(tier) for tier, scores in self.tiers.items())

    def rows(self) -> list[dict[str, Any]]:
        """A row of a csv for each part of each tier."""
        return [
            {"tier": tier, **row}
            for tier, scores in self.tiers.items()
            for row in scores.rows()
        ]

    def figure(self) -> Any:
        """Every tier between its null and its ceiling, as a matplotlib Figure."""
        from sensorium_jax.plots import scores

        return scores.bars({tier: found.all for tier, found in self.tiers.items()})


def beside_linear(scores: Scores, name: str = "the model") -> list[str]:
    """Whether a model beats the linear one, in words; nothing where none is fitted."""
    if scores.over_linear is None or scores.over_linear_interval is None:
        return []
    low, high = scores.over_linear_interval
    words = f"{scores.over_linear:+.3f} ({low:+.3f} to {high:+.3f})"
    if low > 0:
        return [f"{name} is ahead of the linear model by {words}"]
    verdict = "loses to" if high < 0 else "is not clearly better than"
    return [f"{name} {verdict} the linear model: {words}. {REMEDIES}"]


def numbers(scores: Scores) -> dict[str, Any]:
    """What of a row of scores fits into single cells of a csv."""
    return {k: v for k, v in scores.as_dict().items() if not isinstance(v, list)}


def write_csv(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Rows under the columns that any of them has."""
    rows = list(rows)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with atomic.whole(path) as part, open(part, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
