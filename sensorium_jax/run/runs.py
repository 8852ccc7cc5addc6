"""What `sensorium runs` does: many runs side by side, and whether one is better."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sensorium_jax.checkpoints import layout
from sensorium_jax.checkpoints.card import read_card
from sensorium_jax.errors import UserError, unknown
from sensorium_jax.io import atomic, lock, plain_json
from sensorium_jax.run import Outcome, logged
from sensorium_jax.run.campaign import folder as place
from sensorium_jax.run.logged import BOUNDS, SCORED, Logged
from sensorium_jax.text import align, cell, duration

DEPTH = 4  # folders below the one that is named
# Fields that say where things lie and how often, not what is learned.
TALK = (
    *("train.checkpoint_every", "train.report_every", "train.keep"),
    *("train.sinks", "train.prefetch"),
)
JUDGED = ("judged", "judged_low", "judged_high")  # by `--score`, with its interval
NUMBERS = ("score", "best_step", *JUDGED, *BOUNDS, "step", "steps", "seconds")
SIZES = ("mice", "neurons")
BEST_FIRST = ("score", "judged", "fraction_of_ceiling")
ABSENT = object()


class Row(NamedTuple):
    """One run of the table."""

    name: str
    workdir: str
    config: Mapping[str, Any]  # flat, whole
    state: str
    step: int
    steps: int | None
    score: float | None  # the best of its validations
    best_step: int | None
    seconds: float | None  # that its steps took
    mice: int
    neurons: int  # of all mice
    judged: float | None = None  # single-trial correlation on the whole tier
    judged_low: float | None = None
    judged_high: float | None = None
    null: float | None = None
    ceiling: float | None = None
    fraction_of_ceiling: float | None = None
    remark: str = ""  # what must be known of how it stands

    def as_dict(self, fields: Sequence[str]) -> dict[str, Any]:
        """The numbers, and the fields in which the runs differ."""
        plain = self._asdict()
        return {
            **{
                key: plain[key]
                for key in ("name", "workdir", "state", "remark", *NUMBERS, *SIZES)
            },
            "differs": {field: self.config.get(field) for field in fields},
        }


def runs(
    folders: Sequence[str],
    *,
    sort: str | None = None,
    csv: str | None = None,
    figure: str | None = None,
    along: str | None = None,
    score: bool = False,
    pair: Sequence[Sequence[str]] = (),
    data: str | None = None,
    tier: str = "val",
    draws: int = 200,
) -> Outcome:
    """A table of the runs under some folders: what differs, how far, how good.

    score: judge the best step of every run beside null and ceiling, which is kept in
    its workdir. pair: two runs each, compared on the same resampled trials. data are
    other recordings than those that the runs were trained on. along: a column; scores
    are listed, and drawn, by its values.
    """
    if csv is not None:
        atomic.need_place(csv, folder=False)
    logs = {name: logged.read(path) for name, path in under(folders).items()}
    pairs = [[_named(name, logs) for name in names] for names in pair]
    if score:
        from sensorium_jax.run.judged import keep_scores

        keep_scores([log.workdir for log in logs.values()], data, tier, draws)
    rows = [row_of(name, log) for name, log in logs.items()]
    fields = differing([row.config for row in rows])
    rows = ordered(rows, sort, fields)
    lines = align(table(rows, fields), left=2)
    lines += [f"{row.name}: {row.remark}" for row in rows if row.remark]
    found: dict[str, Any] = {"runs": [row.as_dict(fields) for row in rows]}
    if csv is not None:
        from sensorium_jax.scoring.tables import write_csv

        write_csv(csv, [_flat(row.as_dict(fields)) for row in rows])
    if along is not None:
        points = curve(rows, along, fields)
        found["along"] = [point._asdict() for point in points]
        lines += ["", *align(curve_table(points, along))]
    if figure is not None and along is not None:
        lines.append(draw_along(found["along"], along, figure))
    elif figure is not None:
        lines.append(draw({row.name: logs[row.name] for row in rows}, figure))
    if pairs:
        from sensorium_jax.run.judged import compared

        found["pairs"] = []
        for first, second in pairs:
            one, other = logs[first].workdir, logs[second].workdir
            answer = compared(one, other, data, tier, draws)
            lines.append(f"{first} less {second}, {tier}: {answer}")
            names = {"first": first, "second": second}
            found["pairs"].append({**names, **answer.as_dict()})
    return Outcome(found, "\n".join(lines))


def under(folders: Sequence[str]) -> dict[str, Path]:
    """Workdirs of trainings under these folders, by name."""
    found: dict[str, Path] = {}
    for word in folders:
        root = Path(word)
        if not root.is_dir():
            raise UserError(f"{root} is no folder. Give workdirs, or folders of them.")
        below = list(_walk(root, DEPTH, set()))
        if not below:
            raise UserError(
                f"{root} holds no run of a training ({logged.RUN}). Give workdirs of "
                "`sensorium train`, or a folder of them such as a campaign's."
            )
        for path in below:
            alone = len(folders) == 1 and path != root
            found[str(path.relative_to(root)) if alone else str(path)] = path
    return found


def _walk(folder: Path, depth: int, seen: set[str]) -> Iterator[Path]:
    here = os.path.realpath(folder)  # links may lead in circles
    if logged.is_run(folder):
        yield folder
    elif depth and here not in seen:
        seen.add(here)
        for below in sorted(folder.iterdir()):
            if below.is_dir() and not below.name.startswith("."):
                yield from _walk(below, depth - 1, seen)


def _named(name: str, logs: Mapping[str, Logged]) -> str:
    """A run of the table by its name there, or by its path."""
    paths = {os.path.abspath(log.workdir): key for key, log in logs.items()}
    if name in logs:
        return name
    if os.path.abspath(name) in paths:
        return paths[os.path.abspath(name)]
    raise unknown("run", name, logs, "Name two runs of the table.")


def row_of(name: str, log: Logged) -> Row:
    """What a workdir tells of its run."""
    progress, saved = _saved(log.workdir)
    best = (progress["best"], progress["best_step"]) if _judged(progress) else log.best
    kept = _bounds(log.workdir, best[1] if best else None)
    state, remark = _state(log, progress, saved)
    return Row(
        name=name,
        workdir=str(log.workdir),
        config=flat({"recipe": log.card.get("recipe", ""), **log.config}),
        state=state,
        step=max(log.step, saved),
        steps=log.steps,
        score=best[0] if best else None,
        best_step=best[1] if best else None,
        seconds=log.seconds,
        mice=len(log.card["mice"]),
        neurons=sum(mouse.get("neurons", 0) for mouse in log.card["mice"]),
        **kept,
        remark=remark,
    )


def _saved(workdir: Path) -> tuple[dict[str, Any], int]:
    """The progress of the newest checkpoint, and its step."""
    steps = layout.saved_steps(workdir)
    if not steps:
        return {}, 0
    last = max(steps)
    return read_card(layout.card_path(steps[last])).get("progress", {}), last


def _judged(progress: Mapping[str, Any]) -> bool:
    return progress.get("best") is not None and progress.get("best_step", -1) >= 0


def _state(log: Logged, progress: Mapping[str, Any], saved: int) -> tuple[str, str]:
    """How a run stands, by its lock, its checkpoints and its campaign; and a remark."""
    if lock.is_held(log.workdir):
        return place.RUNNING, ""
    if progress.get("finished") or (log.steps and saved >= log.steps):
        return place.DONE, ""
    state, remark = _launched(log.workdir)
    known = (place.FAILED, place.PRUNED, place.RUNNING)
    return state if state in known else place.STOPPED, remark


def _launched(workdir: Path) -> tuple[str, str]:
    """What the campaign of a run says of how it stands; nothing where it has none."""
    workdir = workdir.absolute()
    for above in list(workdir.parents)[:DEPTH]:
        if (above / place.PLAN).is_file():
            campaign = place.opened(above)
            name = str(workdir.relative_to(above))
            for run in campaign.runs:
                if run.name == name:
                    state, remark = campaign.stands(run)
                    return state.state, remark
            break
    return "", ""


def _bounds(workdir: Path, step: int | None) -> dict[str, Any]:
    """Null and ceiling beside the best score, where that step was judged by them."""
    path = workdir / SCORED
    if not path.is_file():
        return {}
    kept = plain_json.load(path, "Delete it; `sensorium runs --score` writes it anew.")
    if not isinstance(kept, dict) or kept.get("step") != step:
        return {}
    low, high = _pair(kept.get("single_trial_interval"))
    judged = (kept.get("single_trial"), low, high)
    found = {name: kept.get(name) for name in BOUNDS}
    found |= dict(zip(JUDGED, judged, strict=True))
    return {k: x for k, x in found.items() if type(x) in (int, float)}


def _pair(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) and len(value) == 2 else (None, None)


def flat(config: Mapping[str, Any], start: str = "") -> dict[str, Any]:
    """The fields of a config by their whole names."""
    fields: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            fields |= flat(value, f"{start}{key}.")
        else:
            fields[f"{start}{key}"] = value
    return fields


def differing(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Fields in which runs differ, but for those that only say where and how often."""
    names = dict.fromkeys(name for config in configs for name in config)
    return [
        name
        for name in names
        if name not in TALK and len({repr(c.get(name, ABSENT)) for c in configs}) > 1
    ]


