"""Everything to learn from a GPU in one go, most valuable first.

    python experiments/benchmarks/gpu.py [--quick] [--only PART ...] [--minutes 9]
        [--out gpu.jsonl]

Each part is a process of its own with a limit of its own, and appends a line to the
file after every number, so that nothing is lost when a part fails or time ends. It runs
offline; a part that lacks something is skipped with its reason. --quick makes all sizes
tiny, so that the script can be tried on a CPU. Torch is optional.

XLA tries many kernels for each convolution and product while it compiles, on the
card. For a whole step that takes more than 100 s on an H200, and without it
(--xla_gpu_autotune_level=0) convolutions take a hundred times as long. So limits are
long, parts run one after the other, and compiled programs are kept for other parts.
"""

import argparse
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).parents[2]
TALL, WIDE = 36, 64  # frames of the recordings of 2023
STEP = {"preset": "factorized2023", "recipe": "factorized2023"}
PRECISIONS = ("float32", "tf32", "bfloat16")
KERNELS = 20  # of a step that are named


class Job(NamedTuple):
    """What a child does: where its numbers go, and whether sizes are tiny."""

    out: Path
    folder: Path  # of recordings and traces
    quick: bool

    def tell(self, part: str, **numbers: Any) -> None:
        """Append a line; what was told is safe from then on."""
        with self.out.open("a") as file:
            print(json.dumps({"part": part, **numbers}), file=file, flush=True)


def timed(call: Callable[[], Any], least: float = 0.5) -> float:
    """Seconds of a call that leaves its work on the device: median of five groups."""
    import jax

    jax.block_until_ready(call())
    start = time.perf_counter()
    jax.block_until_ready(call())
    once = max(time.perf_counter() - start, 1e-6)
    many, groups = max(1, int(least / 5 / once)), []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(many):
            last = call()
        jax.block_until_ready(last)
        groups.append((time.perf_counter() - start) / many)
    return float(np.median(groups))


# ---- the machine


