"""From the file of a campaign to its stages: what is run, and along which axes.

The file has get_campaign(), which gives a plain dict; docs/campaigns.md says of what.
"""

import inspect
import itertools
import math
import re
import traceback
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax.errors import UserError, did_you_mean, unknown
from sensorium_jax.io import plain_json
from sensorium_jax.run.config import MISTAKES

FUNCTION = "get_campaign"
WHOLE = ("stages", "changes")
FIELDS = (
    *("recipe", "command", "changes", "each", "after"),
    *("axes", "list", "draws", "folds", "seeds", "search"),
)
CONTROL = ("count", "seed", "prune")  # of a search; its other fields are ranges
DRAWN = ("uniform", "log_uniform", "integer", "choice")
FOLD, SEED, HERE = "fold", "seed", "here"
RESERVED = ("launched",)  # a folder of the engine
MOST = 10_000  # runs; more is a mistake
FARTHEST = 2**53  # from zero, of what is drawn


class Point(NamedTuple):
    """One place along the axes of a stage."""

    values: dict[str, Any]  # by axis: what tables show, and stages are matched by
    changes: dict[str, Any]  # fields of the recipe


class Stage(NamedTuple):
    """Runs that differ along axes: trainings of a recipe, or commands."""

    name: str
    recipe: str  # "" where it is a command
    command: tuple[str, ...]  # words after `sensorium`
    changes: dict[str, Any]
    points: tuple[Point, ...]
    each: str  # another stage, of which every run gets runs of this one
    after: tuple[str, ...]  # stages that must be done before, beside those named
    search: dict[str, Any]  # fields that a search chooses, and how


def read(path: str | Path, options: Mapping[str, Any] | None = None) -> list[Stage]:
    """The stages of a campaign's file; options go to its get_campaign."""
    path = Path(path)
    if "://" in str(path) or not path.is_file():
        raise UserError(
            f"No campaign file {path}. Expected the path of a Python file of this "
            f"machine with {FUNCTION}(); campaigns are code, so none is fetched."
        )
    given = _called(path, dict(options or {}))
    if not isinstance(given, Mapping) or not isinstance(given.get("stages"), Mapping):
        raise UserError(
            f"{FUNCTION}() of {path} gives {_short(given)}. Expected a dict with "
            "'stages': a dict of stages by name."
        )
    # One that holds itself would be written out without end.
    plain_json.check_size(dict(given), f"{FUNCTION}() of {path}", "Mend the file.")
    for field in given:
        if field not in WHOLE:
            raise unknown("field", str(field), WHOLE, f"(of {FUNCTION}() in {path})")
    if not given["stages"]:
        raise UserError(f"{path} has no stages. Write one, with a recipe to train.")
    shared = _mapping(given.get("changes", {}), "changes", str(path))
    return [
        _stage(str(name), stage, shared, path)
        for name, stage in given["stages"].items()
    ]


def _called(path: Path, options: dict[str, Any]) -> Any:
    """What the file's function gives."""
    try:
        module = _imported(path)
        function = getattr(module, FUNCTION, None)
        if function is None:
            raise UserError(
                f"{path} has no {FUNCTION}(). Expected a function of that name that "
                "gives the stages; the file of a recipe goes to `sensorium train`."
            )
        known = list(inspect.signature(function).parameters)
        for name in options:
            if name not in known:
                words = f"(of {FUNCTION}() in {path}; set with --with)"
                raise unknown("option", name, known, words)
        return function(**options)
    except UserError:
        raise
    except MISTAKES as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [f.lineno for f in frames if Path(f.filename) == path.absolute()]
        line = f" (line {lines[-1]})" if lines else ""
        raise UserError(
            f"The campaign {path} does not load: {type(error).__name__}: {error}"
            f"{line}. Mend the file."
        ) from error


def _imported(path: Path) -> ModuleType:
    if path.suffix != ".py":
        raise UserError(f"{path} is no Python file; expected a name ending in .py.")
    module = ModuleType(path.stem)
    module.__file__ = str(path.absolute())
    # Not imported: kept bytecode of a file that was changed within a second is old.
    exec(compile(path.read_bytes(), module.__file__, "exec"), module.__dict__)
    return module


