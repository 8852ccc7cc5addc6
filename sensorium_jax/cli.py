"""The `sensorium` command: verbs and flags in, a call into run/ out; nothing else."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from sensorium_jax import __version__
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
    _data_verbs(verbs)
    _trust_verbs(verbs)
    _convert_verb(verbs)
    _simulate_verb(verbs)
    _train_verb(verbs)
    _zoo_verbs(verbs)
    _submit_verbs(verbs)
    return parser


def _verb(
    verbs: Any, name: str, words: str, call: Callable[..., Any], *, config: bool = False
) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=words, description=words, allow_abbrev=False)
    verb.set_defaults(call=call, takes_config=config, usage=verb.prog)
    verb.add_argument("--json", action="store_true", help="one JSON object on stdout")
    return verb


def _runs(verb: str) -> Callable[..., Any]:
    """The function of run/<verb>.py of that name, called with the verb's flags."""

    def call(args, _):
        ours = ("call", "takes_config", "usage", "json")
        flags = {k: v for k, v in vars(args).items() if k not in ours}
        return getattr(import_module(f"sensorium_jax.run.{verb}"), verb)(**flags)

    return call


def _data_verbs(verbs: Any) -> None:
    def info(a, _):
        from sensorium_jax.run import data

        return data.info(a.data)

    verb = _verb(verbs, "info", "What a folder of recordings holds.", info)
    verb.add_argument("data", help="official tree, store, or URL of a store")


def _trust_verbs(verbs: Any) -> None:
    def check(a, _):
        from sensorium_jax.run.check import check

        return check(a.data, deep=a.deep)

    verb = _verb(verbs, "check", "Find what would stop a run or spoil it.", check)
    verb.add_argument("data", help="official tree, one mouse, store, or URL of a store")
    verb.add_argument("--deep", action="store_true", help="read every array")

    verb = _verb(
        verbs, "download", "Fetch official recordings from GIN.", _runs("download")
    )
    verb.add_argument(
        "what",
        nargs="+",
        help="2023-new, 2023-old, 2022, or a mouse such as 29515-10-12",
    )
    verb.add_argument("--to", required=True, help="folder that gets a folder per mouse")
    verb.add_argument(
        "--dry-run", action="store_true", help="ask for sizes, fetch none"
    )
    verb.add_argument("--from", dest="source", metavar="URL", help="mirror of the zips")
    verb.add_argument("--keep-zips", action="store_true", help="keep what was unpacked")
    verb.add_argument(
        "--stall", type=float, default=60.0, help="seconds without data before a retry"
    )


def _convert_verb(verbs: Any) -> None:
    def call(a, _):
        from sensorium_jax.run.convert import convert

        options = {"responses": a.responses, "threads": a.threads}
        return convert(a.data, a.store, verify=a.verify, **options)

    words = "Write recordings as a store that streams from disk or a URL."
    verb = _verb(verbs, "convert", words, call)
    verb.add_argument("data", help="official tree, or another store")
    verb.add_argument("store", help="folder to write; a run that was killed goes on")
    words = "compare checksums and every array with the source, and mend what differs"
    verb.add_argument("--verify", action="store_true", help=words)
    verb.add_argument("--responses", default="float32", choices=("float32", "float16"))
    verb.add_argument("--threads", type=int, default=4, help="trials read at a time")


def _simulate_verb(verbs: Any) -> None:
    words = "Write recordings of a simulated cortex."
    verb = _verb(verbs, "simulate", words, _runs("simulate"))
    verb.add_argument("out", help="folder to write; a run that was killed goes on")
    presets = ("tiny", "demo", "bench", "centered")
    verb.add_argument("--preset", default="demo", choices=presets)
    verb.add_argument("--year", type=int, default=2023, choices=(2022, 2023))
    verb.add_argument("--seed", type=int, default=0)
    verb.add_argument("--trials", type=int, help="trials of each mouse")
    verb.add_argument(
        "--hide-tests", action="store_true", help="zero the responses of the tests"
    )
    verb.add_argument(
        "--centered", action="store_true", help="all fields in the screen's middle"
    )


