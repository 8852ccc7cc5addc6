"""Small recordings with every tier labelled, predictions for them, official tables."""

from pathlib import Path

import numpy as np
import pandas as pd

from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.release.write import write_session

NEURONS = (40, 35)
FILMS = {
    "train": (6, 1),
    "oracle": (2, 2),
    "live_test_main": (2, 3),
    "final_test_main": (2, 2),
    "live_test_bonus": (1, 2),
    "final_test_bonus": (1, 2),
}
PICTURES = {
    "train": (20, 1),
    "validation": (6, 1),
    "test": (5, 4),
    "final_test": (4, 3),
}


def _stimuli(rng, plan, frames):
    """Tier and film of every trial, in mixed order; two lengths of films."""
    trials = []
    for tier, (clips, repeats) in plan.items():
        for clip in range(clips):
            t = frames[clip % len(frames)]
            film = rng.integers(0, 256, (t, 4, 6)).astype(float)
            trials += [(tier, film)] * repeats
    order = rng.permutation(len(trials))
    return [trials[i] for i in order]


def _responses(rng, trials, neurons):
    """Gamma responses that films drive, with rates and scales unlike each other."""
    gain_n, weights = rng.gamma(2, 6, neurons), rng.normal(size=(24, neurons)) / 300
    found = []
    for _, film in trials:
        drive_tn = np.exp((film.reshape(len(film), -1) - 128) @ weights)
        shape_n = 0.3 + np.arange(neurons) / neurons
        found.append(rng.gamma(shape_n, 1, drive_tn.shape) * drive_tn * gain_n)
    return found


def films(folder: Path, *, hide=()) -> Recordings:
    """Two mice of films, 62 or 70 frames long."""
    for m, neurons in enumerate(NEURONS):
        rng = np.random.default_rng(m)
        trials = _stimuli(rng, FILMS, (70, 62))
        write_session(
            folder / f"dynamic{m}-1-1-Video-small",
            rules="2023",
            videos=[film for _, film in trials],
            responses=_responses(rng, trials, neurons),
            behavior=[rng.gamma(1, size=(len(f), 2)) for _, f in trials],
            pupil=[rng.normal(size=(len(f), 2)) for _, f in trials],
            tiers=[tier for tier, _ in trials],
            hide=hide,
            pad_to=72,
            layout="per_frame",
            unit_ids=np.arange(neurons) * 3 + 7,
        )
    return Recordings.open(folder)


def pictures(folder: Path, *, mice=1) -> Recordings:
    """Mice of pictures, the tests shown several times."""
    for m in range(mice):
        rng = np.random.default_rng(10 + m)
        trials = _stimuli(rng, PICTURES, (1,))
        write_session(
            folder / f"static{m}-1-1-GrayImageNet-small",
            videos=[film for _, film in trials],
            responses=_responses(rng, trials, 40),
            tiers=[tier for tier, _ in trials],
            rules="2022",
            unit_ids=np.arange(40)[::-1] * 2 + 1,
        )
    return Recordings.open(folder)


def table(answers) -> pd.DataFrame:
    """The table that pandas users build from answers."""
    return pd.DataFrame(
        {
            "mouse": [a.mouse for a in answers],
            "trial_indices": [a.trial for a in answers],
            "prediction": [a.prediction_nt.tolist() for a in answers],
            "neuron_ids": [np.asarray(a.ids_n, np.uint32) for a in answers],
        }
    )


def save(frame: pd.DataFrame, path: Path) -> Path:
    """Written as the starter kit writes it."""
    frame.to_parquet(path, compression="brotli", engine="pyarrow", index=False)
    return path
