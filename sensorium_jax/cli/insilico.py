"""Verbs of experiments on twins: of single neurons, of kinds, of populations."""

import argparse
from collections.abc import Callable
from importlib import import_module
from typing import Any

from sensorium_jax.cli.verb import add, count, number, seconds

COUNTS = ("last", "mean", "peak")
CURVES = (
    *("orientation", "frequency", "tf", "size", "contrast"),
    *("size_contrast", "plaid"),
)


def insilico_verbs(verbs: Any) -> None:
    """Every experiment."""
    _tune(verbs)
    _mei(verbs)
    _rf(verbs)
    _screen(verbs)
    _state(verbs)
    _invariance(verbs)
    _cluster(verbs)
    _assign(verbs)
    _reconstruct(verbs)
    _probe(verbs)


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
    words = "of the arrays: one npz file, or a zarr group that is read in parts"
    verb.add_argument("--format", default="npz", choices=("npz", "zarr"), help=words)
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


def _mei(verbs: Any) -> None:
    words = "The stimulus that drives each neuron most, or least; pictures or films."
    verb = _verb(verbs, "mei", words)
    verb.add_argument("--least", action="store_true", help="the least instead")
    words = "several for each neuron that differ, each nearly as good"
    verb.add_argument("--diverse", type=count, default=1, metavar="D", help=words)
    words = "noises to start from, of which the best end is kept"
    verb.add_argument("--starts", type=count, default=2, help=words)
    words = "start from clips of a tree, store or folder of pictures, not from noise"
    verb.add_argument("--start", metavar="DATA", help=words)
    verb.add_argument("--off", metavar="LIST", help="neurons that it shall not drive")
    words = "a second run, model or simulated tree that is asked of the same stimuli"
    verb.add_argument("--check", metavar="RUN", help=words)
    _film(verb)
    _budget(verb)
    _climb(verb)


def _film(verb: argparse.ArgumentParser) -> None:
    words = "of the stimulus; as many as a rate depends on"
    verb.add_argument("--frames", type=count, help=words)
    verb.add_argument("--burn", type=number, help="grey frames before it")
    words = "which rate counts: of the last frame, the mean, the highest"
    verb.add_argument("--count", default="last", choices=COUNTS, help=words)


def _budget(verb: argparse.ArgumentParser) -> None:
    words = "root mean square over pixels and frames, at most (0.2)"
    verb.add_argument("--contrast", type=seconds, help=words)
    verb.add_argument("--norm", type=seconds, help="or the L2 norm, at most")
    verb.add_argument("--exactly", action="store_true", help="just that much")
    words = "of every pixel; black and white"
    verb.add_argument(
        "--range", type=float, nargs=2, metavar=("LOW", "HIGH"), help=words
    )
    words = "what these are in: SDs around grey, or the model's input"
    levels = ("contrast", "input")
    verb.add_argument("--levels", default=levels[0], choices=levels, help=words)
    words = "only so far around where the neuron looks, as 8px or 20deg"
    verb.add_argument("--mask", metavar="RADIUS", help=words)
    words = "folder of an earlier mei: its stimuli stay, a surround is sought"
    verb.add_argument("--around", metavar="OUT", help=words)
    verb.add_argument("--center", metavar="RADIUS", help="of what stays, as 6px")


