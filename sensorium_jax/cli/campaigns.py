"""Verbs about many runs: launch, runs."""

import argparse
import ast
from typing import Any

from sensorium_jax.cli.verb import add, count, number, runs
from sensorium_jax.stop import stop_on_signals


def _option(word: str) -> tuple[str, Any]:
    """NAME=VALUE; a value that Python reads as a number, list or dict is one."""
    name, equals, value = word.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{word!r}: expected NAME=VALUE")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def launch_verb(verbs: Any) -> None:
    """Campaigns."""

    def call(a, overrides):
        with stop_on_signals():
            from sensorium_jax.run.launch import launch

            ours = ("call", "takes_config", "usage", "json", "given", "slurm")
            flags = {k: v for k, v in vars(a).items() if k not in ours}
            flags["slurm"] = None if a.slurm is None else dict(a.slurm)
            return launch(overrides=overrides, options=dict(a.given), **flags)

    words = "Do the runs of a campaign's file; repeated, it goes on where it was."
    verb = add(verbs, "launch", words, call, config=True)
    words = "Python file with get_campaign(); without it, the campaign that lies in DIR"
    verb.add_argument("file", nargs="?", metavar="FILE.py", help=words)
    verb.add_argument(
        "--workdir", required=True, metavar="DIR", help="a folder for all runs"
    )
    words = "say every run and what it costs, and do nothing"
    verb.add_argument("--dry-run", action="store_true", help=words)
    words = "an argument of get_campaign(), as seeds=3"
    verb.add_argument(
        *("--with",),
        dest="given",
        action="append",
        default=[],
        type=_option,
        metavar="NAME=VALUE",
        help=words,
    )
    words = "runs at a time, each on its part of the cores (1)"
    verb.add_argument("--jobs", type=count, default=0, metavar="N", help=words)
    words = "GPUs of each run; as many runs at a time as that leaves room for"
    verb.add_argument("--gpus", type=number, default=0, metavar="N", help=words)
    verb.add_argument("--retry", action="store_true", help="run what has failed again")
    verb.add_argument("--only", metavar="RUN", help="one run, by its name in the table")
    words = "write a shell line for each run instead, for another scheduler"
    verb.add_argument("--commands", metavar="FILE", help=words)
    words = "queue every run as a job, as --slurm partition=gpu gpus_per_node=1"
    verb.add_argument(
        "--slurm", nargs="*", type=_option, metavar="NAME=VALUE", help=words
    )
    words = "another run, whose steps take as long as those not measured yet"
    verb.add_argument("--like", metavar="WORKDIR", help=words)
    verb.epilog = "Change a field of every training with --config.section.name=value."


def runs_verb(verbs: Any) -> None:
    """Many runs side by side."""
    words = "Runs side by side: what differs, how far, how good, which is better."
    verb = add(verbs, "runs", words, runs("runs"))
    words = "workdirs, or folders of them such as a campaign's"
    verb.add_argument("folders", nargs="+", metavar="DIR", help=words)
    words = "a column, such as score, seconds, or a field that differs"
    verb.add_argument("--sort", metavar="COLUMN", help=words)
    words = "judge the best step of every run beside null and ceiling; kept beside it"
    verb.add_argument("--score", action="store_true", help=words)
    words = "is the first of two runs better? on the same resampled trials; repeatable"
    verb.add_argument(
        "--pair", nargs=2, action="append", default=[], metavar=("A", "B"), help=words
    )
    words = "other recordings to judge by than each run's own"
    verb.add_argument("--data", metavar="DATA", help=words)
    verb.add_argument("--tier", default="val", help="to judge by (val)")
    verb.add_argument("--draws", type=count, default=200, help="resamples of trials")
    verb.add_argument("--csv", metavar="OUT", help="the table as a file")
    words = "scores by the values of a column, for each folder of runs; as trials"
    verb.add_argument("--along", metavar="COLUMN", help=words)
    words = "learning curves of all runs, or scores --along (.png, .svg, .pdf)"
    verb.add_argument("--figure", metavar="FILE", help=words)