def machine(job: Job) -> None:
    """Versions, and what the card can do at most."""
    from importlib.metadata import PackageNotFoundError, version

    import jax
    import jax.numpy as jnp

    versions = {}
    for name in ("jax", "jaxlib", "flax", "orbax-checkpoint", "torch"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    device = jax.devices()[0]
    about = {"device": device.device_kind, "cores": os.cpu_count(), **versions}
    job.tell("machine", python=sys.version.split()[0], **about)
    words = "name,driver_version,memory.total,clocks.max.sm"
    try:
        query = ["nvidia-smi", f"--query-gpu={words}", "--format=csv,noheader"]
        found = subprocess.run(query, capture_output=True, text=True, check=True)
        job.tell("machine", nvidia_smi=found.stdout.strip())
    except (OSError, subprocess.CalledProcessError) as e:
        job.tell("machine", nvidia_smi=f"not read: {e}")
    numbers = 2**20 if job.quick else 2**30
    x = jnp.ones(numbers, jnp.float32)
    copy = jax.jit(lambda x: x + 1)
    job.tell("machine", copy_gb_s=8 * numbers / timed(lambda: copy(x)) / 1e9)
    n = 256 if job.quick else 8192
    product = jax.jit(jnp.matmul, static_argnames="precision")
    for name, dtype, precision in (
        ("bfloat16", jnp.bfloat16, None),
        ("tf32", jnp.float32, "tensorfloat32"),
        ("float32", jnp.float32, "highest"),
    ):
        a = jax.random.normal(jax.random.key(0), (n, n), dtype)
        call = functools.partial(product, a, a, precision=precision)
        job.tell("machine", product=name, tflops=2 * n**3 / timed(call) / 1e12)


# ---- values and gradients


def operations(*, quick: bool) -> dict[str, tuple[Callable, tuple]]:
    """Each operation of a model, and the shapes of what it takes."""
    from sensorium_jax.models.ops import convolutions, recur, sample

    conv, time_, whole = (
        convolutions.spatial_conv,
        convolutions.temporal_conv,
        convolutions.conv3d,
    )
    t, n = (4, 50) if quick else (12, 2000)
    maps = (1, 2, t, 18, 46, 32)

    def gru(drive, gates, out):
        f = out.shape[-1]
        zeros = [np.zeros(2 * f, np.float32), np.zeros(f, np.float32)]
        weights = recur.Weights(0.1 * gates, zeros[0], 0.1 * out, zeros[1])
        return recur.states(drive, weights)

    def clustered(feat, grid, weight):
        return sample.point_readout(feat, 0.3 + 1e-3 * grid, weight)

    def spread(feat, grid, weight):
        return sample.point_readout(feat, grid / 2, weight)

    points = ((1, t, 18, 46, 32), (1, t, n, 2), (n, 32))
    return {
        "11 x 11": (conv, ((1, 2, t, TALL, WIDE, 3), (11, 11, 3, 16))),
        "5 x 5": (conv, (maps, (5, 5, 32, 64))),
        "5 x 5, stride 2": (
            functools.partial(conv, stride=2, padding=2),
            (maps, (5, 5, 32, 16)),
        ),
        "time 3": (functools.partial(time_, padding=1), (maps, (3, 32, 32))),
        "time 3, stride 2": (
            functools.partial(time_, stride=2, padding=1),
            (maps, (3, 32, 32)),
        ),
        "3 x 3 x 3": (whole, (maps, (3, 3, 3, 32, 16))),
        "depthwise": (
            functools.partial(convolutions.depthwise_spatial, padding=1),
            (maps, (3, 3, 32)),
        ),
        "depthwise, stride 2": (
            functools.partial(convolutions.depthwise_spatial, padding=1, stride=2),
            (maps, (3, 3, 32)),
        ),
        "depthwise time": (
            functools.partial(convolutions.depthwise_temporal, padding=2),
            (maps, (5, 32)),
        ),
        "pointwise": (convolutions.pointwise, (maps, (32, 64))),
        "gru": (gru, ((1, 1, t, 9, 12, 24), (3, 3, 8, 16), (3, 3, 8, 8))),
        "bilinear": (
            lambda f, g: sample.sample_bilinear(f, g / 2),
            points[:2],
        ),
        "readout": (spread, points),
        "readout, one place": (clustered, points),
    }


def values(job: Job) -> None:
    """Answers and gradients of every operation, against those of the CPU."""
    import jax
    import jax.numpy as jnp

    here, cpu = jax.devices()[0], jax.devices("cpu")[0]
    dtypes = {"float32": jnp.float32, "tf32": jnp.float32, "bfloat16": jnp.bfloat16}
    for name, (function, shapes) in operations(quick=job.quick).items():
        rng = np.random.default_rng(0)
        arrays = [rng.standard_normal(s).astype(np.float32) for s in shapes]
        seed = rng.standard_normal(jax.eval_shape(function, *arrays).shape)
        points = shapes[1] if shapes[1][-1] == 2 else ()  # always in float32
        run = functools.partial(pulled, function, seed, arrays, points)
        true = run(cpu, "highest", jnp.float32)[0]
        for precision, dtype in dtypes.items():
            products = "highest" if precision == "float32" else "tensorfloat32"
            about = {"operation": name, "precision": precision}
            try:
                tries = run(here, products, dtype)
            except Exception as e:
                job.tell("values", **about, failed=brief(e))
                continue
            errors = [distance(a, b) for a, b in zip(tries[0], true, strict=True)]
            again = max(
                distance(a, b)
                for other in tries[1:]
                for a, b in zip(tries[0], other, strict=True)
            )
            gradients = max(errors[1:])
            about |= {"error": errors[0], "gradient_error": gradients}
            job.tell("values", **about, between_runs=again)


def pulled(
    function: Callable,
    seed: np.ndarray,
    arrays: list[np.ndarray],
    points: tuple[int, ...],
    device: Any,
    products: str,
    dtype: Any,
) -> list[list[np.ndarray]]:
    """Values and gradients on a device, three times."""
    import jax
    import jax.numpy as jnp

    def both(seed, *arrays):
        y, pull = jax.vjp(function, *arrays)
        return (y, *pull(seed.astype(y.dtype)))

    given = [
        jnp.asarray(a, jnp.float32 if a.shape == points else dtype) for a in arrays
    ]
    given = jax.device_put([jnp.asarray(seed, jnp.float32), *given], device)
    with jax.default_matmul_precision(products):
        program = jax.jit(both)
        return [jax.device_get(program(*given)) for _ in range(3)]


def distance(a: Any, b: Any) -> float:
    """How far two arrays lie apart, as a share of the second."""
    a, b = (np.asarray(v, np.float64) for v in (a, b))
    return float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30))


