"""Verbs of experiments on twins: tune, rf."""

import argparse
from collections.abc import Callable
from importlib import import_module
from typing import Any

from sensorium_jax.cli.verb import add, count, number, seconds

CURVES = (
    *("orientation", "frequency", "tf", "size", "contrast"),
    *("size_contrast", "plaid"),
)


def insilico_verbs(verbs: Any) -> None:
    """Every experiment."""
    _tune(verbs)
    _rf(verbs)


def asks(verb: str) -> Callable[..., Any]:
    """The function of run/insilico/<verb>.py, called with the verb's flags."""

    def call(args, _):
        from sensorium_jax.run.insilico.asked import Asked

        ours = ("call", "takes_config", "usage", "json")
        flags = {k: v for k, v in vars(args).items() if k not in ours}
        given = {k: flags.pop(k) for k in Asked._fields if k in flags}
        module = import_module(f"sensorium_jax.run.insilico.{verb}")
        return getattr(module, verb)(Asked(**given), **flags)

    return call


def _verb(verbs: Any, name: str, words: str) -> argparse.ArgumentParser:
    """A verb with the flags that every experiment has."""
    verb = add(verbs, name, words, asks(name))
    verb.add_argument("--workdir", metavar="RUN", help="run whose best step is asked")
    words = "or checkpoints, or published models' names; several make an ensemble"
    verb.add_argument("--model", nargs="+", default=(), help=words, metavar="NAME")
    words = "or the true cells of a simulated tree"
    verb.add_argument("--truth", metavar="TREE", help=words)
    words = "number, name, or a part of a name that only it has (0)"
    verb.add_argument("--mouse", default="0", help=words)
    verb.add_argument("--neurons", help="such as 0-19,30 (all)", metavar="LIST")
    verb.add_argument("--out", required=True, help="folder to write, and to resume")
    verb.add_argument("--seed", type=number, default=0)
    words = "GB that a compiled program may take; results do not depend on it"
    verb.add_argument("--memory", type=seconds, help=words, metavar="GB")
    words = "frames per second, where the model does not say"
    verb.add_argument("--fps", type=seconds, help=words)
    words = "of visual angle, as recorded, where the model does not say"
    verb.add_argument("--degrees-per-pixel", type=seconds, help=words)
    words = "kept still, in the model's units; as usual in the recording"
    verb.add_argument("--behavior", type=float, nargs="+", help=words)
    verb.add_argument("--pupil", type=float, nargs=2, metavar=("X", "Y"), help=words)
    words = "draw no page"
    verb.add_argument("--no-figure", dest="figure", action="store_false", help=words)
    return verb


def _tune(verbs: Any) -> None:
    words = "Tuning: orientation, frequencies, size, contrast, plaids; with tests."
    verb = _verb(verbs, "tune", words)
    verb.add_argument(
        "--curves", nargs="+", default=CURVES, choices=CURVES, help="only these"
    )
    verb.add_argument("--orientations", type=count, default=12)
    verb.add_argument("--phases", type=count, default=4)
    words = "spatial, as 0.1cpp (cycles per pixel) or 0.04cpd (per degree)"
    verb.add_argument("--frequencies", nargs="+", default=(), help=words)
    verb.add_argument("--tfs", nargs="+", default=(), help="temporal, as 2Hz")
    verb.add_argument("--sizes", nargs="+", default=(), help="as 10px or 8deg")
    words = "of what is not varied in contrast, 0..1"
    verb.add_argument("--contrast", type=seconds, default=1.0, help=words)
    verb.add_argument("--draws", type=count, default=1000, help="permutations")


def _rf(verbs: Any) -> None:
    words = "Receptive fields from gradients or noise: place, size, angle, latency."
    verb = _verb(verbs, "rf", words)
    verb.add_argument("--method", default="gradient", choices=("gradient", "noise"))
    words = "pieces of noise: 8 for gradients, 1000 to be shown"
    verb.add_argument("--clips", type=count, help=words)
    words = "how the noise of gradients falls with frequency (1)"
    verb.add_argument("--exponent", type=float, default=1.0, help=words)