def _train_verb(verbs: Any) -> None:
    def call(a, overrides):
        from sensorium_jax.run.train import train

        return train(a.config, a.workdir, overrides, fresh=a.fresh, profile=a.profile)

    words = "Train a recipe; a workdir that holds a run continues it."
    verb = _verb(verbs, "train", words, call, config=True)
    verb.add_argument(
        "--config", required=True, help="a recipe's name, or the path of a config file"
    )
    verb.add_argument("--workdir", required=True, help="where checkpoints and logs go")
    verb.add_argument(
        "--fresh", action="store_true", help="delete the run that is there"
    )
    verb.add_argument("--profile", action="store_true", help="trace the run (profile/)")
    verb.epilog = "Change any field of the recipe with --config.section.name=value."


def _zoo_verbs(verbs: Any) -> None:
    words = "Models by name: sizes, published weights."
    zoo = verbs.add_parser("zoo", help=words, description=words, allow_abbrev=False)
    actions = zoo.add_subparsers(title="actions", required=True, metavar="ACTION")

    def run(call):
        def act(a, _):
            from sensorium_jax.run import zoo

            return call(zoo, a)

        return act

    _verb(actions, "list", "Every model.", run(lambda zoo, a: zoo.listing()))
    call = run(lambda zoo, a: zoo.show(a.name, mice=a.mice, neurons=a.neurons))
    show = _verb(actions, "show", "Parts of a model and their sizes.", call)
    show.add_argument("name")
    show.add_argument("--mice", type=int, default=1)
    show.add_argument("--neurons", type=int, default=8000, help="of each mouse")
    call = run(lambda zoo, a: zoo.import_file(a.file, arch=a.arch, out=a.out))
    load = _verb(actions, "import", "Convert weights of the originals (.pth).", call)
    load.add_argument("file")
    load.add_argument("--arch", required=True, help="which model; see zoo list")
    load.add_argument("--out", required=True, help="checkpoint folder to write")
    call = run(lambda zoo, a: zoo.fetch(a.name, source=a.source))
    fetch = _verb(actions, "fetch", "Download published weights and convert.", call)
    fetch.add_argument("name")
    fetch.add_argument("--from", dest="source", metavar="URL", help="mirror's folder")


def _submit_verbs(verbs: Any) -> None:
    words = "Write a competition's files with a model, or validate files."
    verb = _verb(verbs, "submit", words, _runs("submit"))
    verb.add_argument("--data", required=True, help="official tree, store, or its URL")
    tracks = ("main", "bonus", "sensorium", "sensorium+")
    verb.add_argument("--track", default="main", choices=tracks)
    verb.add_argument("--workdir", help="run whose best step predicts")
    verb.add_argument("--model", help="or checkpoint folder or published model's name")
    verb.add_argument("--out", help="folder to write")
    verb.add_argument("--tier", help="others than the track's, as oracle,train")
    verb.add_argument("--names", default="server", choices=("server", "kit"))
    verb.add_argument("--mouse", help="whom a file of 2022 is about; part of its name")
    units, words = ("normalized", "raw"), "what the model answers in"
    verb.add_argument("--units", default=units[0], choices=units, help=words)
    verb.add_argument("--float32", action="store_true", help="half the bytes of 2023")
    verb.add_argument("--validate", nargs="+", metavar="FILE", help="write nothing")

    words = "The judges' numbers of submissions, where labels exist."
    verb = _verb(verbs, "evaluate", words, _runs("evaluate"))
    verb.add_argument("files", nargs="+", metavar="FILE", help="ours or another tool's")
    verb.add_argument("--data", required=True, help="recordings they are about")
    verb.add_argument("--ground-truth", metavar="G", help="file or labelled recordings")
    verb.add_argument("--tier", help="only this tier")
    verb.add_argument("--mouse", help="whom a file of 2022 is about; part of its name")
    verb.add_argument("--csv", metavar="OUT", help="the leaderboard as a file")


if __name__ == "__main__":
    sys.exit(main())