def _climb(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--steps", type=count, default=200)
    verb.add_argument("--rate", type=seconds, default=0.5, help="shares of the budget")
    verb.add_argument("--optimizer", default="sgd", choices=("sgd", "adam"))
    words = "what steps are taken in; fourier prefers what is smooth"
    verb.add_argument("--domain", default="pixel", choices=("pixel", "fourier"))
    for flag, words in (
        ("smooth", "SD of a Gaussian over the gradient, pixels"),
        ("smooth-spectrum", "exponent of (1 - sqrt(2) f) over its spectrum"),
        ("blur", "SD of a Gaussian over the stimulus after every step"),
        ("variation", "weight of differences of neighbours"),
        ("spectrum", "weight of how unlike natural spectra it is"),
        ("transparency", "weight of how much of the screen it covers"),
    ):
        verb.add_argument(f"--{flag}", type=float, default=0.0, help=words)
    words = "weight of how alike the most alike of several are"
    verb.add_argument("--likeness", type=float, default=0.3, help=words)
    words = "most pixels that it is moved by before each step"
    verb.add_argument("--jitter", type=number, default=0, help=words)
    words = "steps without growth after which it stops"
    verb.add_argument("--patience", type=count, default=50, help=words)


def _rf(verbs: Any) -> None:
    words = "Receptive fields from gradients or noise: place, size, angle, latency."
    verb = _verb(verbs, "rf", words)
    verb.add_argument("--method", default="gradient", choices=("gradient", "noise"))
    words = "pieces of noise: 8 for gradients, 1000 to be shown"
    verb.add_argument("--clips", type=count, help=words)
    words = "how the noise of gradients falls with frequency (1)"
    verb.add_argument("--exponent", type=float, default=1.0, help=words)


def _screen(verbs: Any) -> None:
    words = "Which frames of recordings, or pictures, drive each neuron most and least."
    verb = _verb(verbs, "screen", words)
    words = "tree, store, its URL, or a folder of pictures (.npy, .png, .jpg, ...)"
    verb.add_argument("--data", required=True, help=words)
    verb.add_argument("--tier", help="only trials of this tier")
    verb.add_argument("--top", type=count, default=5)
    words = "frames between ranked ones of a clip; half a second"
    verb.add_argument("--apart", type=count, help=words)
    words = "what is ranked: frames, or whole clips by their mean rates"
    verb.add_argument("--by", default="frame", choices=("frame", "clip"), help=words)
    words = "so many best and worst frames are kept; one, unless there are too many"
    verb.add_argument("--pictures", type=number, help=words)
    words = "folder of an earlier mei, whose stimuli are shown beside them"
    verb.add_argument("--beside", metavar="OUT", help=words)


def _state(verbs: Any) -> None:
    words = "What running, or another signal, does to gain and tuning."
    verb = _verb(verbs, "state", words)
    words = "number of a behavior signal, or pupil_x, pupil_y"
    verb.add_argument("--signal", required=True, help=words)
    words = "values in the model's units, the first to compare with"
    verb.add_argument("--levels", type=float, nargs="+", required=True, help=words)
    verb.add_argument("--orientations", type=count, default=8)
    verb.add_argument("--phases", type=count, default=2)


def _invariance(verbs: Any) -> None:
    words = "A ring of stimuli that a neuron cannot tell from its best one."
    verb = _verb(verbs, "invariance", words)
    verb.add_argument("--points", type=count, default=8, help="on the ring")
    verb.add_argument("--steps", type=count, default=100)
    verb.add_argument("--starts", type=count, default=2)
    words = "root mean square over pixels and frames, SDs around grey"
    verb.add_argument("--contrast", type=seconds, default=0.2, help=words)
    verb.add_argument("--frames", type=count, help="of films")
    verb.add_argument("--count", default="last", choices=COUNTS)


def _cluster(verbs: Any) -> None:
    words = "Kinds of neurons, each with the stimulus that drives it and no other kind."
    verb = _verb(verbs, "cluster", words)
    words = "at the start; merging and splitting change their number"
    verb.add_argument(
        "--clusters", dest="clusters_at_start", type=count, required=True, help=words
    )
    words = "searches from other random clusters; the best one is the result"
    verb.add_argument("--seeds", type=count, default=1, help=words)
    words = "of the objective: lower tells finer differences apart"
    verb.add_argument("--temperature", type=seconds, default=1.6, help=words)
    words = "root mean square over pixels and frames, SDs around grey"
    verb.add_argument("--contrast", type=seconds, default=0.2, help=words)
    verb.add_argument("--steps", type=count, default=50, help="of every climb")
    verb.add_argument("--rate", type=seconds, default=0.5, help="shares of the budget")
    words = "SD of a Gaussian over the gradient, pixels"
    verb.add_argument("--smooth", type=float, default=0.0, help=words)
    words = "most turns of stimuli and neurons before merging and splitting"
    verb.add_argument("--rounds", type=count, default=10, help=words)
    verb.add_argument(
        "--cycles", type=count, default=6, help="of merging and splitting"
    )
    words = "never cut a cluster in two"
    verb.add_argument("--no-split", dest="split", action="store_false", help=words)
    words = "never join two clusters"
    verb.add_argument("--no-merge", dest="merge", action="store_false", help=words)
    words = "leave neurons where they look"
    verb.add_argument("--no-center", dest="center", action="store_false", help=words)
    _film(verb)
    words = "types to compare with: .npy, one for each neuron of the mouse"
    verb.add_argument("--labels", metavar="FILE", help=words)
    words = "of the order that is written for a rig"
    verb.add_argument("--repeats", type=count, default=10, help=words)
    words = "seconds of grey before each presentation"
    verb.add_argument("--pause", type=seconds, default=0.5, help=words)


def _assign(verbs: Any) -> None:
    words = "Types of new neurons from a few recorded responses to the stimuli."
    verb = _verb(verbs, "assign", words)
    words = "of an earlier cluster, whose stimuli were shown"
    verb.add_argument("--clusters", required=True, metavar="OUT", help=words)
    words = ".npy [repeats, stimuli, neurons], or .npz of presentations"
    verb.add_argument("--responses", metavar="FILE", help=words)
    words = "that a simulated mouse (--truth) is recorded for"
    verb.add_argument("--repeats", type=count, default=10, help=words)
    words = "random choices of repeats for each number of them"
    verb.add_argument("--draws", type=count, default=20, help=words)


def _reconstruct(verbs: Any) -> None:
    words = "The movie that best explains what a mouse answered, trial by trial."
    verb = _verb(verbs, "reconstruct", words)
    _recordings(verb)
    words = "of different films, from the first on"
    verb.add_argument("--trials", type=count, default=5, help=words)
    verb.add_argument("--frames", type=count, help="of each trial, from its start")
    words = "numbers of neurons that are read; 10, 100, ... and all"
    verb.add_argument("--counts", type=count, nargs="+", default=(), help=words)
    words = "random orders in which neurons are added"
    verb.add_argument("--draws", type=count, default=1, help=words)
    words = "noises that a movie begins with; it is the mean of their ends"
    verb.add_argument("--starts", type=count, default=2, help=words)
    words = "between rates and responses, each by its neuron's SD"
    losses = ("poisson", "squared")
    verb.add_argument("--loss", default="poisson", choices=losses, help=words)
    words = "of several models: a movie through each and their mean, or their mean rate"
    several = ("members", "answer")
    verb.add_argument("--ensemble", default="members", choices=several, help=words)
    words = "pixels are compared that are seen so well, by the best one; 0 for all"
    verb.add_argument("--mask", type=float, default=0.5, help=words)
    verb.add_argument("--steps", type=count, default=100)
    words = "shares of half the range of levels"
    verb.add_argument("--rate", type=seconds, default=0.1, help=words)
    verb.add_argument("--optimizer", default="adam", choices=("sgd", "adam"))
    words = "SD of that noise, in the same shares; 0 begins with grey"
    verb.add_argument("--start", type=float, default=0.3, help=words)
    words = "SD of a Gaussian over the gradient, pixels"
    verb.add_argument("--smooth", type=float, default=3.0, help=words)
    words = "the same over frames"
    verb.add_argument("--smooth-time", type=float, default=3.0, help=words)
    words = "weight of differences of neighbours"
    verb.add_argument("--variation", type=float, default=0.0, help=words)
    words = "steps without a lower loss after which it stops"
    verb.add_argument("--patience", type=count, default=50, help=words)


def _recordings(verb: argparse.ArgumentParser) -> None:
    words = "tree, store or URL with the mouse's recording; usually that of --truth"
    verb.add_argument("--data", metavar="TREE", help=words)
    words = "whose trials are taken; val is the one that validates"
    verb.add_argument("--tier", default="val", help=words)


def _probe(verbs: Any) -> None:
    words = "What rates, a core and responses say of stimuli, and how alike twins are."
    verb = _verb(verbs, "probe", words)
    words = "tree, store or URL with the mouse's recording, whose trials are read too"
    verb.add_argument("--data", metavar="TREE", help=words)
    words = "whose trials are taken; all: every one that is not hidden"
    verb.add_argument("--tier", default="all", help=words)
    words = "seconds of a trial that are one row"
    verb.add_argument("--window", type=seconds, default=0.8, help=words)
    words = "other runs, models or simulated trees that are shown the same gratings"
    verb.add_argument("--beside", nargs="+", default=(), metavar="RUN", help=words)
    words = "every mouse of each, not one"
    verb.add_argument("--all-mice", action="store_true", help=words)
    words = "leave the model's core out"
    verb.add_argument("--no-core", dest="core", action="store_false", help=words)
    verb.add_argument("--directions", type=count, default=8, help="of gratings")
    verb.add_argument("--phases", type=count, default=4)
    words = "parts of which each is told from the others"
    verb.add_argument("--folds", type=count, default=5, help=words)
    words = "permutations of the labels"
    verb.add_argument("--draws", type=count, default=200, help=words)
