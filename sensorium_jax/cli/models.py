"""Verbs about models: train, zoo."""

from typing import Any

from sensorium_jax.cli.verb import add, count
from sensorium_jax.stop import stop_on_signals


def train_verb(verbs: Any) -> None:
    """Train recipes."""

    def call(a, overrides):
        with stop_on_signals():  # before the import, which takes seconds
            from sensorium_jax.run.train import train

            flags = {"fresh": a.fresh, "profile": a.profile}
            return train(a.config, a.workdir, overrides, **flags)

    words = "Train a recipe; a workdir that holds a run continues it."
    verb = add(verbs, "train", words, call, config=True)
    verb.add_argument(
        "--config", required=True, help="a recipe's name, or the path of a config file"
    )
    verb.add_argument("--workdir", required=True, help="where checkpoints and logs go")
    verb.add_argument(
        "--fresh", action="store_true", help="delete the run that is there"
    )
    verb.add_argument("--profile", action="store_true", help="trace the run (profile/)")
    verb.epilog = "Change any field of the recipe with --config.section.name=value."


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
    call = run(lambda zoo, a: zoo.show(a.name, mice=a.mice, neurons=a.neurons))
    show = add(actions, "show", "Parts of a model and their sizes.", call)
    show.add_argument("name")
    show.add_argument("--mice", type=count, default=1)
    show.add_argument("--neurons", type=count, default=8000, help="of each mouse")
    call = run(lambda zoo, a: zoo.import_file(a.file, arch=a.arch, out=a.out))
    load = add(actions, "import", "Convert weights of the originals (.pth).", call)
    load.add_argument("file")
    load.add_argument("--arch", required=True, help="which model; see zoo list")
    load.add_argument("--out", required=True, help="checkpoint folder to write")
    call = run(lambda zoo, a: zoo.fetch(a.name, source=a.source))
    fetch = add(actions, "fetch", "Download published weights and convert.", call)
    fetch.add_argument("name")
    fetch.add_argument("--from", dest="source", metavar="URL", help="mirror's folder")