def brief(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {str(error).splitlines()[0][:300]}"


def ways(job: Job) -> None:
    """Equal formulations beside each other: values and gradients, in milliseconds."""
    import jax.numpy as jnp

    from sensorium_jax.models.ops import depthwise

    if not job.quick:
        depthwise.BLOCK_BYTES = 2**40  # all images at once: a card has no small cache
    for name, (functions, shapes) in formulations(quick=job.quick).items():
        for dtype in (jnp.bfloat16, jnp.float32):
            for way, function in functions.items():
                about = {"operation": name, "way": way, "dtype": str(jnp.dtype(dtype))}
                try:
                    job.tell(
                        "ways", **about, **milliseconds(job, function, shapes, dtype)
                    )
                except Exception as e:
                    job.tell("ways", **about, failed=brief(e))


def formulations(*, quick: bool) -> dict[str, tuple[dict[str, Callable], tuple]]:
    """Operations that can be written in two ways, at the shapes of a step."""
    from sensorium_jax.models.ops import convolutions, formulation

    def direct(function):
        def inside(x, kernel):
            with formulation.use("direct"):
                return function(x, kernel)

        return inside

    b, t = (2, 12) if quick else (80, 80)
    cases: dict[str, Any] = {
        f"time {k}, {c} channels": (
            {"three axes": three_axes, "two axes": convolutions.temporal_conv},
            ((1, b, t, h, w, c), (k, c, c)),
        )
        for k, c, h, w in ((11, 32, 26, 54), (5, 64, 22, 50), (5, 128, 18, 46))
    }
    space = functools.partial(convolutions.depthwise_spatial, padding=1)
    strided = functools.partial(space, stride=2)
    along = functools.partial(convolutions.depthwise_temporal, padding=2)
    for name, function, size, kernel in (
        ("depthwise", space, 32, (3, 3)),
        ("depthwise, stride 2", strided, 64, (3, 3)),
        ("depthwise time", along, 32, (5,)),
    ):
        b, size, c = (2, 8, 16) if quick else (40, size, 448)
        functions = {"library": function, "shifted": direct(function)}
        cases[name] = functions, ((1, b, 16, size, size, c), (*kernel, c))
    return cases


def three_axes(x: Any, kernel: Any) -> Any:
    """A convolution over time as one over time, rows and columns."""
    from jax import lax

    m, b, *rest = x.shape
    y = lax.conv_general_dilated(
        *(x.reshape(m * b, *rest), kernel[:, None, None].astype(x.dtype)),
        *((1, 1, 1), "VALID"),
        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
    )
    return y.reshape(m, b, *y.shape[1:])


def milliseconds(
    job: Job, function: Callable, shapes: tuple, dtype: Any
) -> dict[str, float]:
    """Of values, and of gradients alone, on random numbers."""
    import jax

    keys = jax.random.split(jax.random.key(0), 2)
    given = [jax.random.normal(k, s, dtype) for k, s in zip(keys, shapes, strict=True)]

    def pull(seed, *given):
        return jax.vjp(function, *given)[1](seed)

    with jax.default_matmul_precision("tensorfloat32"):
        forward, backward = jax.jit(function), jax.jit(pull)
        seed = forward(*given)
        jax.block_until_ready(backward(seed, *given))
        return {
            "forward_ms": 1e3 * timed(lambda: forward(*given), 0.2),
            "backward_ms": 1e3 * timed(lambda: backward(seed, *given), 0.2),
        }


# ---- steps


def case_of(job: Job, preset: str, precision: str, **changes: Any) -> Any:
    """Ten mice of 8,000 neurons, or a tiny one."""
    import recipe_steps

    sizes = {
        "factorized2023": {"windows": 8, "frames": 80},
        "dwise2023": {"windows": 4, "frames": 16},
        "gru2023": {"windows": 1, "frames": 80},
        "own": {"windows": 8, "frames": 80},
    }[preset]
    case = {"preset": preset, "recipe": preset, "precision": precision, "trial": 300}
    case |= {**sizes, "mice": 10, "neurons": 8000} | changes
    if job.quick:
        case |= {"windows": 1, "mice": 2, "neurons": 50, "trial": 24}
        case["frames"] = 16 if preset == "dwise2023" else 24
    return recipe_steps.Case(**case)


def step(job: Job, preset: str, precision: str, **changes: Any) -> None:
    """A whole training step, and the answer to one trial of every mouse."""
    import jax
    import recipe_steps

    from sensorium_jax.models.ops import formulation
    from sensorium_jax.training.step import Tally
    from sensorium_jax.zoo import work

    case = case_of(job, preset, precision, **changes)
    name = f"{preset} {precision}{' remat' * case.remat}"
    start = time.perf_counter()
    made = recipe_steps.programs(case)
    with formulation.use("library"):
        paper = jax.eval_shape(made.state), made.windows, jax.eval_shape(Tally.zero)
        flops = work.products(made.step, *paper)
    state, batch = made.state(), recipe_steps.drawn(made.windows, case.mice)
    job.tell("step", name=name, built_s=time.perf_counter() - start)
    start = time.perf_counter()
    program = made.step.lower(state, batch, Tally.zero())
    lowered = time.perf_counter() - start
    job.tell("step", name=name, trace_s=lowered)
    program = program.compile()
    compiled = time.perf_counter() - start
    scratch = getattr(program.memory_analysis(), "temp_size_in_bytes", 0) / 1e9
    job.tell("step", name=name, compile_s=compiled, scratch_gb=scratch)
    held = [state]

    def one() -> Any:
        held[0], tally = program(held[0], batch, Tally.zero())
        return tally

    seconds = timed(one, 0.5 if job.quick else 2.0)
    peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)
    job.tell(
        "step",
        name=name,
        work=f"{case.mice} x {case.windows} x {case.frames} x {case.neurons}",
        ms=1e3 * seconds,
        windows_s=case.mice * case.windows / seconds,
        tflop=flops / 1e12,
        tflops=flops / seconds / 1e12,
        peak_gb=peak / 1e9,
        loss=float(jax.device_get(one()).loss),
    )
    kernels(job, name, one)
    trial = recipe_steps.drawn(made.trial)
    variables = recipe_steps.given(held[0])
    jax.block_until_ready(made.answer(variables, trial))
    seconds = timed(lambda: made.answer(variables, trial))
    job.tell("answer", name=name, frames=case.mice * case.trial, ms=1e3 * seconds)


