"""Time to a given oracle correlation: our demo recipe and the original baseline.

    export SENSORIUM_PEERS=/folder/of/originals
    python experiments/benchmarks/against_torch.py data/demo [--quick] [--share 0.5]
        [--minutes 60] [--json]

Both learn the same simulated recordings from scratch, alone on the machine, one after
the other: ours by the recipe `demo`, the original (PyTorch code of the 2023 factorized
baseline, with the heap kept) by its own optimizer, loss and first rate, which its
schedule would only lower. Batches of both come from our stream, which spares the
original the reading of whole trials. Time counts building, compiling and training;
scoring between is left out. The score is the single-trial correlation on the same few
whole oracle trials without their first 50 frames, and the target is a share of the
ceiling, the correlation of the true rates with the responses (of all of them). One
model's step in both is what models.py compares.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from operations import HEAP
from original import SCORED, SKIP, Original

PAUSE, LONGER = 20.0, 0.5  # between two scores: seconds, share of the time so far
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)  # of the ceiling, told on the way


def ceiling(root: str) -> float:
    """Mean over all neurons of the true rates' correlation with the responses."""
    found = sorted(Path(root).glob("*/meta/ground_truth/ceilings.npy"))
    return float(np.mean(np.concatenate([np.load(path) for path in found])))


def race(
    step: Callable[[int], bool],
    score: Callable[[], float],
    target: float,
    limit: float,
    spent: float,
) -> dict[str, Any]:
    """Step until the score is there, or time or batches end; scoring does not count."""
    trace, done, more = [], 0, True
    while more and spent < limit and (not trace or trace[-1][2] < target):
        began = time.perf_counter()
        pause = min(max(PAUSE, LONGER * spent), limit - spent)
        while more and time.perf_counter() - began < pause:
            more = step(done)
            done += more
        spent += time.perf_counter() - began
        trace.append((round(spent, 1), done, round(score(), 4)))
        print(f"  {spent:7.0f} s  step {done}  {trace[-1][2]:.4f}", file=sys.stderr)
    return {"seconds": spent, "trace": trace}


def ours(root: str, target: float, limit: float) -> dict[str, Any]:
    """The recipe demo."""
    import jax

    from sensorium_jax.run import build, config as configs
    from sensorium_jax.training.step import Tally

    began = time.perf_counter()
    config = configs.load("demo")
    config.data.root = root
    config.validate.update(trials=SCORED, skip=SKIP)
    made = build.parts(config)
    with jax.set_mesh(made.mesh):
        now = SimpleNamespace(state=made.start(), batches=made.batches(0))
        now.tally = jax.device_put(Tally.zero(), now.state.step.sharding)

        def step(index: int) -> bool:
            del index
            batch = next(now.batches, None)  # the recipe may end before the target
            if batch is None:
                return False
            now.state, now.tally = made.step(now.state, batch, now.tally)
            jax.block_until_ready(now.tally)
            return True

        def score() -> float:
            return made.validate(now.state).score

        return race(step, score, target, limit, time.perf_counter() - began)


def theirs(root: str, target: float, limit: float) -> dict[str, Any]:
    """The original, in this process."""
    began = time.perf_counter()
    original = Original(root)

    def step(index: int) -> bool:
        original.step(index)
        return True

    return race(step, original.score, target, limit, time.perf_counter() - began)


def alone(root: str, target: float, limit: float) -> dict[str, Any]:
    """The original in a process of its own, which keeps its heap."""
    words = [sys.executable, __file__, root, "--original", str(target), str(limit)]
    done = subprocess.run(
        words, env=os.environ | HEAP, check=True, text=True, stdout=subprocess.PIPE
    )
    return json.loads(done.stdout.splitlines()[-1])


def table(found: dict[str, Any]) -> str:
    """Seconds until each share of the ceiling was reached, for people."""
    rows = [f"one run on {os.cpu_count()} cores, ceiling {found['ceiling']:.4f}"]
    rows.append("share of the ceiling" + "".join(f"{s:>9.1f}" for s in SHARES))
    for name in ("ours", "original"):
        trace = found[name]["trace"]
        cells = []
        for share in SHARES:
            wanted = share * found["ceiling"]
            cell = next((f"{t:.0f} s" for t, _, got in trace if got >= wanted), "-")
            cells.append(f"{cell:>9}")
        last = f"   {trace[-1][1]} steps in {found[name]['seconds']:.0f} s"
        rows.append(f"{name:<20}" + "".join(cells) + last)
    return "\n".join(rows)


def main() -> None:
    """Train both, print both."""
    parser = argparse.ArgumentParser(description="Ours against the original.")
    parser.add_argument("data", help="recordings of sensorium simulate")
    parser.add_argument("--quick", action="store_true", help="two minutes each")
    parser.add_argument("--share", type=float, default=0.5, help="of the ceiling")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--original", nargs=2, type=float, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.original:
        print(json.dumps(theirs(args.data, *args.original)))
        return
    if "SENSORIUM_PEERS" not in os.environ:
        parser.error("set SENSORIUM_PEERS to the folder of the originals")
    limit = 60 * (2 if args.quick else args.minutes)
    top = ceiling(args.data)
    target = args.share * top
    print(f"ceiling {top:.4f}, target {target:.4f}", file=sys.stderr)
    found: dict[str, Any] = {"ceiling": top, "target": target}
    found["ours"] = ours(args.data, target, limit)
    found["original"] = alone(args.data, target, limit)
    print(json.dumps(found) if args.json else table(found))


if __name__ == "__main__":
    main()
