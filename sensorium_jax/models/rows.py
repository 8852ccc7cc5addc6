"""Mice as rows: what a model knows of each, and how rows are selected and added.

Every leaf of readout, shifter and modulator, and everything in the collection 'info',
leads with M. A row depends on its own mouse only, never on its neighbours.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from sensorium_jax import trees
from sensorium_jax.axes import MouseInfo
from sensorium_jax.errors import UserError
from sensorium_jax.trees import is_row

Array = Any
Tree = Any


class Mouse(NamedTuple):
    """Constants of one mouse; in the encoder every field leads with M."""

    id: Array  # uint32, from the name: seeds this mouse's weights and noise
    neurons_n: Array  # bool: the neuron exists
    coordinates_n2: Array  # cortex x, y: centered, largest magnitude 1
    rates_n: Array  # mean responses, the first value of the bias
    match_n: Array  # int32: neurons of one number share their features


class Side(NamedTuple):
    """What a readout may use besides the maps; shorter inputs are already cut to T'."""

    shift_bt2: Array | None = None
    behavior_btk: Array | None = None
    pupil_bt2: Array | None = None
    key: Array | None = None  # of this step and mouse
    noise_btn2: Array | None = None  # replaces the draw of the positions


def mouse_rows(
    info: MouseInfo, *, mice: int | None = None, match_mn: Array | None = None
) -> dict[str, np.ndarray]:
    """The collection 'info' of these mice, padded to `mice` rows with empty ones.

    match_mn numbers the neurons that share features; by default none do.
    """
    count = info.mice if mice is None else mice
    if count < info.mice:
        raise UserError(f"{info.mice} mice do not fit in {count} rows; ask for more.")
    names = info.names + tuple(f"empty {i}" for i in range(count - info.mice))
    neurons_mn = _lengthen(np.asarray(info.neurons_mn, bool), count)
    if match_mn is None:
        match_mn = np.tile(np.arange(neurons_mn.shape[1]), (info.mice, 1))
    centered = [
        center(c, real)
        for c, real in zip(info.coordinates_mn3, info.neurons_mn, strict=True)
    ]
    return {
        "id": np.array([zlib.crc32(name.encode()) for name in names], np.uint32),
        "neurons_n": neurons_mn,
        "coordinates_n2": _lengthen(np.stack(centered), count),
        "rates_n": _lengthen(np.asarray(info.mean_rates_mn, np.float32), count),
        "match_n": _lengthen(np.asarray(match_mn, np.int32), count),
    }


def center(coordinates_n3: Array, neurons_n: Array) -> np.ndarray:
    """Cortex x, y of real neurons, mean 0 per axis and one global magnitude of 1."""
    real_n = np.asarray(neurons_n, bool)
    xy_n2 = np.asarray(coordinates_n3)[:, :2]
    out_n2 = np.zeros(xy_n2.shape, np.float32)
    if real_n.any():
        around_n2 = xy_n2[real_n] - xy_n2[real_n].mean(0, keepdims=True)
        out_n2[real_n] = around_n2 / max(np.abs(around_n2).max(), 1e-12)
    return out_n2


def select_rows(variables: Tree, indices: Sequence[int]) -> Tree:
    """The same model for these rows only, in this order."""
    index = np.asarray(indices, int)
    have = _mice(variables)
    if index.size and (index.min() < 0 or index.max() >= have):
        raise UserError(
            f"Rows {list(indices)} were asked for; the model has {have} mice, "
            f"rows 0 to {have - 1}."
        )
    return jax.tree.map(
        lambda x, own: _host(x)[index] if own else x, variables, trees.rows(variables)
    )


