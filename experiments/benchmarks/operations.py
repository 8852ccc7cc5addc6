"""Time of each operation: the direct formulation, the library's, and PyTorch's.

    python experiments/benchmarks/operations.py [--quick] [--only NAME ...]

Shapes are those of the baselines of 2023 and of DwiseNeuro. All ways take turns in one
run, so compare ratios, not times of different runs. PyTorch, when it is installed,
gets its best settings: memory kept instead of returned to the system, three warm-up
calls, and the better of its two layouts. Times are medians in milliseconds.
"""

import argparse
import functools
import importlib.util
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.models.ops import convolutions, formulation, sample

HEAP = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "1000000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
WARM_UPS = 3
PARTS = ("forward", "both")


class Case(NamedTuple):
    """One operation at one shape; torch says which of its functions is the same."""

    name: str
    ours: Callable
    inputs: tuple[tuple[int, ...], ...]  # shapes, the input's first
    torch: str
    options: dict[str, Any] = {}


def cases(*, quick: bool) -> list[Case]:
    """The layers whose times add up to a training step; fewer frames if quick."""
    t, d, images = (10, 2, 4) if quick else (80, 16, 64)
    space, time_, point = (
        convolutions.spatial_conv,
        convolutions.temporal_conv,
        convolutions.pointwise,
    )
    return [
        Case("11x11 3->32", space, ((1, 2, t, 36, 64, 3), (11, 11, 3, 32)), "conv"),
        Case("5x5 32->64", space, ((1, 2, t, 26, 54, 32), (5, 5, 32, 64)), "conv"),
        Case("5x5 64->128", space, ((1, 2, t, 22, 50, 64), (5, 5, 64, 128)), "conv"),
        Case(
            "9x9 64->128, one frame",
            space,
            ((1, 1, 1, 28, 56, 64), (9, 9, 64, 128)),
            "conv",
            {"padding": 4},
        ),
        *(
            Case(f"time {k}, {c}", time_, ((1, 2, t + k, h, w, c), (k, c, c)), "conv")
            for k, c, h, w in ((11, 32, 26, 54), (5, 64, 22, 50), (5, 128, 18, 46))
        ),
        *(
            Case(
                f"depthwise 3x3 stride {s}, {c}",
                convolutions.depthwise_spatial,
                ((1, 2, d, h, h, c), (3, 3, c)),
                "depthwise",
                {"stride": s, "padding": 1},
            )
            for s, c, h in ((2, 384, 64), (1, 384, 32), (1, 768, 16))
        ),
        Case(
            "depthwise time 5, 384",
            convolutions.depthwise_temporal,
            ((1, 2, d, 32, 32, 384), (5, 384)),
            "depthwise",
            {"padding": 2},
        ),
        Case("1x1 64->384", point, ((1, 2, d, 64, 64, 64), (64, 384)), "conv"),
        Case(
            f"readout, {images} images",
            sample.point_readout,
            ((1, images, 18, 46, 128), (1, images, 8000, 2), (8000, 128)),
            "readout",
        ),
    ]


def plain_readout(feat_bthwf, grid_btn2, weight_nf):
    """The readout as first written: gather, and differentiate automatically."""

    def image(feat_hwf, grid_n2):
        index_nk, weight_nk, _ = sample._corners(grid_n2, feat_hwf.shape)
        rows = feat_hwf.reshape(-1, feat_hwf.shape[-1])[index_nk]
        return jnp.sum(jnp.einsum("nkf,nk->nf", rows, weight_nk) * weight_nf, -1)

    return jax.vmap(jax.vmap(image))(feat_bthwf, grid_btn2)


def jax_ways(case: Case) -> dict[str, Callable]:
    """The direct formulation and what one would write without it."""
    direct = functools.partial(case.ours, **case.options)

    def library(*arrays):
        if case.torch == "readout":
            return plain_readout(*arrays)
        if case.ours is convolutions.pointwise:
            return jnp.einsum("mbthwc,cf->mbthwf", *arrays)
        with formulation.use("library"):
            return direct(*arrays)

    return {"direct": direct, "library": library}


def jax_calls(function: Callable, arrays: list[np.ndarray]) -> tuple[dict, float]:
    """Compiled forward and forward with all gradients, and how long compiling took."""
    given = [jnp.asarray(a) for a in arrays]
    shape = jax.eval_shape(function, *given).shape
    seed = jnp.asarray(np.random.default_rng(9).standard_normal(shape), jnp.float32)

    def both(seed, *given):
        y, pull = jax.vjp(function, *given)
        return y, pull(seed)

    start = time.perf_counter()
    forward = jax.jit(function).lower(*given).compile()
    with_gradients = jax.jit(both).lower(seed, *given).compile()
    spent = time.perf_counter() - start
    calls = {
        "forward": lambda: jax.block_until_ready(forward(*given)),
        "both": lambda: jax.block_until_ready(with_gradients(seed, *given)),
    }
    return calls, spent