def kernels(job: Job, name: str, call: Callable[[], Any], steps: int = 3) -> None:
    """Where the time of a step goes, by kernel."""
    import jax

    folder = job.folder / "traces" / name.replace(" ", "-")
    with jax.profiler.trace(str(folder)):
        for _ in range(steps):
            last = call()
        jax.block_until_ready(last)
    spent: Counter = Counter()
    seen = set()
    for path in folder.rglob("*.xplane.pb"):
        for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
            seen.add(plane.name)
            if not plane.name.startswith("/device:GPU"):
                continue
            for line in plane.lines:
                seen.add(line.name)
                if line.name.startswith("Stream"):
                    for event in line.events:
                        spent[event.name] += event.duration_ns
    total = sum(spent.values())
    if not total:
        return job.tell("kernels", name=name, skipped=f"no kernels in {sorted(seen)}")
    each = {k: round(v / steps / 1e6, 3) for k, v in spent.most_common(KERNELS)}
    job.tell("kernels", name=name, total_ms=total / steps / 1e6, ms=each)


# ---- the same work in PyTorch


def torch_model(neurons: int, mice: int) -> Any:
    """A model of the shapes of factorized2023, in plain PyTorch."""
    import torch
    from torch import nn

    class Readout(nn.Module):
        def __init__(self):
            super().__init__()
            self.coordinates = torch.rand(neurons, 2)
            self.place = nn.Sequential(
                nn.Linear(2, 30), nn.ELU(), nn.Linear(30, 2), nn.Tanh()
            )
            self.sigma = nn.Parameter(0.1 * torch.randn(neurons, 2, 2))
            self.features = nn.Parameter(torch.full((128, neurons), 1 / 128))
            self.bias = nn.Parameter(torch.zeros(neurons))
            self.shift = nn.Sequential(
                *(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh()),
                *(nn.Linear(5, 2), nn.Tanh()),
            )

        def forward(self, maps, pupil):
            where = self.place(self.coordinates.to(maps.device))
            noise = torch.randn(len(maps), neurons, 2, device=maps.device)
            where = where + torch.einsum("ncd,bnd->bnc", self.sigma, noise)
            where = where.clamp(-1, 1) + self.shift(pupil)[:, None]
            read = nn.functional.grid_sample(
                maps, where[:, :, None].to(maps.dtype), align_corners=True
            )
            drive = (read[..., 0] * self.features).sum(1) + self.bias
            return nn.functional.elu(drive) + 1

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            layers, before = [], 3
            for i, after in enumerate((32, 64, 128)):
                space, along = (11, 11) if i == 0 else (5, 5)
                layers += [
                    nn.Conv3d(before, after, (1, space, space)),
                    nn.Conv3d(after, after, (along, 1, 1)),
                    nn.BatchNorm3d(after),
                    nn.ELU(),
                ]
                before = after
            self.core = nn.Sequential(*layers)
            self.readouts = nn.ModuleList(Readout() for _ in range(mice))

        def forward(self, mouse, film, pupil):
            maps = self.core(film).transpose(1, 2).flatten(0, 1)
            return self.readouts[mouse](maps, pupil.flatten(0, 1))

    return Model()