def one_neuron_each(
    variables: Tree, row: Array, neuron_b: Array, axes: Mapping[str, int]
) -> Tree:
    """The same model for B mice of one neuron each: neurons neuron_b of one mouse.

    axes says which axis of the mouse's own arrays counts neurons (encoder.neuron_axes).
    Arrays without such an axis are repeated. Usable under jit.
    """
    count = neuron_b.shape[0]

    def pick(name: str, x: Array) -> Array:
        if not (x.ndim and is_row(name)):
            return x
        own = jnp.asarray(x)[row]
        if name not in axes:
            return jnp.broadcast_to(own[None], (count, *own.shape))
        at = axes[name]
        taken = jnp.moveaxis(jnp.take(own, neuron_b, axis=at), at, 0)
        return jnp.expand_dims(taken, at + 1)

    return trees.map_named(pick, variables)


def select_neurons(
    variables: Tree, row: int, neurons: Sequence[int], axes: Mapping[str, int]
) -> Tree:
    """The same model for one mouse and some of its neurons, in this order."""

    def pick(name: str, x: Array) -> Array:
        if not (x.ndim and is_row(name)):
            return x
        own = _host(x)[row : row + 1]
        if name not in axes:
            return own
        return np.take(own, np.asarray(neurons, int), axis=axes[name] + 1)

    return trees.map_named(pick, variables)


def add_rows(variables: Tree, new: Tree) -> Tree:
    """Append the mice of `new`; the core and all else shared stay those of `variables`.

    Neurons are padded with zeros to the larger model.
    """
    return _join(variables, new, lambda old, added: np.concatenate([old, added]))


def replace_rows(variables: Tree, new: Tree, indices: Sequence[int]) -> Tree:
    """Put the mice of `new` at these rows; all else stays."""
    index = np.asarray(indices, int)
    if len(indices) != _mice(new):
        raise UserError(f"{_mice(new)} new mice cannot fill {len(indices)} rows.")

    def put(old: np.ndarray, added: np.ndarray) -> np.ndarray:
        old = old.copy()
        old[index] = added
        return old

    return _join(variables, new, put)


def _join(variables: Tree, new: Tree, combine) -> Tree:
    fresh = trees.named_leaves(new)
    neurons = {_neurons(variables), _neurons(new)}

    def pick(name: str, old: Array) -> Array:
        if not is_row(name):
            return old
        if name not in fresh:
            raise UserError(
                f"The new mice have no {name}; build both with the same "
                "readout, shifter and modulator."
            )
        shape = _common(name, old.shape[1:], fresh[name].shape[1:], neurons)
        return combine(_grow(old, shape), _grow(fresh[name], shape))

    return trees.map_named(pick, variables)


def _common(name: str, a: tuple, b: tuple, neurons: set[int]) -> tuple[int, ...]:
    if len(a) == len(b) and all(
        i == j or {i, j} == neurons for i, j in zip(a, b, strict=True)
    ):
        return tuple(max(i, j) for i, j in zip(a, b, strict=True))
    raise UserError(
        f"{name} is {a} per mouse here and {b} in the new mice; only the number "
        f"of neurons may differ. Build both with the same model."
    )


def _grow(x: Array, shape: tuple[int, ...]) -> np.ndarray:
    extra = [(0, n - have) for n, have in zip(shape, x.shape[1:], strict=True)]
    return np.pad(np.asarray(x), [(0, 0), *extra])


def _host(x: Array) -> Array:
    """As numpy, whose indexing compiles nothing; inside jit x itself."""
    return x if isinstance(x, Tracer) else np.asarray(x)


def _lengthen(x: np.ndarray, rows: int) -> np.ndarray:
    return np.concatenate([x, np.zeros((rows - len(x), *x.shape[1:]), x.dtype)])


def _mice(variables: Tree) -> int:
    return variables["info"]["id"].shape[0]


def _neurons(variables: Tree) -> int:
    return variables["info"]["neurons_n"].shape[1]


def per_neuron(key: Array, neurons: int, shape: tuple[int, ...], draw) -> Array:
    """draw(key, shape) for each neuron from its own key; returns [N, *shape].

    Counting neurons into the key keeps a neuron's values the same however many
    padded ones follow it.
    """
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(neurons))
    return jax.vmap(lambda k: draw(k, shape))(keys)