def ordered(rows: Sequence[Row], sort: str | None, fields: Sequence[str]) -> list[Row]:
    """Rows by a column: the best score first, other numbers from the least on."""
    if sort is None:
        return list(rows)
    column = column_named(sort, fields, "Set --sort.")

    def key(row: Row) -> tuple[bool, bool, Any]:
        value = value_of(row, column)
        number = isinstance(value, (int, float))
        if not number:
            return value is None, True, str(value)
        return False, False, -value if column in BEST_FIRST else value

    return sorted(rows, key=key)


def column_named(word: str, fields: Sequence[str], remedy: str) -> str:
    """A column by its name, or a field that differs by the end of its name."""
    ends = {field.rpartition(".")[2]: field for field in fields}
    known = ("name", "state", *NUMBERS, *SIZES, *fields)
    if word in (*SIZES, *NUMBERS):
        return word
    if ends.get(word, word) not in known:
        raise unknown("column", word, [*known, *ends], remedy)
    return ends.get(word, word)


def value_of(row: Row, column: str) -> Any:
    """What stands in a column of a row."""
    plain = row._asdict()
    return plain[column] if column in plain else row.config.get(column)


class Along(NamedTuple):
    """Runs of one folder that share a value of a column, and their mean score."""

    folder: str
    value: Any
    runs: int
    score: float | None
    low: float | None  # mean of the ends of their intervals; None where not judged
    high: float | None


