"""The `sensorium` command: verbs and flags in, a call into run/ out; nothing else."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence

from sensorium_jax import __version__
from sensorium_jax.cli import bring, models, recordings, scores
from sensorium_jax.errors import UserError

WORDS = "Models of mouse visual cortex: recordings, training, scores, submissions."

OK, FAULT, USAGE, INTERRUPT = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; 0 done, 1 bad input, 2 bad usage, 130 interrupted."""
    parser = build()
    args, overrides = parser.parse_known_args(argv)
    if overrides and not (args.takes_config and all(map(_is_override, overrides))):
        parser.error(
            f"unknown arguments: {' '.join(overrides)}; see {args.usage} --help"
        )
    try:
        outcome = args.call(args, overrides)
        if getattr(args, "json", False):
            print(json.dumps(outcome.data, allow_nan=False, default=float), flush=True)
        elif outcome.text:
            print(outcome.text, flush=True)
    except UserError as error:
        return _say(str(error), FAULT)
    except KeyboardInterrupt:
        return _say("interrupted", INTERRUPT)
    except BrokenPipeError:
        # Whoever read the output has gone; nothing more can be said to them.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (FileExistsError, NotADirectoryError) as error:
        words = f"{error.filename} is a file, expected a folder; give another path."
        return _say(words, FAULT)
    except OSError as error:
        return _say(f"{error}. Check the path, its permissions and the disk.", FAULT)
    return outcome.code


def _say(words: str, code: int) -> int:
    print(f"sensorium: {words}", file=sys.stderr)
    return code


def _is_override(word: str) -> bool:
    return word.startswith(("--config.", "--noconfig.")) and (
        "=" in word or word.startswith("--noconfig.")
    )


def build() -> argparse.ArgumentParser:
    """The parser; verbs import what they call only when called."""
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
    models.zoo_verbs(verbs)
    scores.score_verbs(verbs)
    scores.submit_verbs(verbs)
    return parser
