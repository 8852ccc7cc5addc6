"""How a verb is added to the command, and how it calls its function in run/."""

import argparse
from collections.abc import Callable
from importlib import import_module
from typing import Any


def add(
    verbs: Any, name: str, words: str, call: Callable[..., Any], *, config: bool = False
) -> argparse.ArgumentParser:
    """A verb with its words and what it calls; config: takes --config.a.b=value."""
    verb = verbs.add_parser(name, help=words, description=words, allow_abbrev=False)
    verb.set_defaults(call=call, takes_config=config, usage=verb.prog)
    verb.add_argument("--json", action="store_true", help="one JSON object on stdout")
    return verb


def count(word: str) -> int:
    """A flag's whole number of 1 or more."""
    if not word.isdigit() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word!r}: expected 1 or more")
    return int(word)


def number(word: str) -> int:
    """A flag's whole number of 0 or more."""
    if not word.isdigit():
        raise argparse.ArgumentTypeError(f"{word!r}: expected 0 or more")
    return int(word)


def seconds(word: str) -> float:
    """A flag's time above zero."""
    try:
        found = float(word)
    except ValueError:
        found = 0.0
    if not 0 < found < 1e6:
        raise argparse.ArgumentTypeError(f"{word!r}: expected a number above 0")
    return found


def runs(verb: str) -> Callable[..., Any]:
    """The function of run/<verb>.py of that name, called with the verb's flags."""

    def call(args, _):
        ours = ("call", "takes_config", "usage", "json")
        flags = {k: v for k, v in vars(args).items() if k not in ours}
        return getattr(import_module(f"sensorium_jax.run.{verb}"), verb)(**flags)

    return call