def curve(rows: Sequence[Row], word: str, fields: Sequence[str]) -> list[Along]:
    """Scores by the values of a column, for each folder of runs.

    They are those of `--score` where every run of a point has one, else the best
    validations.
    """
    column = column_named(word, fields, "Set --along.")
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in ordered(rows, word, fields):
        place = row.name.rpartition("/")[0]
        groups.setdefault((place, repr(value_of(row, column))), []).append(row)
    points = []
    for (place, _), some in sorted(groups.items(), key=lambda pair: pair[0][0]):
        judged = all(row.judged is not None for row in some)
        names = JUDGED if judged else ("score", "judged_low", "judged_high")
        means = [_mean([getattr(row, name) for row in some]) for name in names]
        points.append(Along(place, value_of(some[0], column), len(some), *means))
    return points


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean, where all are known."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def curve_table(points: Sequence[Along], word: str) -> list[list[str]]:
    """Heads, and a row of cells for each point."""
    cells = [["folder", word, "runs", "score", "from", "to"]]
    for p in points:
        numbers = [cell(x, 4) for x in (p.score, p.low, p.high)]
        cells.append([p.folder, _value(p.value), str(p.runs), *numbers])
    return cells


def table(rows: Sequence[Row], fields: Sequence[str]) -> list[list[str]]:
    """Heads, and a row of cells for each run."""
    ends = [field.rpartition(".")[2] for field in fields]
    short = [e if ends.count(e) == 1 else f for e, f in zip(ends, fields, strict=True)]
    heads = ["run", "state", *short, "steps", "time", "score", "at"]
    known = (*JUDGED, *BOUNDS)
    bounds = [b for b in known if any(getattr(row, b) is not None for row in rows)]
    heads += ["fraction" if b == BOUNDS[2] else b.replace("_", " ") for b in bounds]
    cells = [heads]
    for row in rows:
        total = "?" if row.steps is None else str(row.steps)
        spent = "-" if row.seconds is None else duration(row.seconds)
        numbers = [row.score, row.best_step, *(getattr(row, b) for b in bounds)]
        cells.append(
            [
                *(row.name, row.state),
                *(_value(row.config.get(field)) for field in fields),
                *(f"{row.step}/{total}", spent),
                *(cell(number, 4) for number in numbers),
            ]
        )
    return cells


def _value(value: Any) -> str:
    words = "-" if value is None else str(value)
    return words if len(words) <= 24 else f"{words[:10]}...{words[-11:]}"


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    plain = {k: v for k, v in row.items() if k != "differs"}
    return {**plain, **row["differs"]}


def draw_along(points: Sequence[Mapping[str, Any]], word: str, out: str) -> str:
    """A figure of scores by the values of a column, and what to say of it."""
    from sensorium_jax.plots.curves import scores
    from sensorium_jax.run.page import check_place

    path = check_place(out)
    lines: dict[str, list[Any]] = {}
    for point in points:
        if point["score"] is not None:
            lines.setdefault(point["folder"], []).append(point)
    with atomic.whole(path) as part:
        figure = scores(lines, word)
        figure.savefig(part, format=path.suffix[1:].lower(), dpi=120)
    return f"scores by {word}: {path}"


def draw(logs: Mapping[str, Logged], out: str) -> str:
    """A figure of the learning curves, and what to say of it."""
    from sensorium_jax.plots.curves import learning
    from sensorium_jax.run.page import check_place

    path = check_place(out)
    curves = {
        name: {key: log.curve(key) for key in ("loss", "score")}
        for name, log in logs.items()
    }
    with atomic.whole(path) as part:
        learning(curves).savefig(part, format=path.suffix[1:].lower(), dpi=120)
    return f"learning curves: {path}"
