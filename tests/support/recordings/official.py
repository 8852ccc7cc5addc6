"""Small official trees on disk, and snapshots of folders."""

from hashlib import blake2b
from pathlib import Path

import numpy as np

from sensorium_jax.data.release.write import write_session

TIERS = ("train",) * 34 + ("oracle",) * 6 + ("live_test_main",) * 4 + ("none",) * 2


def tree(folder: Path, neurons=(7, 5), *, fractions=False, extras=True, trials=46):
    """Two mice of films, trials of two lengths with NaN tails, hidden tests."""
    rng = np.random.default_rng(0)
    lengths = [30 if i % 2 else 27 for i in range(trials)]
    for m, n in enumerate(neurons):
        videos = [rng.integers(0, 256, (t, 6, 8)) + 0.5 * fractions for t in lengths]
        signals = {
            "behavior": [rng.normal(size=(t, 2)) for t in lengths],
            "pupil": [rng.normal(size=(t, 2)) for t in lengths],
            "coordinates": rng.normal(size=(n, 3)),
        }
        write_session(
            folder / f"dynamic{m}",
            rules="2023",
            videos=videos,
            responses=[rng.gamma(1, 2, (t, n)) for t in lengths],
            tiers=TIERS[-trials:] if trials < 46 else TIERS,
            hide=("live_test_main",),
            pad_to=32,
            layout="per_frame",
            columns={"trial_idx": np.arange(trials)},
            unit_columns={"layer": np.array(["L2/3"] * n)},
            **(signals if extras else {}),
        )
    return folder


def pictures(folder: Path):
    """One mouse of pictures."""
    rng = np.random.default_rng(1)
    write_session(
        folder / "static1-2-3-GrayImageNet",
        videos=rng.integers(0, 256, (30, 1, 6, 8)),
        responses=rng.gamma(1, 2, (30, 1, 4)),
        behavior=rng.normal(size=(30, 1, 3)),
        pupil=rng.normal(size=(30, 1, 2)),
        tiers=["train"] * 24 + ["validation"] * 6,
        rules="2022",
    )
    return folder


def snapshot(folder: Path) -> dict[str, str]:
    """Checksum of every file below, by its relative path."""
    return {
        str(p.relative_to(folder)): blake2b(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }
