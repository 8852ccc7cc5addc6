"""Training steps compiled for an H100 without one, and what their programs do.

    make gpu-programs

Needs the CUDA plugin of jaxlib's version beside it, without its dependencies (the make
target fetches it into a folder of its own). Nothing runs and nothing is tuned: read are
scratch memory, bytes that kernels read and write, and what is known to be slow. What a
loop does counts as often as it turns; the column "once" counts it once. A loop whose
turns nobody knows is an error.
"""

import argparse
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_SKIP_CUDA_CONSTRAINTS_CHECK", "1")

# What a compiler must know of a card, as its driver would tell.
H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32
  shared_memory_per_block: 49152 shared_memory_per_core: 233472
  threads_per_core_limit: 2048 core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  thread_dim_limit_x: 1024 thread_dim_limit_y: 1024 thread_dim_limit_z: 64
  device_address_bits: 64
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800
  clock_rate_ghz: 1.98 device_memory_size: 84978434048
  shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 8 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
BYTES = {"f64": 8, "s64": 8, "u64": 8, "f32": 4, "s32": 4, "u32": 4}
BYTES |= {"bf16": 2, "f16": 2, "u16": 2, "s16": 2, "u8": 1, "s8": 1, "pred": 1}
SHAPE = re.compile(r"\b({})\[([\d,]*)\]".format("|".join(BYTES)))
LINE = re.compile(r"(ROOT )?%([\w.\-]+) = (.*?) ([\w\-]+)\((.*)")
IDLE = {"parameter", "get-tuple-element", "tuple", "bitcast", "constant", "after-all"}
IDLE |= {"fusion-done", "copy-done", "async-done", "optimization-barrier"}
PARTIAL = {"dynamic-slice", "slice", "gather"}  # read as much as they give


class Op(NamedTuple):
    """One line of a program."""

    name: str
    result: str  # its type
    kind: str
    operands: tuple[str, ...]
    line: str
    root: bool


class Counts(NamedTuple):
    """What a program does in all."""

    moved: float  # bytes read and written
    once: float  # the same if every loop turned once
    turned: float  # bytes of transposes and copies
    calls: Counter  # of library kernels


def size(words: str) -> int:
    """Bytes of the arrays that a type names."""
    return sum(
        BYTES[kind] * int(np.prod([int(n) for n in dims.split(",") if n]))
        for kind, dims in SHAPE.findall(words)
    )


def parse(text: str) -> tuple[dict[str, list[Op]], str]:
    """The computations of a program by name, and the name of the first to run."""
    computations: dict[str, list[Op]] = {}
    entry, body = "", []
    for line in text.splitlines():
        head = re.match(r"^(ENTRY )?%?([\w.\-]+) .*\{$", line)
        if head:
            body = computations[head[2]] = []
            entry = head[2] if head[1] else entry
            continue
        found = LINE.match(line.strip()) if line.startswith("  ") else None
        if found:
            root, name, result, kind, rest = found.groups()
            operands = tuple(re.findall(r"%([\w.\-]+)", rest.split("), ")[0]))
            body.append(Op(name, result, kind, operands, line, bool(root)))
    return computations, entry


def called(op: Op, word: str) -> list[str]:
    """Computations that an operation names."""
    names = re.findall(word + r"=\{?((?:%[\w.\-]+(?:, )?)+)\}?", op.line)
    return [n for group in names for n in re.findall(r"[\w.\-]+", group)]


def count(text: str) -> Counts:
    """What the program of that text does."""
    computations, entry = parse(text)
    return _count(computations, entry)


def _count(computations: dict[str, list[Op]], name: str) -> Counts:
    ops = computations[name]
    types = {op.name: op.result for op in ops}
    moved = once = turned = 0.0
    calls: Counter = Counter()
    for op in ops:
        if op.kind == "while":
            turns = re.search(r'known_trip_count":\{"n":"(\d+)"', op.line)
            if turns is None:
                raise ValueError(f"nobody knows how often {op.name} turns")
            (body,) = called(op, "body")
            inner, times = _count(computations, body), int(turns[1])
            moved, once = moved + times * inner.moved, once + inner.once
            turned += times * inner.turned
            calls.update({k: times * v for k, v in inner.calls.items()})
        elif op.kind in ("conditional", "call"):
            word = "branch_computations" if op.kind == "conditional" else "to_apply"
            most = max(
                (_count(computations, c) for c in called(op, word)),
                key=lambda c: c.moved,
            )
            moved, once = moved + most.moved, once + most.once
            turned, calls = turned + most.turned, calls + most.calls
        elif op.kind not in IDLE:
            each = _bytes(computations, op, types)
            moved, once = moved + each, once + each
            if "transpose" in op.name or "copy" in op.name or op.kind == "copy":
                turned += each
            target = re.search(r'custom_call_target="([^"]+)"', op.line)
            if target:
                calls[target[1]] += 1
    return Counts(moved, once, turned, calls)


def _bytes(computations: dict[str, list[Op]], op: Op, types: dict[str, str]) -> int:
    """What one kernel reads and writes; of a slice of a larger array, the slice."""
    result = op.result.split(", ")[1] if op.kind == "fusion-start" else op.result
    inner = [c for c in called(op, "calls") if c in computations]
    if not op.kind.startswith("fusion") or not inner:
        return size(result) + sum(size(types.get(o, "")) for o in op.operands)
    body = computations[inner[0]]
    shapes = {o.name: o.result for o in body}
    updates = [o for o in body if o.kind == "dynamic-update-slice"]
    held = {o.operands[0] for o in updates}  # changed in place
    written = size(result)
    for update in updates:
        written -= size(update.result) - size(shapes.get(update.operands[1], ""))
    read = 0
    for parameter in (o for o in body if o.kind == "parameter"):
        users = [o for o in body if parameter.name in o.operands]
        taken = [o.kind in PARTIAL and o.operands[0] == parameter.name for o in users]
        if users and all(taken):
            read += sum(size(o.result) for o in users)
        elif parameter.name not in held or len(users) > 1:
            read += size(parameter.result)
    return max(written, 0) + read


