"""Every field of a config with its default; recipes change what they differ in."""

from typing import Any

from ml_collections import ConfigDict


def base() -> Any:
    """A whole config: sections data, model, readout, train, validate, mesh; a seed."""
    config: Any = ConfigDict()
    config.seed = 42
    config.data = data()
    config.model = model()
    config.readout = ConfigDict({"start": "official"})  # or data, or cortex
    config.train = train()
    config.validate = validate()
    config.mesh = ConfigDict({"mouse": 0, "data": 0})  # 0: fit the devices
    return config


def model() -> Any:
    """What is trained."""
    return ConfigDict(
        {
            "name": "factorized2023",
            "changes": {},  # of the preset's parts, and of how it is asked: "asking"
            "json": "",  # more of them from the command line: '{"shifter": null}'
            "fit": False,  # choose what is left open from the recordings (run/own.py)
            "start": "",  # a run or checkpoint whose weights to begin with
            # Mix the linear model's rates in, as far as validation asks for them:
            "linear": False,
        }
    )


def data() -> Any:
    """What is read."""
    return ConfigDict(
        {
            "root": "data/demo",  # official tree, store, or URL of a store
            "rules": "",  # own, 2022 or 2023, over those of the recordings
            "tier": "train",
            "mice": (),  # names or parts of names; () is all
            "trials": 1.0,  # share of each mouse's training trials to learn from
            # How the model is asked, over what its preset says; 0 and "" leave that:
            "scale": 0.0,  # of the frames, after normalization
            "stride": 0,  # every so many frames
            "response_scaling": "",  # per_frame, the judges'; per_neuron; or raw
            "epochs": True,  # without replacement, as the official loaders
            "mixed": False,  # each sample of a batch is of a mouse drawn at random
            "clip_responses": False,  # at zero
            "fold": -1,  # the films that are held out and judged; -1: tiers decide
            "fold_tests": False,  # labelled trials of test tiers belong to folds too
        }
    )


def train() -> Any:
    """How weights move."""
    return ConfigDict(
        {
            "steps": 0,  # the whole length; 0 takes it from epochs
            "epochs": 200,
            "budget": "",  # as 150s or 10min: sets steps by the time of measured ones
            "batch": 8,  # windows per mouse
            "frames": 80,
            "optimizer": "adamw",
            "betas": (0.9, 0.999),  # of its averages of gradients and their squares
            "rate": 0.005,
            "schedule": "constant",
            "warmup": 0,
            "floor": 0.0,
            "decay": 0.01,
            "decay_rules": (),  # (regex, decay) by leaf name
            "rate_rules": (),  # (regex, factor)
            "frozen": "",  # regex of leaves that never move
            "clip": 0.0,  # global norm; 0 is off
            "adaptive_clip": 0.0,
            "ema": 0.0,
            "accumulate": 1,
            "cutmix": 0.0,  # probability of a box of another film; of mixed batches
            "teacher": "",  # a run whose rates are targets too; of mixed batches
            "teacher_share": 0.0,  # of all weight that its targets have
            "precision": "float32",  # or tf32, bfloat16
            "remat": False,  # recompute the core's layers to save memory (not demo's)
            "loss": "poisson",
            "mean_loss": False,
            "scale_loss": True,  # by sqrt(trials / batch), the official scale
            "scale_trials": "all",  # of all tiers, as the originals count; or train
            "correlation_weight": 0.0,
            "burn_in": 0,  # first answered frames of a window that do not count
            "linear_share": 0.0,  # of targets that are the linear model's, at first
            "penalties": (),  # (regex, name, weight); docs/models.md has the names
            # (regex, low, high): where parameters must stay, as free positions do
            "bounds": (("readout/mu", -1.0, 1.0),),
            "core_per_mouse": True,  # the originals add the core's penalty per mouse
            "checkpoint_every": 100,
            "report_every": 10,
            "keep": 2,
            "sinks": ("jsonl", "tensorboard"),
            "prefetch": 2,
        }
    )


def validate() -> Any:
    """How a run is judged while it runs."""
    return ConfigDict(
        {
            "tier": "val",  # oracle in 2023, validation in 2022
            "every": 0,  # steps; 0 is once an epoch
            "window": "whole",  # whole trials, or random80: the official crop
            "hop": 0,  # frames between windows; 0: as the model is asked
            "batch": 1,  # trials per mouse at a time
            "trials": 0,  # of each mouse at most; 0 is all of the tier
            "skip": -1,  # first frames of a trial not judged; -1: as the rules say
            "stages": 4,  # 0 trains to the end without early stopping
            "patience": 5,
            "factor": 0.3,
            "tolerance": 1e-6,
            "lowest_rate": 1e-4,
            "restore_best": True,
        }
    )
