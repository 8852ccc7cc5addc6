"""Verbs about recordings: info, check, download, convert, simulate."""

from typing import Any

from sensorium_jax.cli.verb import add, count, number, runs, seconds
from sensorium_jax.rules import NAMES


def add_rules(verb: Any) -> None:
    """The flag that overrides what recordings were made for."""
    words = "what the recordings were made for; their own config.json says it otherwise"
    verb.add_argument("--rules", choices=NAMES, help=words)


def add_figure(verb: Any) -> None:
    """The flag of the page of pictures."""
    words = "draw a page of pictures of each mouse: frames, activity, repeats"
    verb.add_argument("--figure", metavar="FILE", help=f"{words} (.png, .svg, .pdf)")


def data_verbs(verbs: Any) -> None:
    """What recordings hold."""

    def info(a, _):
        from sensorium_jax.run import data

        return data.info(a.data, rules=a.rules, figure=a.figure)

    verb = add(verbs, "info", "What a folder of recordings holds.", info)
    verb.add_argument("data", help="official tree, store, or URL of a store")
    add_figure(verb)
    add_rules(verb)


def trust_verbs(verbs: Any) -> None:
    """Fetch recordings and look for faults."""

    def check(a, _):
        from sensorium_jax.run.check import check

        return check(a.data, deep=a.deep, rules=a.rules, figure=a.figure)

    verb = add(verbs, "check", "Find what would stop a run or spoil it.", check)
    verb.add_argument("data", help="official tree, one mouse, store, or URL of a store")
    verb.add_argument("--deep", action="store_true", help="read every array")
    add_figure(verb)
    add_rules(verb)

    verb = add(
        verbs, "download", "Fetch official recordings from GIN.", runs("download")
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
        "--stall",
        type=seconds,
        default=60.0,
        help="seconds without data before a retry",
    )


def convert_verb(verbs: Any) -> None:
    """Recordings as stores."""

    def call(a, _):
        from sensorium_jax.run.convert import convert

        options = {"responses": a.responses, "threads": a.threads, "rules": a.rules}
        options |= {"verify": a.verify, "neurons": a.neurons}
        return convert(a.data, a.store, **options)

    words = "Write recordings as a store that streams from disk or a URL."
    verb = add(verbs, "convert", words, call)
    verb.add_argument("data", help="official tree, or another store")
    verb.add_argument("store", help="folder to write; a run that was killed goes on")
    words = "compare checksums and every array with the source, and mend what differs"
    verb.add_argument("--verify", action="store_true", help=words)
    words, dtypes = "how responses are stored", ("float32", "float16")
    verb.add_argument("--responses", default=dtypes[0], choices=dtypes, help=words)
    verb.add_argument("--threads", type=count, default=4, help="trials read at a time")
    words = "share of each mouse's neurons to keep, above 0 and at most 1 (all)"
    verb.add_argument("--neurons", type=float, default=1.0, metavar="SHARE", help=words)
    add_rules(verb)


CORTEX = ("tiny", "demo", "bench", "centered", "types")
WORLDS = (
    *("retina", "monkey", "tiny_lab", "many_pixels"),
    *("fast_calcium", "sparse", "drifting"),
)


def simulate_verb(verbs: Any) -> None:
    """Recordings with known truth."""
    words = "Write recordings of simulated neurons: a cortex, or another world."
    verb = add(verbs, "simulate", words, runs("simulate"))
    verb.add_argument("out", help="folder to write; a run that was killed goes on")
    words = "cortex: tiny is 2 mice of 24 neurons, demo 3 of 200, bench 10 of 8,000; "
    words += f"worlds of their own size: {', '.join(WORLDS)}"
    presets = (*CORTEX, *WORLDS)
    verb.add_argument("--preset", default="demo", choices=presets, help=words)
    words, years = "pictures of 2022, or films of 2023 (cortex)", (2022, 2023)
    verb.add_argument("--year", type=int, default=2023, choices=years, help=words)
    words = "what all is drawn by; the same seed, the same bytes"
    verb.add_argument("--seed", type=number, default=0, help=words)
    verb.add_argument("--trials", type=count, help="trials of each mouse")
    verb.add_argument(
        "--hide-tests", action="store_true", help="zero the responses of the tests"
    )
    verb.add_argument(
        "--centered", action="store_true", help="all fields in the screen's middle"
    )
    words = "every cell of `types` at an orientation of its own"
    verb.add_argument("--turned", action="store_true", help=words)
