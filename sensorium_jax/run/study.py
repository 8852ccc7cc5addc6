"""What `sensorium study` does: the competition's questions, asked of any recordings.

Every model is the demo's with another core, trained alike and equally long, so that
what differs is what the question is about. They are small enough for two cores; their
ranking says nothing of the full-sized models.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax import trees
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.session import Session, validating
from sensorium_jax.errors import UsageError, UserError, unknown
from sensorium_jax.io import atomic
from sensorium_jax.rules import PICTURES
from sensorium_jax.run import Outcome
from sensorium_jax.run.linear import fitted
from sensorium_jax.run.score import (
    beside,
    known_sessions,
    measure_tiers,
    opened,
    true_rates,
)
from sensorium_jax.run.train import train
from sensorium_jax.scoring import limits, paired, suites, tables, trials
from sensorium_jax.scoring.accumulate import Measured
from sensorium_jax.scoring.tables import Comparison, Scores, TierScores
from sensorium_jax.text import align, cell, html_table
from sensorium_jax.training import log

BASE = "demo"
QUICK = ("demo", "no_behavior", "static")
QUICK_STEPS = 20
KERNELS = {"input_kernel": 7, "hidden_kernel": 5}
MODELS: dict[str, dict[str, Any]] = {  # changes of the demo model
    "demo": {},
    "no_behavior": {"shifter": None, "modulator": None},
    "static": {"core": {"bases": 0, "lags": 7}},  # the frame six before the response
    "stacked2d": {
        "core": {
            **{"kind": "stacked2d", "hidden_channels": 16, "layers": 3, **KERNELS},
            **{"pad_input": False, "depth_separable": True, "stack": -1},
            **{"conv_bias": False, "momentum": 0.9},
        }
    },
    "factorized3d": {
        "core": {
            **{"kind": "factorized3d", "hidden_channels": [8, 16, 24], "layers": 3},
            **{"input_spatial_kernel": 11, "input_temporal_kernel": 11},
            **{"hidden_spatial_kernel": 5, "hidden_temporal_kernel": 5},
            "momentum": 0.7,
        }
    },
    "gru": {
        "core": {
            **{"kind": "rotation2d", "hidden_channels": 1, "layers": 2, **KERNELS},
            **{"pad_input": False, "stack": -1, "final_nonlinearity": False},
            "momentum": 0.9,
        },
        "gru": {"features": 8, "input_kernel": 5, "hidden_kernel": 5},
    },
}
ZOO = {  # whose architecture a small model has
    "demo": "demo",
    "stacked2d": "ln2023 and cnn2022, frame by frame",
    "factorized3d": "factorized2023",
    "gru": "gru2023",
}
PAIRS = {
    "dynamic_against_static": ("demo", "static"),
    "with_against_without_behavior": ("demo", "no_behavior"),
}
HOME = "natural_movie"  # what models are trained on
Tiers = Mapping[str, list[Measured]]


class Facts(NamedTuple):
    """What a model is and cost."""

    architecture: str
    parameters: int
    steps: int
    seconds_per_step: float | None  # without compilation
    seconds: float | None


class StudyModel(NamedTuple):
    """One model of a study, and what it scores."""

    facts: Facts
    in_domain: TierScores  # of the tier that validates
    out_of_domain: Mapping[str, Scores]  # by type of stimulus, over all tiers

    def as_dict(self) -> dict[str, Any]:
        """What JSON has."""
        scores = {"in_domain": self.in_domain, "out_of_domain": self.out_of_domain}
        return {**self.facts._asdict(), **tables.plain(scores)}


class Answers(NamedTuple):
    """The competition's questions, as far as the trained models answer them."""

    steps: int
    limit: limits.Limits
    pairs: Mapping[str, Comparison]  # by question
    models: Mapping[str, StudyModel]

    def as_dict(self) -> dict[str, Any]:
        """What JSON has."""
        whole = {"steps": self.steps, "limit": self.limit}
        return tables.plain({**whole, **self.pairs, "models": self.models})

    def rows(self) -> list[dict[str, Any]]:
        """A row of a csv per model and type of stimulus."""
        rows = []
        for name, model in self.models.items():
            facts = model.facts._asdict()
            parts = {"in domain": model.in_domain.all, **model.out_of_domain}
            for kind, scores in parts.items():
                numbers = tables.numbers(scores)
                rows.append({"model": name, "stimulus": kind, **facts, **numbers})
        return rows

    def table(self) -> list[list[str]]:
        """Heads, and a row of cells for each model, the best first."""
        models = self.models.items()
        kinds = sorted({k for _, m in models for k in m.out_of_domain})
        heads = ("model", "weights", "seconds", "single trial", "null", "linear")
        rows = [[*heads, "fraction", *kinds]]
        for name, m in sorted(models, key=lambda x: -x[1].in_domain.all.single_trial):
            whole, spent = m.in_domain.all, m.facts.seconds
            others = [m.out_of_domain.get(kind) for kind in kinds]
            numbers = [whole.fraction_of_ceiling]
            numbers += [None if o is None else o.fraction_of_ceiling for o in others]
            seconds = "-" if spent is None else f"{spent:.0f}"
            weights = f"{m.facts.parameters:,}"
            first = [whole.cell(key) for key in ("single_trial", "null", "linear")]
            rows.append([name, weights, seconds, *first, *map(cell, numbers)])
        return rows

    def lines(self) -> list[str]:
        """The answers in words and a table."""
        lines = []
        origins = {
            "true rates": self.limit.from_truth,
            "repeats": self.limit.from_repeats,
        }
        for words, spread in origins.items():
            if spread:
                limit = "limit of single-trial correlation"
                lines.append(f"{limit}, from {words}: {spread}")
        for question, answer in self.pairs.items():
            low, high = answer.difference_interval
            words = question.replace("_", " ")
            lines.append(
                f"{words}: {answer.difference:+.3f} ({low:+.3f} to {high:+.3f})"
            )
        lines += [f"after {self.steps} steps each:", *align(self.table())]
        if all(m.in_domain.all.null_interval is None for m in self.models.values()):
            lines.append(f"null 0: {tables.NO_NULL}")
        for name, m in self.models.items():
            lines += tables.beside_linear(m.in_domain.all, name)
        return lines

    def __str__(self) -> str:
        """The answers in words and a table."""
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        return html_table(self.table())


