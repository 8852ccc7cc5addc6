"""Many stimuli through one compiled program, as many at a time as memory allows."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from sensorium_jax.errors import UserError
from sensorium_jax.insilico.subjects import devices

Array = Any
Tree = Any
FIRST = 32  # rows that are tried first; on a CPU more together are no faster
MOST = {"cpu": 32}  # rows at a time, by kind of device
MOST_ELSEWHERE = 512
SHARE = 0.7  # of a device's memory that is used
# Programs by function: blocks of neurons ask the same function one after the other.
KEPT: WeakKeyDictionary[Any, dict[Any, Any]] = WeakKeyDictionary()
USUAL = 4e9  # bytes where a device does not say how many it has


def through(
    function: Callable[..., Tree],
    arrays: Tree,
    *,
    memory: float | None = None,
    tell: Callable[[int], None] | None = None,
) -> Iterator[tuple[slice, Tree]]:
    """Yields rows and function(arrays of those rows), part by part, as numpy.

    All arrays lead with the same number of rows, and so must what comes out; a row's
    result depends on that row alone. memory is in bytes; see `fitting`. tell is called
    with the number of rows at a time.
    """
    total = len(jax.tree.leaves(arrays)[0])
    program, size = _known(function, arrays, memory)
    if tell is not None:
        tell(size)
    for start in range(0, total, size):
        rows = np.minimum(np.arange(start, start + size), total - 1)
        some = jax.tree.map(lambda x, rows=rows: np.asarray(x)[rows], arrays)
        kept = min(size, total - start)
        out = jax.tree.map(lambda x, k=kept: np.asarray(x)[:k], program(some))
        yield slice(start, start + kept), out


def every(function: Callable[..., Tree], arrays: Tree, **options: Any) -> Tree:
    """The same in one piece."""
    parts = [out for _, out in through(function, arrays, **options)]
    return jax.tree.map(lambda *x: np.concatenate(x), *parts)


def _known(function, arrays: Tree, memory: float | None):
    """The program of before, where the same function is called again."""
    shapes = [(np.shape(x)[1:], np.asarray(x).dtype) for x in jax.tree.leaves(arrays)]
    key, known = (memory, str(shapes)), KEPT.setdefault(function, {})
    if key not in known:
        known[key] = fitting(function, arrays, memory)
    return known[key]


def fitting(
    function: Callable[..., Tree], arrays: Tree, memory: float | None = None
) -> tuple[Callable[[Tree], Tree], int]:
    """The compiled program, and how many rows it takes at a time.

    What the compiled program says that it needs is compared with the memory (bytes; of
    each device, or of all together where they share it). Rows are cut evenly over the
    devices.
    """
    here = devices()
    cpu = here[0].platform == "cpu"
    limit = memory or _memory(here[0])
    limit = limit / len(here) if cpu else limit
    total = len(jax.tree.leaves(arrays)[0])
    most = min(total, MOST.get(here[0].platform, MOST_ELSEWHERE))
    size = _whole(min(FIRST, most), here)
    while True:
        program = _compiled(function, arrays, size, here)
        need = _bytes(program)
        if need > limit:
            if size <= len(here):
                raise UserError(
                    f"One stimulus needs {need / 1e9:.2f} GB on a device, allowed are "
                    f"{limit / 1e9:.2f}. Give more with --memory, or shorter films."
                )
            fewer = _whole(int(size * limit / need) - len(here) + 1, here)
            size = min(max(fewer, len(here)), size - len(here))
            continue
        more = _whole(min(most, int(size * limit / need)), here)
        if size >= most or more < 2 * size:
            return program, size
        size = more


def _compiled(function, arrays: Tree, size: int, here: Sequence[Any]):
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((size, *np.shape(x)[1:]), np.asarray(x).dtype),
        arrays,
    )
    if len(here) == 1:
        return jax.jit(function).lower(shapes).compile()
    rows = PartitionSpec("rows")
    mesh = Mesh(np.array(here), ("rows",))
    options: dict[str, Any] = {"mesh": mesh, "in_specs": rows, "out_specs": rows}
    cut = jax.shard_map(function, check_vma=False, **options)
    return jax.jit(cut).lower(shapes).compile()


def _bytes(program: Any) -> float:
    """Bytes that a compiled program needs on a device; 1 where nobody says."""
    said = program.memory_analysis()
    parts = ("temp_size", "argument_size", "output_size")
    return sum(float(getattr(said, f"{p}_in_bytes", 0)) for p in parts) or 1.0


def _memory(device: Any) -> float:
    said = device.memory_stats() or {}
    return SHARE * float(said.get("bytes_limit", USUAL / SHARE))


def _whole(size: int, here: Sequence[Any]) -> int:
    """A size that all devices share evenly, at least one row each."""
    return max(-(-size // len(here)), 1) * len(here)
