"""Time to a given oracle correlation: our demo recipe and the original baseline.

    export SENSORIUM_PEERS=/folder/of/originals
    python experiments/benchmarks/against_torch.py data/demo [--quick] [--share 0.5]
        [--minutes 60] [--json]

Both learn the same simulated recordings from scratch, alone on the machine, one after
the other: ours by the recipe `demo`, the original (PyTorch code of the 2023 factorized
baseline) by its own optimizer, loss and schedule. Batches of both come from our stream,
which spares the original the reading of whole trials. Time counts building, compiling
and training; scoring between is left out. The score is the single-trial correlation on
whole oracle trials without their first 50 frames, and the target is a share of the
ceiling, the correlation of the true rates with the responses. The last lines compare
the seconds of one step of the same model, the baseline, in both.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from original import SKIP, Original

PAUSE = 20.0  # seconds of training between two scores


def ceiling(root: str) -> float:
    """Mean over all neurons of the true rates' correlation with the responses."""
    found = sorted(Path(root).glob("*/meta/ground_truth/ceilings.npy"))
    return float(np.mean(np.concatenate([np.load(path) for path in found])))


def race(
    step: Callable[[int], None],
    score: Callable[[], float],
    target: float,
    limit: float,
    spent: float,
) -> dict[str, Any]:
    """Step until the score is there or the time is over; scoring does not count."""
    trace, done = [], 0
    while spent < limit:
        began = time.perf_counter()
        while time.perf_counter() - began < PAUSE:
            step(done)
            done += 1
        spent += time.perf_counter() - began
        trace.append((round(spent, 1), done, round(score(), 4)))
        print(f"  {spent:7.0f} s  step {done}  {trace[-1][2]:.4f}", file=sys.stderr)
        if trace[-1][2] >= target:
            break
    return {"seconds": spent, "reached": trace[-1][2] >= target, "trace": trace}


def ours(root: str, target: float, limit: float) -> dict[str, Any]:
    """The recipe demo."""
    import jax

    from sensorium_jax.run import build
    from sensorium_jax.run import config as configs
    from sensorium_jax.train.step import Tally

    began = time.perf_counter()
    config = configs.load("demo")
    config.data.root = root
    config.validate.update(trials=0, skip=SKIP)
    made = build.parts(config)
    with jax.set_mesh(made.mesh):
        now = SimpleNamespace(state=made.start(), batches=made.batches(0))
        now.tally = jax.device_put(Tally.zero(), now.state.step.sharding)

        def step(index: int) -> None:
            del index
            batch = next(now.batches)
            now.state, now.tally = made.step(now.state, batch, now.tally)
            jax.block_until_ready(now.tally)

        def score() -> float:
            return made.validate(now.state).score

        return race(step, score, target, limit, time.perf_counter() - began)


def one_step(root: str, original: Original, *, repeats: int) -> dict[str, float]:
    """Median seconds of a step of the same model in both, in turns."""
    import jax

    from sensorium_jax.run import build
    from sensorium_jax.run import config as configs
    from sensorium_jax.train.step import Tally

    config = configs.load("factorized2023")
    config.data.root = root
    made = build.parts(config)
    times: dict[str, list[float]] = {"ours": [], "original": []}
    with jax.set_mesh(made.mesh):
        state, batches = made.start(), made.batches(0)
        tally = jax.device_put(Tally.zero(), state.step.sharding)
        for index in range(repeats + 1):  # the first one compiles
            began = time.perf_counter()
            state, tally = jax.block_until_ready(made.step(state, next(batches), tally))
            middle = time.perf_counter()
            original.step(index)
            times["ours"].append(middle - began)
            times["original"].append(time.perf_counter() - middle)
    return {k: float(np.median(v[1:])) for k, v in times.items()}


def main() -> None:
    """Train both, print both."""
    parser = argparse.ArgumentParser(description="Ours against the original.")
    parser.add_argument("data", help="recordings of sensorium simulate")
    parser.add_argument("--quick", action="store_true", help="two minutes each")
    parser.add_argument("--share", type=float, default=0.5, help="of the ceiling")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    limit = 60 * (2 if args.quick else args.minutes)
    top = ceiling(args.data)
    target = args.share * top
    print(f"ceiling {top:.4f}, target {target:.4f}", file=sys.stderr)
    found: dict[str, Any] = {"ceiling": top, "target": target}
    found["ours"] = ours(args.data, target, limit)
    began = time.perf_counter()
    original = Original(args.data)
    found["original"] = race(
        original.step, original.score, target, limit, time.perf_counter() - began
    )
    found["step_s"] = one_step(args.data, original, repeats=1 if args.quick else 3)
    if args.json:
        print(json.dumps(found))
        return
    for name in ("ours", "original"):
        got = found[name]
        last = got["trace"][-1]
        verb = "reached" if got["reached"] else "did not reach"
        print(
            f"{name}: {verb} {target:.4f} within {got['seconds']:.0f} s "
            f"({last[1]} steps, {last[2]:.4f})"
        )
    print("one step of the factorized baseline: ", found["step_s"])


if __name__ == "__main__":
    main()
