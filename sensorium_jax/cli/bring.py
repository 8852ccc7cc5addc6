"""The verb import: recordings of other formats."""

import argparse
import re
from typing import Any

from sensorium_jax.cli.verb import add, seconds
from sensorium_jax.errors import UsageError


def import_verb(verbs: Any) -> None:
    """Other formats in, a tree out."""

    def call(a, _):
        if a.out is None and not a.show:
            raise UsageError("Say where to write to: sensorium import SOURCE OUT")
        from sensorium_jax.run.bring import bring

        ours = ("call", "takes_config", "usage", "json", "source", "out")
        flags = {k: v for k, v in vars(a).items() if k not in ours}
        return bring(a.source, a.out, **flags)

    words = "Write NWB, suite2p, experanto or own arrays as recordings of this package."
    verb = add(verbs, "import", words, call)
    verb.add_argument("source", help=".nwb, its URL, a folder, or a .yaml description")
    verb.add_argument("out", nargs="?", help="folder that gets a folder per recording")
    verb.add_argument("--list", dest="show", action="store_true", help="what is there")
    verb.add_argument("--dry-run", action="store_true", help="say it, write nothing")
    verb.add_argument("--name", help="of the recording's folder")
    words = "draw no page of what was written"
    verb.add_argument("--no-figure", dest="figure", action="store_false", help=words)
    _sources(verb)
    _clocks(verb)
    _frames(verb)


def _sources(verb: argparse.ArgumentParser) -> None:
    """Which part of the source is what."""
    verb.add_argument("--stimulus", help="series or file of the film", metavar="PATH")
    verb.add_argument(
        "--response", help="series of responses; spks or F", metavar="PATH"
    )
    verb.add_argument(
        "--behavior", help="series of running and the like; none", metavar="PATH"
    )
    verb.add_argument(
        "--pupil", help="the pupil's center, two columns; none", metavar="PATH"
    )
    verb.add_argument("--trials", help="table of trials; none to cut", metavar="PATH")
    verb.add_argument("--tiers", metavar="COLUMN", help="of that table; none")
    for what in ("stimulus", "response", "behavior", "pupil"):
        words = f"file of the times of --{what}, in seconds, or samples per second"
        verb.add_argument(f"--{what}-times", help=words, metavar="PATH")
    words = "share of Fneu that suite2p's F loses (0.7)"
    verb.add_argument("--neuropil", type=_share, default=0.7, help=words)


def _clocks(verb: argparse.ArgumentParser) -> None:
    """How signals are brought to frames, and where trials begin."""
    methods = ("linear", "nearest", "mean")
    verb.add_argument("--method", choices=methods, help="to bring signals to frames")
    words = "seconds of a trial where there is no table"
    verb.add_argument("--trial-seconds", type=seconds, default=10.0, help=words)
    words = "seconds without samples from which on a trial is left out"
    verb.add_argument("--max-gap", type=seconds, default=0.5, help=words)
    words = "frames per second to write; those of the film"
    verb.add_argument("--rate", type=seconds, help=words)
    words = "each trial is one picture, and its responses the mean of a window"
    verb.add_argument("--pictures", action="store_true", help=words)
    verb.add_argument(
        "--window",
        type=_window,
        default=(0.05, 0.55),
        metavar="FROM,TO",
        help="seconds after a picture's onset (0.05,0.55)",
    )


def _frames(verb: argparse.ArgumentParser) -> None:
    """What becomes of values."""
    verb.add_argument("--size", type=_size, metavar="HxW", help="of frames, as 36x64")
    verb.add_argument(
        "--transpose", action="store_true", help="frames are [width, height]"
    )
    verb.add_argument("--clip", action="store_true", help="negative responses become 0")


def _size(word: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", word)
    if not match:
        raise argparse.ArgumentTypeError(f"{word!r}: expected HEIGHTxWIDTH, as 36x64")
    return int(match[1]), int(match[2])


def _share(word: str) -> float:
    try:
        share = float(word)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 2:
        raise argparse.ArgumentTypeError(f"{word!r}: expected a number from 0 to 2")
    return share


def _window(word: str) -> tuple[float, float]:
    try:
        first, last = (float(w) for w in word.split(","))
    except ValueError:
        first, last = 1.0, 0.0
    if not -10 < first < last < 100:
        raise argparse.ArgumentTypeError(f"{word!r}: expected FROM,TO, as 0.05,0.55")
    return first, last