def torch_step(job: Job, kind: str) -> None:
    """One step over all mice, one mouse after the other, as the original does it."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    case = case_of(job, "factorized2023", "float32")
    torch.backends.cudnn.benchmark = True
    tf32 = kind != "float32"
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    model = torch_model(case.neurons, case.mice).to(device)
    if "bfloat16" in kind:
        model.core.to(memory_format=torch.channels_last_3d)
    run = torch.compile(model) if "compiled" in kind else model
    adam = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=device == "cuda")
    lead = (case.mice, case.windows)
    film = torch.randn(*lead, 3, case.frames, TALL, WIDE, device=device)
    pupil = torch.randn(*lead, case.frames - 18, 2, device=device)
    shape = (case.mice, case.windows * (case.frames - 18), case.neurons)
    counts = torch.rand(shape, device=device)

    def one() -> Any:
        adam.zero_grad(set_to_none=True)
        for m in range(case.mice):
            with torch.autocast(device, torch.bfloat16, enabled="bfloat16" in kind):
                rates = run(m, film[m], pupil[m])
            rates = rates.float()
            loss = (rates - counts[m] * torch.log(rates + 1e-8)).sum()
            loss = loss + model.readouts[m].features.abs().sum()
            loss.backward()
        adam.step()
        return loss

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    start = time.perf_counter()
    for _ in range(3):
        one()
    wait()
    warm = time.perf_counter() - start
    seconds = []
    for _ in range(2 if job.quick else 7):
        start = time.perf_counter()
        one()
        wait()
        seconds.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else 0
    job.tell(
        "torch step",
        name=kind,
        work=f"{case.mice} x {case.windows} x {case.frames} x {case.neurons}",
        three_warm_steps_s=warm,
        ms=1e3 * float(np.median(seconds)),
        peak_gb=peak,
        core_weights=sum(p.numel() for p in model.core.parameters()),
    )


# ---- the program as people use it


def store(job: Job) -> None:
    """Recordings for `fit` and `demo`, made by the CPU while the card does the rest."""
    import training

    if job.quick:
        case = training.Case(mice=2, neurons=50, frames=30, batch=2)
    else:
        case = training.Case(mice=10, neurons=8000, frames=80, batch=8)
    start = time.perf_counter()
    training.recordings(job.folder / "making", case)
    (job.folder / "making").rename(job.folder / "made")
    job.tell("store", seconds=time.perf_counter() - start)
    sensorium(job, "simulate", str(job.folder / "cortex-making"), "--preset", "demo")
    (job.folder / "cortex-making").rename(job.folder / "cortex")
    job.tell("store", with_cortex_seconds=time.perf_counter() - start)


def sensorium(job: Job, *words: str, quiet: bool = True) -> str:
    """A verb of the command line, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "sensorium_jax", *words],
        capture_output=True,
        text=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu"} if quiet else None,
        cwd=ROOT,
    )
    if done.returncode:
        raise RuntimeError(
            f"{words[0]} ended with {done.returncode}: {done.stderr[-800:]}"
        )
    return done.stdout


def awaited(path: Path, most: float = 240.0) -> Path:
    """A folder that `store` makes meanwhile."""
    until = time.monotonic() + most
    while not path.exists():
        if time.monotonic() > until:
            raise RuntimeError(f"{path.name} was not made within {most:.0f} s")
        time.sleep(0.5)
    return path


