"""From stages to runs: their names, the words of their commands, and what they need."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from hashlib import sha256
from typing import Any, NamedTuple

from sensorium_jax.errors import UsageError, UserError, unknown
from sensorium_jax.run import config as configs
from sensorium_jax.run.campaign.stages import CONTROL, HERE, Point, Stage, check_count

PLACE = "{campaign}"  # stands for the campaign's folder in the words of a run
NAMED = re.compile(r"\{([A-Za-z0-9][\w.-]*)(\*?)\}")
LONGEST = 24  # characters of a value in the name of a folder


class Run(NamedTuple):
    """One run: a command with a folder of its own, and the runs it waits for."""

    name: str  # its folder below the campaign's
    stage: str
    words: tuple[str, ...]  # of the command sensorium; PLACE is yet to be filled in
    needs: tuple[str, ...]
    values: dict[str, Any]  # by axis
    search: dict[str, Any]  # fields that a search chooses when it begins

    @property
    def trains(self) -> bool:
        """Whether its folder is a workdir of `sensorium train`."""
        return self.words[0] == "train"


def plan(stages: Sequence[Stage], overrides: Sequence[str] = ()) -> tuple[Run, ...]:
    """All runs, those of a stage after those that it needs.

    overrides change the recipe of every training, as --config.train.steps=10.
    """
    known = {stage.name: stage for stage in stages}
    runs: dict[str, list[Run]] = {}
    total = 0
    for name in _order(known):
        total += _count(known[name], runs)
        check_count(total, "The stages give")
        runs[name] = _of_stage(known[name], runs, overrides)
    every = tuple(run for some in runs.values() for run in some)
    _check_names(every)
    return every


def check(runs: Sequence[Run]) -> None:
    """Refuse recipes and fields that nobody knows, before anything is run."""
    for run in runs:
        if not run.trains:
            continue
        recipe = run.words[run.words.index("--config") + 1]
        changes = [w for w in run.words if w.startswith("--config.")]
        chosen = [_override(f, _example(s)) for f, s in searched(run.search).items()]
        try:
            configs.load(recipe, [*changes, *chosen])
        except UserError as error:
            raise UserError(f"Stage '{run.stage}': {error}") from error


def searched(search: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a search with their ranges."""
    return {k: v for k, v in search.items() if k not in CONTROL}


def words_of(fields: Mapping[str, Any]) -> list[str]:
    """Fields of a recipe as words of a command."""
    return [_override(field, value) for field, value in fields.items()]


def _example(spread: Sequence[Any]) -> Any:
    return spread[1][0] if spread[0] == "choice" else spread[1]


def _override(field: str, value: Any) -> str:
    if isinstance(value, Mapping):
        value = json.dumps(value)
    elif isinstance(value, (list, tuple)):
        value = repr(tuple(value))
    return f"--config.{field}={value}"


def _order(stages: Mapping[str, Stage]) -> list[str]:
    """Names of stages, each after those that it needs."""
    needs = {name: set(_needed(stage, stages)) for name, stage in stages.items()}
    try:
        return list(TopologicalSorter(needs).static_order())
    except CycleError as error:
        circle = " needs ".join(reversed(error.args[1]))
        raise UserError(
            f"The stages go in a circle: {circle}. Expected one that needs no other; "
            "take out a {name} or an 'after'."
        ) from None


def _needed(stage: Stage, stages: Mapping[str, Stage]) -> Iterator[str]:
    where = f"(stage '{stage.name}' asks for it)"
    for name in (*stage.after, *([stage.each] if stage.each else [])):
        if name not in stages:
            raise unknown("stage", name, stages, where)
        yield name
    points = [point.changes for point in stage.points]
    for text in _texts((stage.command, stage.changes, points)):
        yield from (name for name, _ in NAMED.findall(text) if name in stages)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _texts(part)


def _count(stage: Stage, before: Mapping[str, list[Run]]) -> int:
    """How many runs a stage has."""
    parents = len(before[stage.each]) if stage.each else 1
    return parents * len(stage.points) * stage.search.get("count", 1)


def _of_stage(
    stage: Stage, before: Mapping[str, list[Run]], overrides: Sequence[str]
) -> list[Run]:
    parents = [run.values for run in before[stage.each]] if stage.each else [{}]
    points = [
        point._replace(values=_joined(parent, point, stage))
        for parent in parents
        for point in stage.points
    ]
    if stage.search:
        count = range(stage.search["count"])
        points = [
            p._replace(values={**p.values, "trial": i}) for p in points for i in count
        ]
    taken = {field for p in points for field in p.changes} | set(stage.search)
    for word in overrides if stage.recipe else ():
        field = word.partition("=")[0].removeprefix("--config.")
        if field in taken:
            raise UsageError(
                f"{word} sets a field that is an axis of stage '{stage.name}'. Change "
                "the axis in the campaign's file instead."
            )
    return [_run(stage, point, before, overrides) for point in points]


