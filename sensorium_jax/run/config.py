"""Recipes from names or paths, with changes from the command line."""

import json
import re
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from sensorium_jax import configs
from sensorium_jax.configs.base import base
from sensorium_jax.errors import UsageError, UserError, unknown
from sensorium_jax.run import Config, Outcome
from sensorium_jax.text import align

RENAMED = {"train.compute": "train.precision"}  # fields by their earlier names
SHIPPED = Path(configs.__file__).parent
NOT_RECIPES = {"__init__", "base"}


# What the code of a recipe raises may be anything; one that leaves Python is not to end
# a command as if all were well.
MISTAKES = (Exception, SystemExit)


def recipes() -> dict[str, Path]:
    """The file of every name that --config finds."""
    found = {p.stem: p for p in sorted(SHIPPED.rglob("*.py"))}
    return {name: p for name, p in found.items() if name not in NOT_RECIPES}


def find(name: str) -> Path:
    """The file of a recipe, by its name or its path."""
    path = Path(name)
    if path.suffix == ".py" or "/" in name:
        if not path.is_file():
            raise UserError(
                f"No config file {path}. Give the path of a Python file with "
                f"get_config(), or one of: {', '.join(recipes())}."
            )
        return path
    if name not in recipes():
        raise unknown("recipe", name, recipes(), "Or give the path of a config file.")
    return recipes()[name]


def load(name: str, overrides: Sequence[str] = ()) -> Config:
    """A config with `--config.a.b=value` changes applied; unknown fields are errors."""
    words = ["sensorium", f"--config={find(name)}", *map(renamed, overrides)]
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=words)
    try:
        with warnings.catch_warnings():  # it loads files in a way Python deprecates
            warnings.filterwarnings("ignore", "the load_module", DeprecationWarning)
            values(words)
            config: Config = values["config"].value
            config.to_dict()
    except MISTAKES as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise UserError(
            f"The config '{name}' does not load: {kind}{error}{_line(error, name)}"
        ) from error
    return config.copy_and_resolve_references()


def renamed(word: str) -> str:
    """A word of the command line with today's name of its field."""
    for old, new in RENAMED.items():
        if word.startswith(f"--config.{old}="):
            print(f"note: config.{old} is config.{new} now", file=sys.stderr)
            return word.replace(old, new, 1)
    return word


def _line(error: BaseException, name: str) -> str:
    """Where in a config's own file an error came up, if it did."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if Path(f.filename).name == find(name).name]
    return f" (line {own[-1].lineno} of {own[-1].filename})" if own else ""


def check_types(config: Config) -> None:
    """Refuse configs that lack a section, and fields of another type than usual."""
    for section, default in base().items():
        if not isinstance(default, ConfigDict):
            continue
        if not isinstance(config.get(section), ConfigDict):
            raise UsageError(
                f"The config has no section '{section}'. Begin a recipe with "
                "sensorium_jax.configs.base.base() and change its fields."
            )
        for name, usual in default.items():
            value = config[section].get(name, usual)
            if not isinstance(value, _kinds(usual)):
                raise UsageError(
                    f"config.{section}.{name} is {value!r}, expected "
                    f"{type(usual).__name__}, such as {usual!r}."
                )


def _kinds(usual: Any) -> tuple[type, ...]:
    """The types that may stand where a field's default is of this one."""
    if isinstance(usual, float):
        return (float, int)
    return (tuple, list) if isinstance(usual, tuple) else (type(usual),)


LEAST = {  # of fields that count something
    "train.steps": 0,
    "train.epochs": 0,
    "train.batch": 1,
    "train.frames": 1,
    "train.accumulate": 1,
    "train.warmup": 0,
    "train.burn_in": 0,
    "train.checkpoint_every": 0,
    "train.report_every": 1,
    "train.keep": 1,
    "train.prefetch": 0,
    "validate.every": 0,
    "validate.batch": 1,
    "validate.trials": 0,
    "validate.stages": 0,
    "validate.hop": 0,
    "data.stride": 0,
    "data.fold": -1,
    "mesh.mouse": 0,
    "mesh.data": 0,
}


def check_numbers(config: Config) -> None:
    """Refuse counts that are too low, before recordings are read."""
    for field, least in LEAST.items():
        section, name = field.split(".")
        value = config[section].get(name, least)
        if value < least:
            raise UsageError(
                f"config.{field} is {value}, expected {least} or more. Set "
                f"--config.{field}."
            )


REGEXES = ("frozen", "decay_rules", "rate_rules", "penalties", "bounds")  # of train


def check_regexes(config: Config) -> None:
    """Refuse patterns of parameters that are no regular expressions."""
    for name in REGEXES:
        rules = config.train.get(name, ())
        patterns = [rules] if isinstance(rules, str) else [rule[0] for rule in rules]
        for pattern in patterns:
            try:
                re.compile(pattern)
            except (re.error, TypeError, RecursionError) as error:
                raise UsageError(
                    f"config.train.{name} has {pattern!r}, which is no regular "
                    f"expression ({error}). Parameters are matched by their whole "
                    "name, such as 'core/.*'."
                ) from None


def shown(name: str, overrides: Sequence[str] = ()) -> Outcome:
    """Every field as `train` would take it, and the defaults that were changed.

    What a recipe leaves to the recordings, as `own` does, is left open.
    """
    config = load(name, overrides)
    check_types(config)
    check_numbers(config)
    check_regexes(config)
    plain, usual = (json.loads(c.to_json_best_effort()) for c in (config, base()))
    rows = []
    for section, fields in plain.items():
        pairs = fields.items() if isinstance(fields, dict) else [("", fields)]
        for field, value in pairs:
            whole = f"{section}.{field}".rstrip(".")
            of = usual.get(section)
            old = of.get(field) if isinstance(of, dict) else of
            changed = "" if value == old else f"(default {json.dumps(old)})"
            rows.append([f"config.{whole}", json.dumps(value), changed])
    return Outcome(plain, "\n".join(align(rows, left=3)))


def differences(a: Any, b: Any, path: str = "") -> list[str]:
    """Fields in which two plain configs differ, as 'train.rate: 0.1 was 0.2'."""
    if isinstance(a, dict) and isinstance(b, dict):
        found = []
        for key in sorted(a.keys() | b.keys()):
            below = f"{path}.{key}" if path else key
            found += differences(a.get(key), b.get(key), below)
        return found
    same = list(a) == list(b) if _both_lists(a, b) else a == b
    return [] if same else [f"{path}: {a!r} was {b!r}"]


def _both_lists(a: Any, b: Any) -> bool:
    return isinstance(a, (list, tuple)) and isinstance(b, (list, tuple))