def fit(job: Job, precision: str) -> None:
    """Training from a store in memory by the command: pace and waiting for data."""
    data = awaited(job.folder / "made") / "store"
    run, steps = job.folder / f"fit-{precision}", 6 if job.quick else 42
    options = {
        "data.root": data,
        "train.steps": steps,
        "train.batch": 2 if job.quick else 8,
        "train.frames": 30 if job.quick else 80,
        "train.precision": precision,
        "train.report_every": steps // 6,
        "validate.every": 10 * steps,
        "validate.skip": 0,
    }
    words = [f"--config.{k}={v}" for k, v in options.items()]
    words += ["--config", "factorized2023", "--workdir", str(run)]
    start = time.perf_counter()
    sensorium(job, "train", *words, quiet=False)
    spent = time.perf_counter() - start
    rows = [json.loads(r) for r in (run / "log.jsonl").read_text().splitlines()]
    job.tell(
        "fit",
        precision=precision,
        seconds=spent,
        steps=steps,
        log=[
            {k: r[k] for k in ("step", "samples_per_s", "data_wait") if k in r}
            for r in rows
            if "samples_per_s" in r
        ],
    )


def demo(job: Job, seed: str, precision: str) -> None:
    """Recipe demo from a simulated cortex to a score."""
    data = awaited(job.folder / "cortex")
    run = job.folder / f"demo-{seed}-{precision}"
    words = [f"--config.data.root={data}", f"--config.seed={seed}"]
    words += [f"--config.train.precision={precision}"]
    words += ["--config.train.steps=20"] if job.quick else []
    start = time.perf_counter()
    sensorium(
        *(job, "train", "--config", "demo", "--workdir", str(run), *words), quiet=False
    )
    spent = time.perf_counter() - start
    told = sensorium(
        *(job, "score", "--data", str(data), "--workdir", str(run), "--json"),
        *("--no-linear", "--draws", "50"),
        quiet=False,
    )
    keys = ("single_trial", "ceiling")
    scores = {
        name: {k: tier[k] for k in keys if k in tier}
        for name, tier in json.loads(told).items()
        if isinstance(tier, dict)
    }
    job.tell("demo", seed=seed, precision=precision, train_s=spent, score=scores)


def suite(job: Job) -> None:
    """The tests of models and training, on the card, with full products."""
    env = os.environ | {
        "JAX_PLATFORMS": "cuda,cpu" if not job.quick else "cpu",
        "JAX_DEFAULT_MATMUL_PRECISION": "highest",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "XLA_PYTHON_CLIENT_MEM_FRACTION": ".08",
    }
    rooms = (
        ["tests/models/test_sample.py"]
        if job.quick
        else ["tests/models", "tests/training"]
    )
    log = job.out.with_name("suite.log")
    words = [sys.executable, "-m", "pytest", "-n", "8", "-vv", "-p", "no:cacheprovider"]
    words += ["-W", "default", "--tb=line", *rooms]
    with log.open("w") as file:
        process = subprocess.Popen(words, cwd=ROOT, env=env, stdout=file, stderr=file)
        try:
            code: int | None = process.wait(150)
        except subprocess.TimeoutExpired:
            process.kill()
            code = None
    text = log.read_text()
    counts = {k.lower(): text.count(f" {k} ") for k in ("PASSED", "FAILED", "SKIPPED")}
    failed = [line[:300] for line in text.splitlines() if line.startswith("FAILED")]
    job.tell("suite", code=code, **counts, first_failures=failed[:40])


# ---- one after the other


def _step(preset: str, precision: str, **changes: Any) -> Callable[[Job], None]:
    return functools.partial(step, preset=preset, precision=precision, **changes)


def _demo(seed: str, precision: str) -> Callable[[Job], None]:
    return functools.partial(demo, seed=seed, precision=precision)


class Part(NamedTuple):
    """What it does, and how many seconds it may take."""

    run: Callable[[Job], None]
    limit: int


