"""Tiny recordings and narrow recipes, to train whole runs in seconds."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sensorium_jax.data.release.write import write_session
from sensorium_jax.run import config as configs, own

NEURONS = (5, 3, 6, 4, 7, 2, 5)
PICTURES = ("ln2022", "cnn2022", "cnn2022_plus", "generalization2022", "v1t2022")

NARROW_2D = {
    "hidden_channels": 4,
    "input_kernel": 3,
    "hidden_kernel": 3,
    "layers": 2,
}
NARROW_FACTORIZED = {
    "layers": 2,
    "hidden_channels": (3, 4),
    "input_spatial_kernel": 3,
    "input_temporal_kernel": 3,
    "hidden_spatial_kernel": 3,
    "hidden_temporal_kernel": 2,
}
NARROW_DWISE = {
    "core": {
        "features": (4,),
        "strides": (2,),
        "expansion": 2,
        "squeeze": 4,
        "cortex_features": (8,),
    },
    "asking": {"canvas": (16, 16)},
}
NARROW = {
    "ln2022": {"core": NARROW_2D},
    "cnn2022": {"core": NARROW_2D},
    "cnn2022_plus": {"core": NARROW_2D},
    "generalization2022": {"core": NARROW_2D},
    "gru2023": {
        "core": {**NARROW_2D, "hidden_channels": 2, "rotations": 4},
        "gru": {"features": 4, "input_kernel": 3, "hidden_kernel": 3},
    },
    "factorized2023": {"core": NARROW_FACTORIZED},
    "finetune_new_mouse": {"core": NARROW_FACTORIZED},
    "ln2023": {"core": NARROW_2D},
    "dwise2023": NARROW_DWISE,
    "dwise2023_distill": NARROW_DWISE,
    "own": {"core": {"pairs": 2, "mixtures": 3, "lags": 5, "bases": 2}},
    "viv1t2023": {
        "core": {
            "patch": 5,
            "patch_frames": 5,
            "max_frames": 40,
            "features": 6,
            "space_blocks": 1,
            "time_blocks": 1,
            "heads": 2,
            "head_width": 3,
            "hidden": 5,
        },
    },
    "v1t2022": {
        "core": {"patch": 4, "features": 6, "blocks": 1, "heads": 2, "hidden": 5},
    },
    "demo": {"core": {"channels": (4, 4), "lags": 5, "bases": 2}},
}


def films(
    folder: Path,
    mice: int = 3,
    *,
    seed: int = 0,
    frames: int = 24,
    size=(12, 16),
    train: int = 12,
    tests: Sequence[str] = (),
    **options,
) -> Path:
    """Trees of films: 12 training and 4 oracle trials each, one of each test tier."""
    for m in range(mice):
        rng = np.random.default_rng([seed, m])
        n, trials = NEURONS[m], train + 4 + len(tests)
        write_session(
            folder / f"dynamic{m + 10 * seed}",
            videos=rng.integers(0, 256, (trials, frames, *size)),
            responses=rng.gamma(1, 2, (trials, frames, n)),
            behavior=rng.normal(size=(trials, frames, 2)),
            pupil=rng.normal(size=(trials, frames, 2)),
            coordinates=rng.normal(size=(n, 3)),
            tiers=["train"] * train + ["oracle"] * 4 + list(tests),
            video_dtype=np.uint8,
            **{"rules": "2023", **options},
        )
    return folder


def pictures(folder: Path, mice: int = 2, *, size=(40, 48)) -> Path:
    """Trees of pictures, which the recipes shrink to a quarter."""
    for m in range(mice):
        rng = np.random.default_rng([7, m])
        n, trials = NEURONS[m], 20
        write_session(
            folder / f"static{m}-GrayImageNet",
            videos=rng.integers(0, 256, (trials, 1, *size)),
            responses=rng.gamma(1, 2, (trials, 1, n)),
            behavior=rng.normal(size=(trials, 1, 3)),
            pupil=rng.normal(size=(trials, 1, 2)),
            coordinates=rng.normal(size=(n, 3)),
            tiers=["train"] * 16 + ["validation"] * 4,
            rules="2022",
        )
    return folder


def recipe(name: str, root: Path | str, *, steps: int = 3, narrow: bool = True):
    """A recipe that takes a few steps on tiny recordings; narrow unless told.

    It takes them on one device, for which programs compile in half the time.
    """
    config = configs.load(name)
    config.data.root = str(root)
    config.mesh.update(mouse=1, data=1)
    if narrow:
        config.model.changes = NARROW[name]
    config.train.update(steps=steps, batch=4, report_every=1, sinks=("jsonl",))
    if name not in PICTURES:
        config.train.frames = 8 if name in ("demo", "own") else 12
        config.validate.skip = 10
    if config.data.mixed:  # too few films for folds, too few steps to warm up
        config.data.fold = -1
        config.train.warmup = 1
    config.validate.update(every=10_000, batch=2, trials=0)
    return own.fitted(config)
