"""What a training has left in its workdir: its card, its log, and its pace."""

from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

from sensorium_jax.errors import UserError
from sensorium_jax.io import plain_json
from sensorium_jax.training import log

RUN = "run.json"  # what a workdir is of; claimed before the first step
SCORED = "scored.json"  # what its best step scores beside null and ceiling, if judged
SECTIONS = ("data", "model", "readout", "train", "validate", "mesh")  # of a config
BOUNDS = ("null", "ceiling", "fraction_of_ceiling")  # of a score


class Logged:
    """One workdir, read without loading any weights."""

    def __init__(self, workdir: Path, card: dict[str, Any], rows: list[dict[str, Any]]):
        """Hold the card, and the lines of the log that are whole."""
        self.workdir, self.card, self.rows = workdir, card, rows

    @property
    def config(self) -> dict[str, Any]:
        """The whole config of the run."""
        return self.card["config"]

    @property
    def step(self) -> int:
        """The last step that the log knows of."""
        return max((row["step"] for row in self.rows), default=0)

    @property
    def windows(self) -> int:
        """Windows of all mice in a step."""
        batch, data = self.config["train"]["batch"], self.config.get("data", {})
        return batch if data.get("mixed") else batch * len(self.card["mice"])

    @cached_property
    def seconds_per_step(self) -> float | None:
        """Median over reports but the first, which compiles; None before others."""
        each = [
            self.windows / row["samples_per_s"]
            for row in self.rows
            if row["step"] and row.get("samples_per_s")
        ]
        return float(median(each[1:])) if each[1:] else None

    @property
    def seconds(self) -> float | None:
        """What its steps took, without compilation."""
        each = self.seconds_per_step
        return None if each is None else each * self.step

    @property
    def steps(self) -> int | None:
        """How many steps it has in all: as told, or from the time that it expected."""
        told = int(self.config["train"]["steps"])
        if told:
            return told
        for row in reversed(self.rows):
            if row.get("samples_per_s") and "eta_s" in row:
                left = row["eta_s"] * row["samples_per_s"] / self.windows
                return row["step"] + round(left)
        return None

    def curve(self, key: str) -> tuple[list[int], list[float]]:
        """Steps, and a number of the log at them, as `score` or `loss`."""
        rows = [row for row in self.rows if key in row]
        return [row["step"] for row in rows], [float(row[key]) for row in rows]

    @property
    def best(self) -> tuple[float, int] | None:
        """The best score of its validations, and the step of it."""
        steps, scores = self.curve("score")
        if not scores:
            return None
        score = max(scores)
        return score, steps[scores.index(score)]


def is_run(folder: Path) -> bool:
    """Whether a folder is the workdir of a training."""
    return (folder / RUN).is_file()


def is_card(card: Any) -> bool:
    """Whether a value is the card of a run, as far as it is asked about one here."""
    mice = card.get("mice") if isinstance(card, dict) else None
    config = card.get("config") if isinstance(card, dict) else None
    if not isinstance(mice, list) or not isinstance(config, dict) or not mice:
        return False
    train = config.get("train")
    sections = all(isinstance(config.get(k, {}), dict) for k in SECTIONS)
    named = all(isinstance(m, dict) and isinstance(m.get("name"), str) for m in mice)
    return (
        sections
        and named
        and isinstance(train, dict)
        and _is_count(train.get("batch"), 1)
        and _is_count(train.get("steps"), 0)
    )


def _is_count(value: Any, least: int) -> bool:
    return type(value) is int and least <= value < 1 << 53


def read(workdir: str | Path) -> Logged:
    """What a workdir tells of its run."""
    workdir = Path(workdir)
    if not is_run(workdir):
        raise UserError(
            f"{workdir} is no workdir of a training: it has no {RUN}. Give the folder "
            "that was --workdir of `sensorium train`."
        )
    card = plain_json.load(workdir / RUN, "Give another workdir.")
    if not is_card(card):
        raise UserError(f"{workdir / RUN} is no card of a run. Give another workdir.")
    rows = [row | {"step": int(row["step"])} for row in log.read(workdir)]
    return Logged(workdir, card, rows)
