"""Verbs about models: train, ensemble, zoo."""

import argparse
import re
from typing import Any

from sensorium_jax.cli.explained import recipes
from sensorium_jax.cli.verb import add, count, number, runs, seconds
from sensorium_jax.errors import UsageError
from sensorium_jax.rules import NAMES as RULES
from sensorium_jax.stop import stop_on_signals


def _frame(word: str) -> tuple[int, int, int]:
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})(?:x([1-4]))?", word)
    if not match:
        words = f"{word!r}: expected HEIGHTxWIDTH, as 36x64, or with channels 36x64x3"
        raise argparse.ArgumentTypeError(words)
    return int(match[1]), int(match[2]), int(match[3] or 1)


def _sizes(a: argparse.Namespace) -> dict[str, Any]:
    """The flags of `zoo show` that were given."""
    names = ("mice", "neurons", "frame", "behaviors", "scale", "data", "change")
    given = {n: getattr(a, n) for n in names if getattr(a, n) is not None}
    twice = [n for n in ("mice", "neurons", "frame", "behaviors") if n in given]
    if a.data and twice:
        raise UsageError(f"--data says how many and how large; leave out --{twice[0]}.")
    return given


def train_verb(verbs: Any) -> None:
    """Train recipes."""

    def call(a, overrides):
        with stop_on_signals():  # before the import, which takes seconds
            if a.print_config:
                from sensorium_jax.run.config import shown

                return shown(a.config, overrides)
            from sensorium_jax.run.train import train

            flags = {"fresh": a.fresh, "profile": a.profile}
            return train(a.config, a.workdir, overrides, **flags)

    words = "Train a recipe; a workdir that holds a run continues it."
    verb = add(verbs, "train", words, call, config=True)
    words = f"a recipe ({recipes()}), or the path of a config file"
    verb.add_argument("--config", required=True, metavar="NAME", help=words)
    either = verb.add_mutually_exclusive_group(required=True)
    either.add_argument("--workdir", help="where checkpoints and logs go")
    words = "print every field of the recipe, with what it changes, and train nothing"
    either.add_argument("--print-config", action="store_true", help=words)
    verb.add_argument(
        "--fresh", action="store_true", help="delete the run that is there"
    )
    verb.add_argument("--profile", action="store_true", help="trace the run (profile/)")
    verb.epilog = "Change any field of the recipe with --config.section.name=value."


def ensemble_verb(verbs: Any) -> None:
    """Several models as one."""
    words = "Several trained models as one, which answers with the mean of their rates."
    verb = add(verbs, "ensemble", words, runs("ensemble"))
    words = "runs, of which the best step is taken, checkpoints, or published models"
    verb.add_argument("models", nargs="+", help=words, metavar="MODEL")
    verb.add_argument("--out", required=True, help="folder to write, for --model")
    words = "recordings they were made of, where they answer in different units"
    verb.add_argument("--data", help=words, metavar="FOLDER")
    words = "other rules than the recordings': frames skipped, tiers"
    verb.add_argument("--rules", choices=RULES, help=words)


def zoo_verbs(verbs: Any) -> None:
    """Models by name."""
    words = "Models by name: sizes, published weights."
    zoo = verbs.add_parser("zoo", help=words, description=words, allow_abbrev=False)
    actions = zoo.add_subparsers(title="actions", required=True, metavar="ACTION")

    def run(call):
        def act(a, _):
            from sensorium_jax.run import zoo

            return call(zoo, a)

        return act

    add(actions, "list", "Every model.", run(lambda zoo, a: zoo.listing()))
    call = run(lambda zoo, a: zoo.show(a.name, **_sizes(a)))
    show = add(actions, "show", "Parts of a model and their sizes.", call)
    show.add_argument("name", help="one of zoo list")
    words = "recordings that it is for, instead of the sizes below"
    show.add_argument("--data", help=words, metavar="FOLDER")
    show.add_argument("--mice", type=count, help="how many (1)")
    show.add_argument("--neurons", type=count, help="of each mouse")
    words = "frames as recorded, HxW or HxWxC; those of its original"
    show.add_argument("--frame", type=_frame, help=words, metavar="36x64")
    show.add_argument("--behaviors", type=number, help="signals of behavior")
    words = "of the frames, as config.data.scale; the preset's own"
    show.add_argument("--scale", type=seconds, help=words)
    words = "parts of the model, as config.model.json"
    show.add_argument("--change", default="", help=words, metavar="JSON")
    call = run(lambda zoo, a: zoo.import_file(a.file, arch=a.arch, out=a.out))
    load = add(actions, "import", "Convert weights of the originals (.pth).", call)
    load.add_argument("file", help="weights that torch.save has written")
    load.add_argument("--arch", required=True, help="which model; see zoo list")
    load.add_argument("--out", required=True, help="checkpoint folder to write")
    call = run(lambda zoo, a: zoo.fetch(a.name, source=a.source))
    fetch = add(actions, "fetch", "Download published weights and convert.", call)
    fetch.add_argument("name", help="one that has published weights; see zoo list")
    fetch.add_argument("--from", dest="source", metavar="URL", help="mirror's folder")
