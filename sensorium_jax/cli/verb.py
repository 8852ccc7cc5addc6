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


def runs(verb: str) -> Callable[..., Any]:
    """The function of run/<verb>.py of that name, called with the verb's flags."""

    def call(args, _):
        ours = ("call", "takes_config", "usage", "json")
        flags = {k: v for k, v in vars(args).items() if k not in ours}
        return getattr(import_module(f"sensorium_jax.run.{verb}"), verb)(**flags)

    return call
