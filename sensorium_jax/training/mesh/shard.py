"""The mesh, and where each array lies on it: mice on `mouse`, windows on `data`.

The only room that names mesh axes. pmap is not used: it cannot shard two axes, wants
the device count as a leading axis and leaves collectives to the caller, where `jax.jit`
with `NamedSharding` takes plain arrays and lets the compiler place them.
"""

import math
import re
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P

from sensorium_jax import trees
from sensorium_jax.axes import Batch, MixedBatch
from sensorium_jax.errors import UserError

AXES = ("mouse", "data")


def make_mesh(
    mouse: int = 0, data: int = 0, *, mice: int = 1, windows: int = 1
) -> Mesh:
    """A mesh of all devices; zeros let it choose.

    Chosen so: as many mouse rows as divide the devices without padding mice, the rest
    on data, as far as the windows divide.
    """
    devices = jax.device_count()
    mouse = mouse or math.gcd(devices // (data or 1), mice)
    data = data or math.gcd(devices // mouse, windows) or 1
    if mouse * data > devices:
        raise UserError(
            f"The mesh asks for {mouse} x {data} = {mouse * data} devices, but "
            f"{devices} are visible. Lower config.mesh.mouse or config.mesh.data, or "
            "set them to 0 to let the mesh fit the machine."
        )
    if windows % data:
        raise UserError(
            f"{windows} windows per mouse do not divide over {data} devices of the "
            f"data axis. Set config.train.batch to a multiple of {data}, or "
            "config.mesh.data to a divisor of the batch."
        )
    if jax.process_count() > 1 and mouse * data < devices:
        raise UserError(
            f"A mesh of {mouse} x {data} leaves some of the {devices} devices of "
            f"{jax.process_count()} processes without work. Set config.train.batch so "
            "that the windows divide over them, or config.mesh so that all are used."
        )
    chosen = jax.devices()[: mouse * data]
    return jax.make_mesh((mouse, data), AXES, (AxisType.Auto,) * 2, devices=chosen)


def alone() -> Mesh:
    """A mesh of one device of this process, for work that is not shared."""
    return jax.make_mesh(
        (1, 1), AXES, (AxisType.Auto,) * 2, devices=jax.local_devices()[:1]
    )


def state_shardings(state: Any, mesh: Mesh) -> Any:
    """A NamedSharding for each leaf of a state; only rows of mice are cut.

    Rows of no element stay whole, as compiled programs return them: statistics of the
    behavior where none was recorded.
    """
    cut, whole = on(mesh, P("mouse")), on(mesh, P())
    return jax.tree.map(
        lambda row, x: cut if row and x.size else whole, trees.rows(state), state
    )


def everywhere(sharding: Any) -> Any:
    """The same devices, every one holding the whole array."""
    if isinstance(sharding, NamedSharding):
        return NamedSharding(sharding.mesh, P())
    return sharding


def beside(sharding: Any) -> Any:
    """The same devices, arrays that lead with M cut over the mouse axis."""
    if isinstance(sharding, NamedSharding):
        return on(sharding.mesh, P("mouse"))
    return sharding


def take_rows(
    saved: jax.Array, own: jax.Array, rows: Sequence[int | None] | None
) -> jax.Array:
    """`own` with rows of `saved`: row i takes rows[i], None keeps its own.

    By default rows stay in place. Where the largest mouse has another number of
    neurons, those that both have are taken.
    """
    if rows is None:
        rows = tuple(range(min(len(saved), len(own))))
    pairs = [(i, row) for i, row in enumerate(rows) if row is not None]
    if not pairs:
        return own
    to, take = (np.array(x) for x in zip(*pairs, strict=True))
    common = tuple(
        slice(min(a, b)) for a, b in zip(saved.shape[1:], own.shape[1:], strict=True)
    )
    return own.at[(to, *common)].set(saved[(take, *common)])


def on(mesh: Any, partition: P) -> NamedSharding:
    """Sharding without axes of size 1, as compiled programs return it.

    An equal sharding spelled otherwise would compile the step a second time.
    """
    cut = (axis if axis and mesh.shape[axis] > 1 else None for axis in partition)
    while (spelled := tuple(cut)) and spelled[-1] is None:
        cut = iter(spelled[:-1])
    return NamedSharding(mesh, P(*spelled))


def local_box(mesh: Mesh, mice: int, windows: int) -> tuple[slice, slice]:
    """The mice and the windows that this process must read."""
    sharding = NamedSharding(mesh, P(*AXES))
    boxes = sharding.addressable_devices_indices_map((mice, windows)).values()

    def bounds(axis: int, size: int) -> slice:
        cuts = [box[axis].indices(size)[:2] for box in boxes if box is not None]
        return slice(min(c[0] for c in cuts), max(c[1] for c in cuts))

    return bounds(0, mice), bounds(1, windows)


def put_batch(batch: Batch, mesh: Mesh, mice: int, windows: int) -> Batch:
    """Place what this process read of a batch of global size [mice, windows, ...]."""
    fields = batch._asdict()
    neurons_mn = put_rows(fields.pop("neurons_mn"), mesh, mice)
    placed = {
        k: None if x is None else put_windows(x, mesh, mice, windows)
        for k, x in fields.items()
    }
    return Batch(**placed, neurons_mn=neurons_mn)


def put_windows(local: np.ndarray, mesh: Mesh, mice: int, windows: int) -> jax.Array:
    """Place this process's part of an array [mice, windows, ...]."""
    shape = (mice, windows, *local.shape[2:])
    return jax.make_array_from_process_local_data(on(mesh, P(*AXES)), local, shape)


def put_samples(local: MixedBatch, mesh: Mesh, samples: int) -> MixedBatch:
    """Place this process's part of a mixed batch, cut over the data axis."""
    where = on(mesh, P("data"))

    def put(x: np.ndarray) -> jax.Array:
        shape = (samples, *x.shape[1:])
        return jax.make_array_from_process_local_data(where, x, shape)

    return MixedBatch(*(None if x is None else put(x) for x in local))


def put_rows(local: np.ndarray, mesh: Mesh, mice: int) -> jax.Array:
    """Place this process's part of an array [mice, ...]."""
    shape = (mice, *local.shape[1:])
    return jax.make_array_from_process_local_data(on(mesh, P("mouse")), local, shape)


def forbidden_collectives(program: str) -> Sequence[str]:
    """Collectives in a compiled program that mean a replicated or moved tensor."""
    return sorted(set(re.findall(r"all-gather|all-to-all|collective-permute", program)))
