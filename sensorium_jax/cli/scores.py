"""Verbs that judge: demo, score, study, submit, evaluate."""

from typing import Any

from sensorium_jax.cli.verb import add, count, number, runs
from sensorium_jax.rules import NAMES as RULES


def _add_rules(verb: Any) -> None:
    words = "other rules than the recordings': frames skipped, tiers"
    verb.add_argument("--rules", choices=RULES, help=words)


def _add_kinds(verb: Any) -> None:
    words = "types: classifier, truth (simulated), or a csv of mouse, trial, stimulus"
    verb.add_argument("--stimuli", default="classifier", help=words)
    ceilings, words = ("auto", "truth", "repeats"), "auto takes the truth where known"
    verb.add_argument("--ceiling", default="auto", choices=ceilings, help=words)


def _add_linear(verb: Any) -> None:
    words = "leave out the linear model beside the scores"
    verb.add_argument("--no-linear", action="store_true", help=words)


def demo_verb(verbs: Any) -> None:
    """Everything once, on a simulated cortex; and whether this machine can do it."""
    words = "Whether this machine can train: versions, devices, disk, a test run."
    verb = add(verbs, "doctor", words, runs("doctor"))
    verb.add_argument("--quick", action="store_true", help="without the test run")

    words = "Simulate, train, score and submit: everything once, in minutes."
    verb = add(verbs, "demo", words, runs("demo"))
    verb.add_argument("--data", default="data/demo", help="recordings to write")
    verb.add_argument("--workdir", default="runs/demo", help="the run to write")
    verb.add_argument("--quick", action="store_true", help="tiny, and hardly trained")
    _add_linear(verb)


def score_verbs(verbs: Any) -> None:
    """A model's scores, and questions answered with several models."""
    words = "Score a model: tiers, mice, types of stimulus, depths, ceilings."
    verb = add(verbs, "score", words, runs("score"))
    verb.add_argument("--data", required=True, help="official tree, store, or its URL")
    verb.add_argument("--workdir", help="run whose best step is scored")
    words = "or checkpoint folders or published models; several answer as one"
    verb.add_argument("--model", nargs="+", metavar="MODEL", help=words)
    verb.add_argument("--step", type=number, help="another step of the run")
    words = "a tier, val (the one that validates), or all that are labelled"
    verb.add_argument("--tier", default="val", help=words)
    _add_kinds(verb)
    _add_rules(verb)
    words = "another run or model, for a paired test"
    verb.add_argument("--against", metavar="W2", help=words)
    verb.add_argument("--draws", type=count, default=200, help="resamples of trials")
    verb.add_argument("--csv", metavar="OUT", help="the numbers as a file")
    words = "every score of every neuron as a file"
    verb.add_argument("--per-neuron", metavar="FILE", help=words)
    _add_linear(verb)

    _report(verbs)

    words = "A model's rates of every trial of a tier as arrays; resumes."
    verb = add(verbs, "predict", words, runs("predict"))
    verb.add_argument("--data", required=True, help="official tree, store, or its URL")
    verb.add_argument("--workdir", help="run whose best step predicts")
    verb.add_argument("--model", help="or checkpoint folder or published model's name")
    verb.add_argument("--step", type=number, help="another step of the run")
    verb.add_argument("--out", required=True, help="folder to write")
    words = "tiers, as val or train,test; all for every trial"
    verb.add_argument("--tier", default="val", help=words)
    words = "of the rates; raw: as responses were recorded"
    units = ("raw", "per_frame", "per_neuron")
    verb.add_argument("--units", default=units[0], choices=units, help=words)
    words = "one file per mouse in the end, instead of one per trial"
    verb.add_argument("--npz", action="store_true", help=words)
    _add_rules(verb)

    words = "The competition's questions, asked of any recordings; resumes."
    verb = add(verbs, "study", words, runs("study"))
    verb.add_argument("--data", required=True, help="official tree, store, or its URL")
    verb.add_argument("--workdir", required=True, help="runs, table and figures")
    verb.add_argument("--steps", type=count, default=400, help="of every training")
    verb.add_argument("--models", help="only these, as demo,static; see the docs")
    verb.add_argument("--quick", action="store_true", help="20 steps, fewer models")
    _add_linear(verb)
    _add_rules(verb)


def _report(verbs: Any) -> None:
    words = "A page of a run for the browser: scores, traces, a clip; or of several."
    verb = add(verbs, "report", words, runs("report"))
    words = "runs; of several, the first is compared with each other one"
    verb.add_argument("workdirs", nargs="+", metavar="WORKDIR", help=words)
    words = "recordings to score; those that the first run was trained on"
    verb.add_argument("--data", help=words, metavar="DATA")
    words = "page to write (WORKDIR/report.html; comparison.html of several)"
    verb.add_argument("--out", help=words, metavar="FILE")
    words = "a tier, val (the one that validates), or all that are labelled (all)"
    verb.add_argument("--tier", default="all", help=words)
    verb.add_argument("--step", type=number, help="another step of the run")
    verb.add_argument("--draws", type=count, default=200, help="resamples of trials")
    _add_kinds(verb)
    _add_rules(verb)
    _add_linear(verb)


def submit_verbs(verbs: Any) -> None:
    """Files for a server, and their local judge."""
    words = "Write a competition's files with a model, or validate files."
    verb = add(verbs, "submit", words, runs("submit"))
    verb.add_argument("--data", required=True, help="official tree, store, or its URL")
    tracks = ("main", "bonus", "sensorium", "sensorium+")
    words = "main and bonus of 2023, or one of 2022"
    verb.add_argument("--track", default="main", choices=tracks, help=words)
    verb.add_argument("--workdir", help="run whose best step predicts")
    words = "or checkpoint folders or published models; several answer as one"
    verb.add_argument("--model", nargs="+", metavar="MODEL", help=words)
    verb.add_argument("--out", help="folder to write")
    verb.add_argument("--tier", help="others than the track's, as oracle,train")
    words = "names of files as the server, or as the starting kit has them"
    kinds = ("server", "kit")
    verb.add_argument("--names", default=kinds[0], choices=kinds, help=words)
    verb.add_argument("--mouse", help="whom a file of 2022 is about; part of its name")
    units = ("auto", "per_frame", "per_neuron", "raw")
    words = "what the model answers in; auto: what it was trained on"
    verb.add_argument("--units", default=units[0], choices=units, help=words)
    verb.add_argument("--float32", action="store_true", help="half the bytes of 2023")
    _add_rules(verb)
    verb.add_argument("--validate", nargs="+", metavar="FILE", help="write nothing")

    words = "The judges' numbers of submissions, where labels exist."
    verb = add(verbs, "evaluate", words, runs("evaluate"))
    verb.add_argument("files", nargs="+", metavar="FILE", help="ours or another tool's")
    verb.add_argument("--data", required=True, help="recordings they are about")
    verb.add_argument("--ground-truth", metavar="G", help="file or labelled recordings")
    verb.add_argument("--tier", help="only this tier")
    verb.add_argument("--mouse", help="whom a file of 2022 is about; part of its name")
    _add_kinds(verb)
    _add_rules(verb)
    verb.add_argument("--csv", metavar="OUT", help="the leaderboard as a file")