PARTS = {
    "machine": Part(machine, 60),
    "step factorized2023 bfloat16": Part(_step("factorized2023", "bfloat16"), 280),
    "torch bfloat16": Part(functools.partial(torch_step, kind="bfloat16"), 60),
    "step factorized2023 float32": Part(_step("factorized2023", "float32"), 280),
    "torch float32": Part(functools.partial(torch_step, kind="float32"), 60),
    "fit bfloat16": Part(functools.partial(fit, precision="bfloat16"), 120),
    "demo 0": Part(_demo("0", "float32"), 150),
    "ways": Part(ways, 120),
    "step factorized2023 tf32": Part(_step("factorized2023", "tf32"), 280),
    "torch tf32": Part(functools.partial(torch_step, kind="tf32"), 60),
    "values": Part(values, 100),
    "step dwise2023 bfloat16": Part(_step("dwise2023", "bfloat16"), 280),
    "step gru2023 bfloat16": Part(_step("gru2023", "bfloat16"), 200),
    "suite": Part(suite, 170),
    "step dwise2023 float32": Part(_step("dwise2023", "float32"), 280),
    "step dwise2023 tf32": Part(_step("dwise2023", "tf32"), 280),
    "demo 1": Part(_demo("1", "bfloat16"), 150),
    "torch compiled": Part(
        functools.partial(torch_step, kind="bfloat16 compiled"), 150
    ),
    "step remat": Part(_step("factorized2023", "bfloat16", remat=True), 280),
}


def child(part: str, job: Job) -> None:
    """Do one part; an error is a line like others."""
    try:
        (store if part == "store" else PARTS[part].run)(job)
    except ImportError as e:
        job.tell(part, skipped=brief(e))
    except Exception as e:
        traceback.print_exc()
        job.tell(part, failed=brief(e))


def run_all(args: argparse.Namespace, job: Job) -> None:
    """Every part in its turn, some at a time, all within the minutes."""
    until = time.monotonic() + 60 * args.minutes
    words = [sys.executable, __file__, "--out", str(job.out)]
    words += ["--folder", str(job.folder), *["--quick"] * job.quick]
    paths = f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"
    env = os.environ | {"PYTHONPATH": paths, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    parts = [p for p in PARTS if not args.only or p.startswith(tuple(args.only))]
    errors = job.out.with_name("errors.log").open("a")
    env["JAX_COMPILATION_CACHE_DIR"] = str(job.folder / "programs")

    def begin(part: str, **more: str) -> subprocess.Popen:
        return subprocess.Popen(
            [*words, "--part", part],
            env=env | more,
            stdout=errors,
            stderr=errors,
            start_new_session=True,  # so that all that it began ends with it
        )

    def end(process: subprocess.Popen) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    making = None
    if any(p.startswith(("fit", "demo")) for p in parts):
        making = begin("store", JAX_PLATFORMS="cpu")
    for part in parts:
        left, start = until - time.monotonic(), time.monotonic()
        if left < 15:
            job.tell(part, skipped="no time left")
            continue
        process = begin(part)
        try:
            process.wait(min(left, PARTS[part].limit))
        except subprocess.TimeoutExpired:
            end(process)
            job.tell(part, failed=f"not done after {time.monotonic() - start:.0f} s")
        print(f"{part}: {time.monotonic() - start:.0f} s", flush=True)
    if making is not None:
        end(making)


def table(out: Path) -> str:
    """The lines of the file for people; times, kernels last."""
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    last = [x for x in lines if x["part"] == "kernels"]
    shown = []
    for line in [x for x in lines if x["part"] != "kernels"] + last:
        words = [
            f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}"
            for k, v in line.items()
            if k != "part"
        ]
        shown.append(f"{line['part']:<12} {', '.join(words)}"[:1500])
    return "\n".join(shown)


def main() -> None:
    """Run the parts, print the table."""
    parser = argparse.ArgumentParser(description="What a GPU does with our programs.")
    parser.add_argument("--quick", action="store_true", help="tiny, to try it on a CPU")
    parser.add_argument("--only", nargs="+", help="parts by the start of their names")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--out", type=Path, default=Path("gpu.jsonl"))
    parser.add_argument("--folder", type=Path, help="of recordings and traces")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        return child(args.part, Job(args.out, args.folder, args.quick))
    args.out.unlink(missing_ok=True)
    fast = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="gpu", dir=fast) as folder:
        run_all(args, Job(args.out.absolute(), args.folder or Path(folder), args.quick))
    print(table(args.out))


if __name__ == "__main__":
    main()