def _stage(name: str, given: Any, shared: Mapping[str, Any], path: Path) -> Stage:
    if not re.fullmatch(r"[A-Za-z0-9][\w-]{0,40}", name) or name in RESERVED:
        raise UserError(
            f"A stage is named {name!r}. Expected letters, digits, _ and -, and not "
            f"{' or '.join(RESERVED)}; its runs lie in a folder of that name."
        )
    where = f"stage '{name}'"
    given = _mapping(given, where, str(path))
    for field in given:
        if field not in FIELDS:
            raise unknown("field", str(field), FIELDS, f"(of {where})")
    recipe, command = given.get("recipe", ""), given.get("command", ())
    if not isinstance(recipe, str):
        raise UserError(f"The recipe of {where} is {_short(recipe)}, expected a name.")
    if bool(recipe) == bool(command):
        both = "both a recipe and a command" if recipe else "no recipe and no command"
        raise UserError(
            f"The {where} has {both}. Expected one: the 'recipe' that its runs train, "
            "or a 'command' of sensorium as a list of words."
        )
    command = command.split() if isinstance(command, str) else command
    if not isinstance(command, list | tuple) or not all(map(str, command)):
        raise UserError(
            f"The command of {where} is {_short(command)}, expected a list of words."
        )
    changes = _mapping(given.get("changes", {}), "changes", where)
    if command and changes:
        raise UserError(f"The {where} has 'changes', which only a recipe takes.")
    search = _mapping(given.get("search", {}), "search", where)
    return Stage(
        name=name,
        recipe=_recipe(recipe, path),
        command=tuple(map(str, command)),
        changes={**shared, **changes} if recipe else {},
        points=tuple(_points(given, where)),
        each=str(given.get("each", "")),
        after=_names(given.get("after", ()), where),
        search=_checked_search(search, where) if search else {},
    )


def _recipe(recipe: str, path: Path) -> str:
    """A recipe's name, or the whole path of one that lies beside the campaign."""
    beside = path.absolute().parent / recipe
    return str(beside) if recipe.endswith(".py") and beside.is_file() else recipe


def _names(given: Any, where: str) -> tuple[str, ...]:
    if not isinstance(given, str | list | tuple):
        raise UserError(
            f"'after' of {where} is {_short(given)}, expected names of stages."
        )
    return (given,) if isinstance(given, str) else tuple(map(str, given))