def study(
    *,
    data: str,
    workdir: str,
    steps: int,
    models: str | None,
    quick: bool,
    rules: str | None = None,
    no_linear: bool = False,
) -> Outcome:
    """Train every model, score all of them, answer the questions; draws and tables."""
    if steps < 1:
        raise UsageError(f"{steps} steps were asked for; expected at least 1.")
    atomic.need_place(workdir, folder=True)
    names = chosen(models, quick=quick)
    steps = min(steps, QUICK_STEPS) if quick else steps
    root = Path(workdir)
    recordings = opened(data, rules)
    if recordings.sessions[0].rules.kind == PICTURES:
        raise UserError(
            f"{data} holds pictures; the study compares models of films. Give "
            "recordings of films, or simulate some: sensorium simulate OUT."
        )
    for name in names:
        done = train(BASE, str(root / name), overrides(data, name, steps, rules))
        if done.data["stopped"]:
            return done
    measured = {name: measure(root / name, recordings) for name in names}
    if not no_linear:
        sessions = recordings.sessions
        line = measured_of(fitted(sessions, (data, root)), sessions)
        measured = {name: beside(tiers, line) for name, tiers in measured.items()}
    tier = validating(recordings.sessions)
    found = answers(
        measured, {name: facts(root / name) for name in names}, tier=tier, steps=steps
    )
    atomic.write_json(root / "study.json", found.as_dict())
    tables.write_csv(root / "study.csv", found.rows())
    figures = draw(found, root)
    text = "\n".join([*found.lines(), f"table and figures: {root}"])
    return Outcome({**found.as_dict(), "figures": figures}, text)


def answers(
    measured: Mapping[str, Tiers],
    costs: Mapping[str, Facts],
    *,
    tier: str,
    steps: int,
    draws: int = suites.DRAWS,
) -> Answers:
    """The answer to each question that the trained models allow.

    measured has the tiers of each model, costs what each took; tier is the one that
    validates.
    """
    home = {name: tiers[tier] for name, tiers in measured.items()}
    models = {}
    for name, tiers in measured.items():
        mice = [m for many in tiers.values() for m in many]
        kinds = suites.by_kind(mice, draws=draws)
        others = {kind: scores for kind, scores in kinds.items() if kind != HOME}
        whole = suites.report(home[name], draws=draws)
        models[name] = StudyModel(costs[name], whole, others)
    pairs = {
        question: paired.compare(home[first], home[second], draws=draws)
        for question, (first, second) in PAIRS.items()
        if {first, second} <= home.keys()
    }
    limit = limits.limits(next(iter(home.values())))
    return Answers(steps, limit, pairs, models)


def chosen(models: str | None, *, quick: bool) -> list[str]:
    """Which models to train."""
    names = models.split(",") if models else QUICK if quick else list(MODELS)
    for name in names:
        if name not in MODELS:
            raise unknown("model of the study", name, MODELS, "Set --models.")
    return list(names)


def overrides(data: str, name: str, steps: int, rules: str | None = None) -> list[str]:
    """What a model's training changes in the demo's recipe."""
    changes = [f"--config.data.root={data}", f"--config.train.steps={steps}"]
    if rules:
        changes.append(f"--config.data.rules={rules}")
    if MODELS[name]:
        changes.append(f"--config.model.json={json.dumps(MODELS[name])}")
    return changes


def measure(folder: Path, recordings: Recordings) -> Tiers:
    """Every labelled tier but the training's, predicted by one model."""
    from sensorium_jax.zoo import load

    twin = load.load(folder)
    return measured_of(twin, known_sessions(twin, recordings))


def measured_of(twin: Any, sessions: Sequence[Session]) -> Tiers:
    """The same of any twin."""
    plans = trials.plan(sessions, trials.tiers_of(sessions, "all"))
    return measure_tiers(twin, plans, truth=true_rates(sessions, "auto"))


def facts(folder: Path) -> Facts:
    """What a model cost: weights, and seconds of its steps without compilation."""
    from sensorium_jax.zoo import load

    twin = load.load(folder)
    card = twin.card
    windows = card["config"]["train"]["batch"] * len(card["mice"])
    lines = [line for line in log.read(folder) if line["step"]]
    each = [windows / x["samples_per_s"] for x in lines if x.get("samples_per_s")]
    step = int(max((x["step"] for x in lines), default=0))
    seconds = float(np.median(each[1:] or each)) if each else None
    return Facts(
        ZOO.get(folder.name, "demo, changed"),
        int(trees.sizes(twin.variables["params"])["total"]),
        step,
        seconds,
        None if seconds is None else seconds * step,
    )


def draw(found: Answers, root: Path) -> list[str]:
    """Figures of the study, as png files."""
    from sensorium_jax.plots import scores

    models = found.models.items()
    home = {name: m.in_domain.all for name, m in models}
    kinds = {name: {"in domain": home[name], **m.out_of_domain} for name, m in models}
    spent = {name: (m.facts.seconds, home[name]) for name, m in models}
    figures = {
        "models": scores.bars(home),
        "kinds": scores.kinds(kinds),
        "compute": scores.compute(spent),
    }
    for name, figure in figures.items():
        figure.savefig(root / f"{name}.png", dpi=120)
    return [str(root / f"{name}.png") for name in figures]