def torch_calls(case: Case, arrays: list[np.ndarray], *, channels_last: bool) -> dict:
    """The same operation in PyTorch, in one of its two layouts."""
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    layout = torch.channels_last_3d if channels_last else torch.contiguous_format
    leaves = [torch.tensor(a) for a in arrays]
    options: dict[str, Any] = {}
    if case.torch == "readout":
        flat = torch.channels_last if channels_last else torch.contiguous_format
        maps = leaves[0].flatten(0, 1).permute(0, 3, 1, 2)
        leaves[0] = maps.contiguous(memory_format=flat)
        leaves[1] = leaves[1].flatten(0, 1)[:, :, None]

        def run(maps, grid, weight):
            y = torch.nn.functional.grid_sample(maps, grid, align_corners=True)
            return (y[..., 0] * weight.T[None]).sum(1)
    else:
        x, kernel = leaves[0].flatten(0, 1).permute(0, 4, 1, 2, 3), leaves[1]
        if case.torch == "depthwise":
            options["groups"] = kernel.shape[-1]
            kernel = kernel[..., None, :]
        if case.ours in (convolutions.temporal_conv, convolutions.depthwise_temporal):
            kernel = kernel[:, None, None]
            options["padding"] = (case.options.get("padding", 0), 0, 0)
        else:
            kernel = kernel.reshape((1,) * (5 - kernel.ndim) + kernel.shape)
            s, p = case.options.get("stride", 1), case.options.get("padding", 0)
            options |= {"stride": (1, s, s), "padding": (0, p, p)}
        kernel = kernel.permute(4, 3, 0, 1, 2).contiguous(memory_format=layout)
        leaves = [x.contiguous(memory_format=layout), kernel]
        run = functools.partial(torch.nn.functional.conv3d, **options)

    with torch.no_grad():
        seed = torch.randn_like(run(*leaves))
    learned = [v.detach().requires_grad_() for v in leaves]

    def forward():
        with torch.no_grad():
            return run(*leaves)

    return {
        "forward": forward,
        "both": lambda: torch.autograd.grad(run(*learned), learned, seed),
    }


def measure(ways: dict[str, dict], rounds: int) -> dict[str, dict[str, float]]:
    """Median milliseconds of each way and part; ways take turns."""
    spent: dict = {way: {part: [] for part in PARTS} for way in ways}
    for part in PARTS:
        for turn in range(WARM_UPS + rounds):
            for way, calls in ways.items():
                start = time.perf_counter()
                calls[part]()
                if turn >= WARM_UPS:
                    spent[way][part].append(1e3 * (time.perf_counter() - start))
    return {
        way: {part: statistics.median(v) for part, v in parts.items()}
        for way, parts in spent.items()
    }


def compare(case: Case, *, torch: bool, rounds: int) -> dict[str, Any]:
    """One row: milliseconds of all ways, seconds of compiling."""
    random = np.random.default_rng(0)
    arrays = [random.standard_normal(s).astype(np.float32) for s in case.inputs]
    if case.torch == "readout":
        arrays[1] = random.uniform(-1, 1, case.inputs[1]).astype(np.float32)
    ways, compiling = {}, {}
    for way, function in jax_ways(case).items():
        ways[way], compiling[way] = jax_calls(function, arrays)
    if torch:
        for last in (False, True):
            name = "torch channels_last" if last else "torch"
            ways[name] = torch_calls(case, arrays, channels_last=last)
    return {"name": case.name, "compile_s": compiling, "ms": measure(ways, rounds)}


def show(row: dict[str, Any]) -> str:
    """One line: forward / forward and backward, and how many times faster we are."""
    ms, compiling = row["ms"], row["compile_s"]

    def pair(values: dict[str, float]) -> str:
        return f"{values['forward']:.0f}/{values['both']:.0f}"

    def ratio(other: dict[str, float]) -> str:
        return "/".join(f"{other[p] / ms['direct'][p]:.2f}" for p in PARTS)

    cells = [f"{row['name']:28}", f"{pair(ms['direct']):>12}"]
    cells += [f"{pair(ms['library']):>12}  x{ratio(ms['library']):12}"]
    layouts = [v for k, v in ms.items() if k.startswith("torch")]
    if layouts:
        best = {part: min(v[part] for v in layouts) for part in PARTS}
        cells += [f"{pair(best):>12}", f"x{ratio(best):12}"]
    cells.append(f"{compiling['direct']:.1f}/{compiling['library']:.1f} s")
    return "  ".join(cells)


def main() -> None:
    """Print a line for each operation."""
    parser = argparse.ArgumentParser(description="Time of each operation.")
    parser.add_argument("--quick", action="store_true", help="small shapes, one round")
    parser.add_argument("--only", nargs="*", default=[], help="parts of names")
    options = parser.parse_args()
    torch = importlib.util.find_spec("torch") is not None
    if torch and any(os.environ.get(k) != v for k, v in HEAP.items()):
        # The C library reads these when a process starts.
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | HEAP)
    print(
        "ms, forward/forward and backward: direct, library, times faster, "
        + ("torch at its best, times faster, " if torch else "")
        + "compiling direct/library"
    )
    for case in cases(quick=options.quick):
        if options.only and not any(word in case.name for word in options.only):
            continue
        row = compare(case, torch=torch, rounds=1 if options.quick else 5)
        print(show(row), flush=True)


if __name__ == "__main__":
    main()