def slow(text: str) -> dict[str, int]:
    """Known slow things, counted."""
    lines = [w for w in text.splitlines() if '"__cudnn$conv' in w]
    windows = [re.search(r"window=\{size=(\S+?)[ }]", w) for w in lines]
    return {
        "convolutions over three axes": sum(
            len(w[1].split("x")) == 3 for w in windows if w
        ),
        "convolutions of a dilated input": sum("lhs_dilate" in w for w in lines),
        "convolutions outside cuDNN": len(re.findall(r" convolution\(", text)),
        "scatters below float32": len(re.findall(r"= (?:bf16|f16)\S* scatter\(", text)),
        "products of many 2 x 2": len(
            re.findall(r"f32\[\d+,\d{3,},2,2\]\S* dot\(", text)
        ),
    }


# ---- compiling


def mesh() -> Any:
    """One H100 that is not here."""
    import jax
    from jax._src import xla_bridge
    from jax.experimental import topologies

    xla_bridge.discover_pjrt_plugins()
    found = topologies.get_topology_desc(
        platform="cuda", topology_name="", target_config=H100, topology="1x1x1"
    )
    kinds = (jax.sharding.AxisType.Auto,)
    return jax.sharding.Mesh(np.array(found.devices), ("data",), axis_types=kinds)


def compiled(on: Any, function: Callable, *shapes: Any) -> Any:
    """The program of a jitted function for that card."""
    import jax

    everywhere = jax.sharding.NamedSharding(on, jax.sharding.PartitionSpec())

    def place(x: Any) -> Any:
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere)

    with jax.set_mesh(on):
        return function.lower(*jax.tree.map(place, shapes)).compile()


class Goal(NamedTuple):
    """A step, and what its program may need at most (GB)."""

    preset: str
    precision: str
    windows: int
    frames: int = 80
    remat: bool = False
    scratch: float | None = None
    moved: float | None = None
    turned: float | None = None


# Ten mice of 8,000 neurons. Bytes are counted with the turns of loops.
GOALS = (
    Goal("factorized2023", "float32", 8),
    Goal("factorized2023", "bfloat16", 8, turned=5.0),
    Goal("factorized2023", "bfloat16", 8, remat=True),
    Goal("gru2023", "float32", 8, scratch=46.0),
    Goal("gru2023", "bfloat16", 8, scratch=25.0),
    Goal("dwise2023", "bfloat16", 4, frames=16, scratch=40.0),
)


def measure(goal: Goal, *, quick: bool = False) -> dict[str, Any]:
    """Compile one step and read it."""
    import jax
    import recipe_steps

    from sensorium_jax.training.step import Tally

    case = recipe_steps.Case(
        *(goal.preset, goal.preset, goal.windows, goal.frames, 300),
        mice=10,
        precision=goal.precision,
        remat=goal.remat,
    )
    if quick:
        case = case._replace(mice=2, windows=2, neurons=200)
    made = recipe_steps.programs(case)
    start = time.perf_counter()
    shapes = jax.eval_shape(made.state), made.windows, jax.eval_shape(Tally.zero)
    program = compiled(mesh(), made.step, *shapes)
    spent, text = time.perf_counter() - start, program.as_text()
    counts = count(text)
    return {
        "step": f"{goal.preset} {goal.precision}{' remat' * goal.remat}",
        "compile_s": spent,
        "scratch": program.memory_analysis().temp_size_in_bytes / 1e9,
        "moved": counts.moved / 1e9,
        "once": counts.once / 1e9,
        "turned": counts.turned / 1e9,
        "calls": dict(counts.calls),
        "slow": {k: v for k, v in slow(text).items() if v},
    }


def missed(goal: Goal, got: dict[str, Any]) -> list[str]:
    """Goals that a program does not keep, in words."""
    found = [f"{v} {k}" for k, v in got["slow"].items()]
    for name in ("scratch", "moved", "turned"):
        most = getattr(goal, name)
        if most is not None and got[name] > most:
            found.append(f"{name} {got[name]:.1f} GB, at most {most:g}")
    return found


def rows(*, quick: bool) -> Iterator[tuple[Goal, dict[str, Any]]]:
    """Every step, one after the other."""
    for goal in GOALS:
        yield goal, measure(goal, quick=quick)


def main() -> None:
    """Print a table; end with 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description="Programs for a GPU, without one.")
    parser.add_argument("--quick", action="store_true", help="small shapes, no goals")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    print(
        f"{'step':<34}{'scratch':>9}{'moved':>8}{'once':>8}{'turned':>8}{'compile':>9}"
    )
    found, failed = [], False
    for goal, got in rows(quick=args.quick):
        found.append(got)
        numbers = (got[k] for k in ("scratch", "moved", "once", "turned"))
        cells = "".join(f"{x:8.1f}" for x in numbers)
        print(f"{got['step']:<34} {cells}{got['compile_s']:7.0f} s", flush=True)
        misses = [] if args.quick else missed(goal, got)
        failed = failed or bool(misses)
        for words in misses:
            print(f"    missed: {words}")
        print(f"    {got['calls']}")
    if args.json:
        args.json.write_text(json.dumps(found))
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
