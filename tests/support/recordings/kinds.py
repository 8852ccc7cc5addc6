"""Recordings as laboratories have them: small, bare, short, silent, oddly named."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax.data.release.write import write_session
from sensorium_jax.rules import FILMS, own

Mouse = dict[str, Any]  # what write_session takes
SPLIT = ("train",) * 3 + ("oracle",) * 2  # tiers of trials, where a kind has no others
SEND = ("live_test_main", "final_test_main")
LOST = 2  # leading frames that the films' model does not answer


class Kind(NamedTuple):
    """Recordings of one kind, and what is expected of them."""

    mice: Callable[[], Sequence[Mouse]]
    tier: str = "oracle"  # that validates
    refused: str = ""  # what training says before it begins
    undefined: int = 0  # neurons that have no correlation
    send: tuple[
        str, ...
    ] = ()  # tiers to submit, where it is not the one that validates
    unsent: str = ""  # what submitting says


def films(
    seed: int = 0,
    *,
    tiers: Sequence[str] | None = SPLIT,
    frames: int | Sequence[int] = 16,
    size: tuple[int, ...] = (9, 11),
    neurons: int = 3,
    behaviors: int = 2,
    pupil: bool = True,
    coordinates: bool = True,
    change: Callable[[np.ndarray], np.ndarray] | None = None,
    **more: Any,
) -> Mouse:
    """One mouse drawn from the seed; change is made to its responses [t, n]."""
    rng = np.random.default_rng([11, seed])
    trials = len(tiers or "1")
    lengths = [frames] * trials if isinstance(frames, int) else list(frames)
    responses = [rng.gamma(1, 2, (t, neurons)) for t in lengths]
    given: Mouse = {
        "videos": [rng.integers(0, 256, (t, *size)) for t in lengths],
        "responses": [change(x) if change else x for x in responses],
        "behavior": [rng.normal(size=(t, behaviors)) for t in lengths],
        "pupil": [rng.normal(size=(t, 2)) for t in lengths],
        "coordinates": rng.normal(size=(neurons, 3)),
    }
    kept = {"behavior": behaviors, "pupil": pupil, "coordinates": coordinates}
    given = {k: v for k, v in given.items() if kept.get(k, True)}
    skip = LOST if more.get("rules", "own") == "own" and max(lengths) > 1 else 0
    return {**given, "tiers": tiers, "skip": skip, "video_dtype": np.uint8, **more}


def bare(seed: int = 0, **options: Any) -> Mouse:
    """No behavior, no pupil, no coordinates."""
    return films(seed, behaviors=0, pupil=False, coordinates=False, **options)


def still(x_tn: np.ndarray) -> np.ndarray:
    """The second neuron always answers the same, the third never."""
    return np.stack([x_tn[:, 0], 0 * x_tn[:, 1] + 2.5, 0 * x_tn[:, 2]], 1)


def tiered(*tiers: str, train: int = 3) -> tuple[str, ...]:
    """Tiers of trials, the first few for training."""
    return ("train",) * train + tiers


KINDS: dict[str, Kind] = {
    "bare": Kind(lambda: [bare(skip=0)], unsent="begins at frame 2"),
    "no_behavior": Kind(lambda: [films(behaviors=0)]),
    "one_neuron": Kind(lambda: [films(neurons=1, pupil=False)]),
    "still_neurons": Kind(lambda: [bare(change=still)], undefined=2),
    "all_silent": Kind(
        lambda: [bare(change=np.zeros_like)], refused="training trials is zero"
    ),
    "pictures": Kind(lambda: [films(frames=1, behaviors=3)]),
    "pictures_bare": Kind(lambda: [bare(frames=1, size=(7, 5), neurons=1)]),
    "7x5": Kind(lambda: [films(size=(7, 5))]),
    "3x3": Kind(lambda: [films(size=(3, 3))]),
    "rgb": Kind(lambda: [films(size=(9, 11, 3))]),
    "one_frame": Kind(
        lambda: [bare(frames=1, rules=own(FILMS))], refused="Nothing would count"
    ),
    "two_trials": Kind(lambda: [bare(tiers=("train", "oracle"))]),
    "one_trial": Kind(lambda: [bare(tiers=None)], refused="No tier of .* validates"),
    "short40": Kind(lambda: [films(frames=40, coordinates=False)]),
    "short45": Kind(
        lambda: [films(frames=45, rules="2023")],
        refused="first 50 frames of a trial are not judged",
    ),
    "hidden_tests": Kind(
        lambda: [films(tiers=tiered("validation", *SEND), hide=SEND)],
        tier="validation",
        send=SEND,
    ),
    "own_val": Kind(lambda: [films(tiers=tiered("oracle", "val", "val"))], tier="val"),
    "odd_names": Kind(
        lambda: [bare(tiers=tiered("held back", "Übung/2", "Übung/2"))],
        tier="Übung/2",
    ),
    "mixed_lengths": Kind(
        lambda: [films(frames=(16, 9, 30, 5, 36), layout="per_frame")]
    ),
    "two_mice": Kind(lambda: [films(), films(1, behaviors=0, neurons=5)]),
    "two_tiers": Kind(
        lambda: [films(), films(1, tiers=tiered("test", "test"))],
        refused="mouse0 has oracle; mouse1 has test",
    ),
    "large_counts": Kind(
        lambda: [
            films(
                tiers=tiered(*["oracle"] * 20, train=60),
                frames=12,
                change=lambda x: np.floor(1e5 * x),
            )
        ]
    ),
    "release2022": Kind(
        lambda: [
            films(
                frames=1,
                behaviors=3,
                rules="2022",
                tiers=tiered("validation", "validation", "test", "final_test"),
                hide=("test", "final_test"),
            )
        ],
        tier="validation",
        send=("test", "final_test"),
    ),
    "release2023": Kind(
        lambda: [
            films(
                frames=54,
                rules="2023",
                tiers=tiered("oracle", "oracle", *SEND),
                hide=SEND,
                layout="per_frame",
                pad_to=60,
                video_dtype=np.float32,
            )
        ],
        send=SEND,
    ),
}


def write(kind: str, folder: Path) -> Path:
    """The recordings of a kind, as trees under a folder."""
    for m, given in enumerate(KINDS[kind].mice()):
        write_session(folder / f"mouse{m}", **given)
    return folder
