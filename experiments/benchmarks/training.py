"""Training speed end to end, what devices exchange, and what sizes cost.

    python experiments/benchmarks/training.py [--quick] [--only PART ...] [--json]

Parts: store (samples per second from a store, with the wait for data), devices
(1, 2, 4 and 8 simulated ones: collectives and bytes of a step, read from the compiled
program), sizes (time of a step against neurons, mice and frames). Simulated devices
share this machine's cores, so their bytes mean something and their times little. The
comparison with the original code is against_torch.py.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax.data.release.write import write_session
from sensorium_jax.data.store.build import convert

NARROW = {"core": {"hidden_channels": (8, 8, 8)}}
BYTES = {"f32": 4, "bf16": 2, "s32": 4, "u32": 4, "pred": 1, "f16": 2, "u8": 1}
COLLECTIVES = "all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter"


class Case(NamedTuple):
    """One measurement; the recordings are made to fit."""

    mice: int = 3
    neurons: int = 2000
    frames: int = 80
    batch: int = 8
    devices: int = 1
    mesh: tuple[int, int] = (1, 1)
    steps: int = 5
    recipe: str = "factorized2023"
    narrow: bool = False


def recordings(folder: Path, case: Case) -> Path:
    """A store of noise films; their content costs nothing but their size does."""
    rng = np.random.default_rng(0)
    trials = case.batch + 2
    for m in range(case.mice):
        length = case.frames + 20
        write_session(
            folder / "tree" / f"dynamic{m}",
            rules="2023",
            videos=list(rng.integers(0, 256, (trials, length, 36, 64))),
            responses=list(rng.gamma(1, 1, (trials, length, case.neurons))),
            behavior=list(rng.normal(size=(trials, length, 2))),
            pupil=list(rng.normal(size=(trials, length, 2))),
            coordinates=rng.normal(size=(case.neurons, 3)),
            tiers=["train"] * (trials - 1) + ["oracle"],
            video_dtype=np.uint8,
        )
    convert(folder / "tree", folder / "store")
    return folder / "store"


def configure(case: Case, store: Path) -> Any:
    """The config of a case."""
    from sensorium_jax.run import config as configs

    config = configs.load(case.recipe)
    config.data.root = str(store)
    config.train.update(
        steps=case.steps + 1, batch=case.batch, frames=case.frames, prefetch=2
    )
    config.validate.skip = 0
    config.mesh.update(mouse=case.mesh[0], data=case.mesh[1])
    if case.narrow and case.recipe == "factorized2023":
        config.model.changes = NARROW
    return config


def measure(case: Case, store: Path) -> dict[str, Any]:
    """Compile one step, take some, and read the program; in a process of its own."""
    import jax

    from sensorium_jax.run import build
    from sensorium_jax.training.step import Tally

    made = build.parts(configure(case, store))
    with jax.set_mesh(made.mesh):
        state = made.start()
        tally = jax.device_put(Tally.zero(), state.step.sharding)
        batches = made.batches(0)
        batch = next(batches)
        began = time.perf_counter()
        program = made.step.lower(state, batch, tally).compile()
        compiling = time.perf_counter() - began
        state, tally = jax.block_until_ready(program(state, batch, tally))
        waited, times = 0.0, []
        for _ in range(case.steps):
            began = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - began
            state, tally = jax.block_until_ready(program(state, batch, tally))
            times.append(time.perf_counter() - began)
    memory = program.memory_analysis()
    return {
        "compile_s": compiling,
        "step_s": float(np.median(times)),
        "samples_per_s": case.mice * case.batch * case.steps / sum(times),
        "data_wait": waited / sum(times),
        "collectives": traffic(program.as_text()),
        "scratch_mb": getattr(memory, "temp_size_in_bytes", 0) / 1e6,
    }


def traffic(program: str) -> dict[str, dict[str, int]]:
    """How many collectives of each kind a program holds, and the bytes they give."""
    found: dict[str, dict[str, int]] = {}
    for line in program.splitlines():
        match = re.search(rf"= (.*?) ({COLLECTIVES})(-start)?\(", line)
        if not match:
            continue
        entry = found.setdefault(match[2], {"count": 0, "bytes": 0})
        entry["count"] += 1
        for kind, shape in re.findall(r"(\w+)\[([\d,]*)\]", match[1]):
            size = np.prod([int(n) for n in shape.split(",") if n], dtype=int)
            entry["bytes"] += int(size) * BYTES.get(kind, 4)
    return found


def in_process(case: Case, store: Path) -> dict[str, Any]:
    """Run measure in a fresh process with that many devices."""
    words = [sys.executable, __file__, "--measure", json.dumps([case, str(store)])]
    env = dict(os.environ)
    if case.devices > 1:
        env["XLA_FLAGS"] = (
            f"--xla_force_host_platform_device_count={case.devices} "
            + env.get("XLA_FLAGS", "")
        )
        env["JAX_PLATFORMS"] = "cpu"
    done = subprocess.run(words, env=env, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def plan(*, quick: bool) -> dict[str, dict[str, Case]]:
    """Every case by part and name."""
    base = Case(neurons=100, frames=30, batch=8, steps=2, narrow=True)
    if not quick:
        base = Case(neurons=2000, frames=80, batch=2, steps=3)
    demo = base._replace(recipe="demo", frames=37, batch=16, steps=8 * base.steps)
    meshes = [(1, 1), (1, 2), (2, 2), (2, 4)]
    small = base._replace(mice=4, batch=8, frames=30, neurons=min(base.neurons, 500))
    small = small._replace(narrow=True, steps=1)
    one = base._replace(mice=1, batch=2, steps=2)
    n, t = base.neurons, base.frames
    return {
        "store": {"demo model": demo, base.recipe: base},
        "devices": {
            f"{a * b} devices, {a} x {b}": small._replace(devices=a * b, mesh=(a, b))
            for a, b in meshes
        },
        "sizes": {
            f"1 mouse, {n} neurons, {t} frames": one,
            f"1 mouse, {4 * n} neurons, {t} frames": one._replace(neurons=4 * n),
            f"4 mice, {n} neurons, {t} frames": one._replace(mice=4),
            f"1 mouse, {n} neurons, {2 * t} frames": one._replace(frames=2 * t),
        },
    }


def table(found: dict[str, dict[str, Any]]) -> str:
    """The findings for people."""
    lines = [f"one run on {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"]
    head = ("", "step s", "samples/s", "wait", "compile s", "scratch MB")
    lines.append("{:<40}{:>9}{:>10}{:>7}{:>10}{:>12}  exchanged".format(*head))
    for part, cases in found.items():
        lines += [part, *(row(name, got) for name, got in cases.items())]
    return "\n".join(lines)


def row(name: str, got: dict[str, Any]) -> str:
    """The findings of one case."""
    sent = "; ".join(
        f"{v['count']} {k} {v['bytes'] / 1e3:.0f} kB"
        for k, v in got["collectives"].items()
    )
    return (
        f"  {name:<38}{got['step_s']:9.2f}{got['samples_per_s']:10.1f}"
        f"{got['data_wait']:7.1%}{got['compile_s']:10.1f}"
        f"{got['scratch_mb']:12.0f}  {sent or 'nothing'}"
    )


def main() -> None:
    """Make recordings, measure, print."""
    parser = argparse.ArgumentParser(description="Speed of training.")
    parser.add_argument("--quick", action="store_true", help="small, for a look")
    parser.add_argument("--only", nargs="+", choices=("store", "devices", "sizes"))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        case, store = json.loads(args.measure)
        print(json.dumps(measure(Case(*case), Path(store))))
        return
    found: dict[str, dict[str, Any]] = {}
    for part, cases in plan(quick=args.quick).items():
        if args.only and part not in args.only:
            continue
        for name, case in cases.items():
            with tempfile.TemporaryDirectory(prefix="training") as folder:
                store = recordings(Path(folder), case)
                found.setdefault(part, {})[name] = in_process(case, store)
            print(row(name, found[part][name]), file=sys.stderr, flush=True)
    print(json.dumps(found) if args.json else table(found))


if __name__ == "__main__":
    main()