def _mapping(given: Any, what: str, where: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise UserError(f"{what} of {where} is {_short(given)}, expected a dict.")
    return {str(k): v for k, v in given.items()}


def _points(given: Mapping[str, Any], where: str) -> Iterable[Point]:
    """The product of all axes of a stage."""
    parts = [
        *_folds(given.get("folds"), where),
        *_listed(given.get("list"), where),
        *_grid(_mapping(given.get("axes", {}), "axes", where), where),
        *_draws(given.get("draws"), where),
        *_seeds(given.get("seeds"), where),
    ]
    names = [name for part in parts for name in part[0].values]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise UserError(
            f"The {where} has the axis '{twice[0]}' twice. Leave out one of them."
        )
    check_count(math.prod(map(len, parts)), f"The axes of {where} give")
    for some in itertools.product(*parts):
        values, changes = {}, {}
        for point in some:
            values |= point.values
            changes |= point.changes
        yield Point(values, changes)


def check_count(runs: int, what: str) -> None:
    """Refuse more runs than anybody means, before each of them is written out."""
    if runs > MOST:
        raise UserError(
            f"{what} {runs} runs, expected at most {MOST}. Draw some of them at random "
            "('draws')."
        )


def _nonempty(values: Any, axis: str, where: str) -> Sequence[Any]:
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise UserError(
            f"The axis '{axis}' of {where} is {_short(values)}. Expected a list of at "
            "least one value; leave the axis out where nothing varies."
        )
    check_count(len(values), f"The axis '{axis}' of {where} gives")
    return values


def _grid(axes: Mapping[str, Any], where: str) -> Iterable[list[Point]]:
    for name, values in axes.items():
        field = name if name != SEED else "seed"
        each = _nonempty(values, name, where)
        yield [Point({name: v}, {field: v}) for v in each]


def _listed(given: Any, where: str) -> Iterable[list[Point]]:
    if given is None:
        return
    points = [_mapping(p, "list", where) for p in _nonempty(given, "list", where)]
    fields = list(dict.fromkeys(name for point in points for name in point))
    for point in points:
        if set(point) != set(fields):
            lacks = sorted(set(fields) - set(point))
            raise UserError(
                f"A point of the list of {where} lacks {', '.join(lacks)}. Expected "
                "the same fields in every point."
            )
    yield [Point(dict(p), dict(p)) for p in points]


def _folds(given: Any, where: str) -> Iterable[list[Point]]:
    """Named parts of the recordings: what a fold means is said by its fields."""
    if given is None:
        return
    if isinstance(given, int) and not isinstance(given, bool) and given > 0:
        check_count(given, f"The folds of {where} give")
        given = {str(i): {} for i in range(given)}
    if not isinstance(given, Mapping) or not given:
        raise UserError(
            f"The folds of {where} are {_short(given)}. Expected their number, or a "
            "dict of fields by fold, such as {'a': {'data.mice': ('b', 'c')}}."
        )
    yield [
        Point({FOLD: str(name)}, _mapping(fields, f"fold '{name}'", where))
        for name, fields in given.items()
    ]


def _seeds(given: Any, where: str) -> Iterable[list[Point]]:
    if given is None:
        return
    if isinstance(given, int) and not isinstance(given, bool):
        check_count(given, f"The seeds of {where} give")
        given = list(range(given))
    seeds = _nonempty(given, "seeds", where)
    if any(type(seed) is not int for seed in seeds):
        raise UserError(
            f"The seeds of {where} are {_short(given)}. Expected whole numbers, or how "
            "many there are."
        )
    yield [Point({SEED: seed}, {"seed": seed}) for seed in seeds]


def _draws(given: Any, where: str) -> Iterable[list[Point]]:
    """Random points; more of them leave the first ones as they are."""
    if given is None:
        return
    given = _mapping(given, "draws", where)
    count, seed = given.pop("count", None), given.pop("seed", 0)
    if not (_whole(count, 1) and _whole(seed, 0) and given):
        raise UserError(
            f"The draws of {where} have count {count!r}, seed {seed!r} and "
            f"{len(given)} fields. Expected 'count' of 1 or more, and at least one "
            "field with its range, such as 'train.rate': ['log_uniform', 1e-4, 1e-2]."
        )
    check_count(count, f"The draws of {where} give")
    for field, spread in given.items():
        check_range(field, spread, where)
    yield [
        Point(point, dict(point))
        for point in (
            {field: _drawn(spread, seed, i, field) for field, spread in given.items()}
            for i in range(count)
        )
    ]


def check_range(field: str, spread: Any, where: str) -> None:
    """Refuse what nothing can be drawn from."""
    parts: list[Any] = [*spread] if isinstance(spread, list | tuple) else []
    kind, ends = parts[0] if parts else None, parts[1:]
    if kind == "choice":
        good = len(ends) == 1 and isinstance(ends[0], Sequence) and ends[0]
        good = good and not isinstance(ends[0], str)
    else:
        whole = (int,) if kind == "integer" else (int, float)
        good = kind in DRAWN and len(ends) == 2 and all(type(x) in whole for x in ends)
        good = good and -FARTHEST < ends[0] < ends[1] < FARTHEST
        good = good and (kind != "log_uniform" or ends[0] > 0)
    if not good:
        raise UserError(
            f"The range of '{field}' in {where} is {_short(spread)}. "
            f"{did_you_mean(str(kind), DRAWN)}Expected ['uniform', low, high], "
            "['log_uniform', low, high], ['integer', first, last] or ['choice', "
            "[values]], with low below high."
        )


def _drawn(spread: Sequence[Any], seed: int, i: int, field: str) -> Any:
    random = np.random.default_rng([seed, i, zlib.crc32(field.encode())])
    kind = spread[0]
    if kind == "choice":
        return spread[1][int(random.integers(len(spread[1])))]
    low, high = spread[1:]
    if kind == "integer":
        return int(random.integers(low, high + 1))
    if kind == "log_uniform":
        value = math.exp(random.uniform(math.log(low), math.log(high)))
    else:
        value = random.uniform(low, high)
    return rounded(value)


def rounded(value: float) -> float:
    """A drawn number with no more digits than a person would write."""
    return float(f"{value:.6g}")


def _checked_search(given: dict[str, Any], where: str) -> dict[str, Any]:
    """A search's trials, seed and ranges."""
    given = {"seed": 0, "prune": True, **given}
    count: Any = given.get("count")
    seed = given["seed"]
    fields = {k: v for k, v in given.items() if k not in CONTROL}
    if not (_whole(count, 1) and _whole(seed, 0) and fields):
        raise UserError(
            f"The search of {where} has count {count!r}, seed {seed!r} and "
            f"{len(fields)} fields. "
            "Expected 'count' of 1 or more trials, and at least one field with its "
            "range, such as 'train.rate': ['log_uniform', 1e-4, 1e-2]."
        )
    check_count(count, f"The search of {where} gives")
    for field, spread in fields.items():
        check_range(field, spread, where)
    return given


def _whole(value: Any, least: int) -> bool:
    return type(value) is int and least <= value < FARTHEST


def _short(value: Any) -> str:
    words = repr(value)
    return words if len(words) < 80 else f"{words[:77]}..."
