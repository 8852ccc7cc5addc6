"""Movies and labels read from simulated mice, and how alike simulated worlds are.

    python experiments/reading_back.py OUT [--films 3] [--frames 90] [--steps 100]

Simulates a mouse of 600 cells, reads its movies back through the true cells from 10 to
all of them, reads labels from true rates and single-trial responses, and compares
populations of two seeds with one of another world. What lies in OUT is not made again.
"""

import argparse
from pathlib import Path

import sensorium_jax as sj
from sensorium_jax.cli import main as sensorium
from sensorium_jax.simulation.design import Preset, Repeated

MOUSE = Preset(
    mice=1,
    neurons=600,
    train=30,
    oracle=Repeated(6, 2),
    main=Repeated(0, 0),
    ood=Repeated(4, 4),
    calibration=24,
    frames=150,
    ood_frames=300,
)
COUNTS = ("10", "30", "100", "300", "600")


def main() -> None:
    """Simulate, then call the two verbs, which print their tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--films", default="3")
    parser.add_argument("--frames", default="90")
    parser.add_argument("--steps", default="100")
    args = parser.parse_args()
    trees = [args.out / "data" / f"seed{seed}" for seed in range(2)]
    for seed, tree in enumerate(trees):
        sj.simulate(tree, preset=MOUSE, seed=seed)
    other = args.out / "data/tiny_lab"
    sj.simulate(other, preset="tiny_lab")
    one, two, world = map(str, (*trees, other))
    read = ["reconstruct", "--truth", one, "--trials", args.films]
    read += ["--frames", args.frames, "--steps", args.steps, "--counts", *COUNTS]
    sensorium([*read, "--out", str(args.out / "movie")])
    told = ["probe", "--truth", one, "--data", one, "--beside", two, world]
    sensorium([*told, "--out", str(args.out / "probe")])


if __name__ == "__main__":
    main()
