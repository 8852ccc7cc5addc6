"""What `sensorium study` does: the competition's questions, asked of any recordings.

Every model is the demo's with another core, trained alike and equally long, so that
what differs is what the question is about. They are small enough for two cores; their
ranking says nothing of the full-sized models.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium_jax import trees
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.session import Session
from sensorium_jax.errors import UserError, unknown
from sensorium_jax.run import Outcome, questions
from sensorium_jax.run.score import known_sessions, predict_tiers, true_rates
from sensorium_jax.run.train import train
from sensorium_jax.scoring import suites, tables, trials

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


def study(
    *, data: str, workdir: str, steps: int, models: str | None, quick: bool
) -> Outcome:
    """Train every model, score all of them, answer the questions; draws and tables."""
    names = chosen(models, quick=quick)
    steps = min(steps, QUICK_STEPS) if quick else steps
    root = Path(workdir)
    recordings = Recordings.open(data)
    if recordings.sessions[0].year != 2023:
        raise UserError(
            f"{data} holds pictures; the study compares models of videos. Give "
            "recordings of 2023, or simulate some: sensorium simulate OUT."
        )
    for name in names:
        done = train(BASE, str(root / name), overrides(data, name, steps))
        if done.data["stopped"]:
            return done
    measured = {name: measure(root / name, recordings) for name in names}
    found = {"steps": steps, **questions.answers(measured)}
    found["models"] = {
        name: {**facts(root / name), **found["models"][name]} for name in names
    }
    (root / "study.json").write_text(json.dumps(found, indent=1, default=float))
    tables.write_csv(root / "study.csv", questions.rows(found))
    figures = draw(found, root)
    text = "\n".join([*questions.lines(found), f"table and figures: {root}"])
    return Outcome({**found, "figures": figures}, text)


def chosen(models: str | None, *, quick: bool) -> list[str]:
    """Which models to train."""
    names = models.split(",") if models else QUICK if quick else list(MODELS)
    for name in names:
        if name not in MODELS:
            raise unknown("model of the study", name, MODELS, "Set --models.")
    return list(names)


def overrides(data: str, name: str, steps: int) -> list[str]:
    """What a model's training changes in the demo's recipe."""
    found = [f"--config.data.root={data}", f"--config.train.steps={steps}"]
    if MODELS[name]:
        found.append(f"--config.model.json={json.dumps(MODELS[name])}")
    return found


def measure(folder: Path, recordings: Recordings) -> questions.Tiers:
    """Every labelled tier but the training's, predicted by one model."""
    from sensorium_jax.zoo import load

    twin = load.load(folder)
    sessions: Sequence[Session] = known_sessions(twin, recordings)
    planned = trials.plan(sessions, trials.tiers_of(sessions, "all"))
    options = {"truth": true_rates(sessions, "auto"), "draws": suites.DRAWS}
    found = predict_tiers([twin], planned, options)
    return {tier: mice for tier, (mice,) in found.items()}


def facts(folder: Path) -> dict[str, Any]:
    """What a model cost: weights, and seconds of its steps without compilation."""
    from sensorium_jax.zoo import load

    twin = load.load(folder)
    card = twin.card
    windows = card["config"]["train"]["batch"] * len(card["mice"])
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    lines = [line for line in lines if line["step"]]
    each = [windows / x["samples_per_s"] for x in lines if x.get("samples_per_s")]
    step = max((x["step"] for x in lines), default=0)
    seconds = float(np.median(each[1:] or each)) if each else None
    return {
        "architecture": ZOO.get(folder.name, "demo, changed"),
        "parameters": int(trees.sizes(twin.variables["params"])["total"]),
        "steps": step,
        "seconds_per_step": seconds,
        "seconds": None if seconds is None else seconds * step,
    }


def draw(found: dict[str, Any], root: Path) -> list[str]:
    """Figures of the study, as png files."""
    from sensorium_jax.plots import scores

    made = {
        "models": scores.models(found["models"]),
        "kinds": scores.kinds(found["models"]),
        "compute": scores.compute(found["models"]),
    }
    for name, figure in made.items():
        figure.savefig(root / f"{name}.png", dpi=120)
    return [str(root / f"{name}.png") for name in made]