def _joined(parent: Mapping[str, Any], point: Point, stage: Stage) -> dict[str, Any]:
    twice = sorted(parent.keys() & point.values.keys())
    if twice:
        raise UserError(
            f"Stage '{stage.name}' has the axis '{twice[0]}' twice: its own, and that "
            f"of '{stage.each}', of which every run gets runs. Leave out its own."
        )
    return {**parent, **point.values}


def _run(
    stage: Stage,
    point: Point,
    before: Mapping[str, list[Run]],
    overrides: Sequence[str],
) -> Run:
    name = "/".join([stage.name, *([_label(point.values)] if point.values else [])])
    fill = _Filler(stage.name, name, point.values, before)
    changes = {**stage.changes, **point.changes}
    if stage.recipe:
        words = ["train", "--config", stage.recipe, "--workdir", f"{PLACE}/{name}"]
        words += [_override(k, fill.value(v)) for k, v in changes.items()]
        words += overrides
    else:
        words = [new for word in stage.command for new in fill.words(word)]
    needs = fill.needs
    needs += [r.name for other in stage.after for r in before[other]]
    needs += [r.name for r in (fill.matching(stage.each) if stage.each else [])]
    words = [*words, *([] if "--json" in words else ["--json"])]
    unique = tuple(dict.fromkeys(needs))
    return Run(name, stage.name, tuple(words), unique, point.values, stage.search)


class _Filler:
    """Puts folders of other runs, and values of axes, where braces name them."""

    def __init__(
        self,
        stage: str,
        name: str,
        values: Mapping[str, Any],
        before: Mapping[str, list[Run]],
    ):
        self.stage, self.name, self.axes, self.before = stage, name, values, before
        self.needs: list[str] = []

    def matching(self, stage: str) -> list[Run]:
        """Runs of another stage whose values agree along the axes of both."""
        runs = [
            run
            for run in self.before[stage]
            if all(run.values[k] == v for k, v in self.axes.items() if k in run.values)
        ]
        if not runs:
            shared = {
                k: v
                for k, v in self.axes.items()
                if any(k in run.values for run in self.before[stage])
            }
            words = ", ".join(f"{k} {v}" for k, v in shared.items())
            raise UserError(
                f"Stage '{self.stage}' needs a run of '{stage}' with {words}, and "
                f"'{stage}' has none. Give both stages the same values of that axis."
            )
        return runs

    def _named(self, name: str, star: str) -> list[str]:
        if name == HERE:
            return [f"{PLACE}/{self.name}"]
        if name in self.axes:
            return [str(self.axes[name])]
        if name not in self.before:
            known = [HERE, *self.axes, *self.before]
            words = f"(of {{{name}}} in stage '{self.stage}')"
            raise unknown("name", name, known, words)
        runs = self.matching(name)
        if len(runs) > 1 and not star:
            raise UserError(
                f"{{{name}}} in stage '{self.stage}' stands for {len(runs)} runs, "
                f"{runs[0].name} and others. Write {{{name}*}} where a command takes "
                f"several, or give this stage the axes of '{name}' ('each': '{name}')."
            )
        self.needs += [run.name for run in runs]
        return [f"{PLACE}/{run.name}" for run in runs]

    def words(self, word: str) -> list[str]:
        """A word of a command; {stage*} alone becomes a word for each of its runs."""
        match = NAMED.fullmatch(word)
        if match and match[2]:
            return self._named(match[1], match[2])
        return [self.text(word)]

    def text(self, word: str) -> str:
        """A word with every name in braces filled in."""
        return NAMED.sub(lambda m: ",".join(self._named(m[1], m[2])), word)

    def value(self, value: Any) -> Any:
        """The same of a field's value, inside lists too."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, (list, tuple)):
            return tuple(self.value(part) for part in value)
        return value


def _label(values: Mapping[str, Any]) -> str:
    """Values of axes as the name of a folder."""
    ends = [axis.rpartition(".")[2] for axis in values]
    parts = []
    for axis, end in zip(values, ends, strict=True):
        short = end if ends.count(end) == 1 else axis
        parts.append(f"{short}={_plain(values[axis])}")
    return "_".join(parts)


def _plain(value: Any) -> str:
    words = value if isinstance(value, str) else repr(value)
    plain = re.sub(r"[^A-Za-z0-9.+-]+", "-", words).strip("-.")
    if plain == words and len(plain) <= LONGEST:
        return plain
    return f"{plain[: LONGEST - 8]}-{sha256(words.encode()).hexdigest()[:6]}"


def _check_names(runs: Sequence[Run]) -> None:
    ((twice, count),) = Counter(run.name for run in runs).most_common(1)
    if count > 1:
        raise UserError(
            f"Two runs would be {twice}: an axis of stage '{twice.split('/')[0]}' has "
            "the same value twice. Leave one out."
        )
