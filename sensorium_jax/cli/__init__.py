"""The `sensorium` command: verbs and flags in, a call into run/ out; nothing else."""

import argparse
import contextlib
import io
import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from sensorium_jax import __version__
from sensorium_jax.cli import compiling
from sensorium_jax.errors import UsageError, UserError
from sensorium_jax.stop import ends_in_time
from sensorium_jax.text import printable

WORDS = "Models of mouse visual cortex: recordings, training, scores, submissions."

LONGEST = 4000  # characters of an error; more of it would come from a file
OK, FAULT, USAGE, INTERRUPT = 0, 1, 2, 130


def start() -> NoReturn:
    """The program `sensorium`: main, and an end that a Ctrl-C cannot spoil.

    After one the program leaves without taking Python apart, which threads of libraries
    do not always survive.
    """
    code, ending, told = INTERRUPT, None, False
    try:
        with ends_in_time(_leave) as ending:
            compiling.settle()
            code = main()
            told = code == INTERRUPT
    except KeyboardInterrupt:  # while main began, or spoke
        pass
    except Exception:
        if not (ending and ending.ordered):
            raise
    # Other processes of a run must be told that this one ends, which may take long.
    jax = sys.modules.get("jax")
    alone = not (jax and jax.distributed.is_initialized())
    # Else the work is done, and a Ctrl-C while Python ends would make it look undone.
    signal.signal(signal.SIGINT, signal.SIG_IGN if alone else signal.SIG_DFL)
    if alone and (code == INTERRUPT or (ending and ending.ordered)):
        _leave(told=told)
    sys.exit(code)


def _leave(*, told: bool = False) -> None:
    """End the program at once, as interrupted."""
    with contextlib.suppress(Exception):
        if not told:
            print("sensorium: interrupted", file=sys.stderr)
            if "--json" in sys.argv:
                _print_failure("interrupted", INTERRUPT)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    os._exit(INTERRUPT)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; 0 done, 1 bad input, 2 bad usage, 130 interrupted.

    With --json, standard output is one JSON object, which after a failure says why.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    args = argparse.Namespace(json="--json" in words)
    try:
        args, overrides = _parsed(words)
        outcome = args.call(args, overrides)
        if args.json:
            print(json.dumps(outcome.data, allow_nan=False, default=float), flush=True)
        elif outcome.text:
            print(printable(outcome.text), flush=True)
    except BrokenPipeError:
        # Whoever read the output has gone; nothing more can be said to them.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (UserError, OSError, KeyboardInterrupt) as error:
        reason, code = _reason(error)
        reason = printable(reason)
        if len(reason) > LONGEST:
            reason = f"{reason[:LONGEST]} ... ({len(reason)} characters)"
        print(f"sensorium: {reason}", file=sys.stderr)
        if args.json:
            _print_failure(reason, code)
        return code
    except Exception as error:
        if args.json:
            _print_failure(f"{type(error).__name__}: {error}", FAULT)
        raise  # nobody foresaw it: its traceback is for whoever mends it
    return outcome.code


def _reason(error: BaseException) -> tuple[str, int]:
    """What to say of a failure that was foreseen, and its exit code."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", INTERRUPT
    if isinstance(error, UserError):
        return str(error), USAGE if isinstance(error, UsageError) else FAULT
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        said = f"{error.filename} is a file, expected a folder; give another path."
        return said, FAULT
    return f"{error}. Check the path, its permissions and the disk.", FAULT


def _parsed(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Flags, and what changes a recipe's fields; bad usage leaves with code 2."""
    parser = build()
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            args, overrides = parser.parse_known_args(words)
            if overrides and not (
                args.takes_config and all(map(_is_override, overrides))
            ):
                parser.error(
                    f"unknown arguments: {' '.join(overrides)}; see {args.usage} --help"
                )
    except SystemExit as leaving:
        print(said.getvalue(), end="", file=sys.stderr)
        if leaving.code and "--json" in words:
            reason = said.getvalue().rpartition("error: ")[2]
            _print_failure(" ".join(reason.split()), USAGE)
        raise
    return args, overrides


def _print_failure(words: str, code: int) -> None:
    """What --json has on standard output where there is no result."""
    print(json.dumps({"error": words, "code": code}), flush=True)


def _is_override(word: str) -> bool:
    return word.startswith(("--config.", "--noconfig.")) and (
        "=" in word or word.startswith("--noconfig.")
    )


def build() -> argparse.ArgumentParser:
    """The parser; verbs import what they call only when called."""
    # Here, so that a Ctrl-C while they are read is heard by start.
    from sensorium_jax.cli import (
        bring,
        campaigns,
        completion,
        explained,
        insilico,
        models,
        recordings,
        scores,
    )

    parser = argparse.ArgumentParser(
        prog="sensorium", description=WORDS, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    scores.demo_verb(verbs)
    recordings.data_verbs(verbs)
    recordings.trust_verbs(verbs)
    recordings.convert_verb(verbs)
    bring.import_verb(verbs)
    recordings.simulate_verb(verbs)
    models.train_verb(verbs)
    models.ensemble_verb(verbs)
    models.zoo_verbs(verbs)
    campaigns.launch_verb(verbs)
    campaigns.runs_verb(verbs)
    scores.score_verbs(verbs)
    scores.submit_verbs(verbs)
    insilico.insilico_verbs(verbs)
    completion.completion_verb(verbs, parser)
    explained.explain(parser)
    return parser
