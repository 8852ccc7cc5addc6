"""Read feature maps at points between pixels.

Images pass one by one: their four corners are gathered, weighted and summed, and the
backward pass adds to the same corners. Neither holds the gathered rows of all images,
and both cost a third of what automatic differentiation of the gather does on a CPU.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from sensorium_jax import axes
from sensorium_jax.models.ops import formulation

Array = Any
ACCELERATOR_BYTES = (
    2**28
)  # gathered rows of the images that an accelerator takes at once


def sample_bilinear(feat_bthwf: Array, grid_btn2: Array) -> Array:
    """Bilinear values of the maps at the points; returns [B, T, N, F].

    Grid (x, y) runs from -1 (first pixel) to 1 (last pixel), as PyTorch's grid_sample
    with align_corners=True; outside the map the features are zero. The grid's B and T
    may be 1, one grid for all.
    """
    return _sharded(_sample, feat_bthwf, grid_btn2)


def point_readout(feat_bthwf: Array, grid_btn2: Array, weight_nf: Array) -> Array:
    """Each neuron reads one point with its own feature weights; returns [B, T, N].

    Grid as in sample_bilinear; the Gaussian readout of Lurz et al. 2021.
    """
    return _sharded(_read, feat_bthwf, grid_btn2, weight_nf)


def _sharded(operation: Callable, feat_bthwf: Array, grid_btn2: Array, *weights):
    """Apply to [shards, images, ...]: a loop may run within a device's images only."""
    b, t = feat_bthwf.shape[:2]
    shards = axes.shard_counts()[1] if b > 1 else 1
    if b % shards:
        raise ValueError(
            f"{b} windows cannot be cut over {shards} devices; make the batch a "
            f"multiple of {shards}."
        )
    grid_btn2 = jnp.broadcast_to(grid_btn2, (b, t, *grid_btn2.shape[2:]))
    feat, grid = (
        v.reshape(shards, b // shards * t, *v.shape[2:])
        for v in (feat_bthwf, grid_btn2.astype(jnp.float32))
    )
    y = operation(formulation.current(), feat, grid, *weights)
    return y.reshape(b, t, *y.shape[2:])


def _sample_rule(name: str, feat: Array, grid: Array) -> Array:
    def image(feat_hwf, grid_n2):
        return _values(feat_hwf, *_corners(grid_n2, feat_hwf.shape)[:2])

    return _images(name, image, (feat, grid), ()).astype(feat.dtype)


def _sample_pull(name: str, saved, g: Array):
    return _images(name, _scatter, (*saved, g), ())


def _read_rule(name: str, feat: Array, grid: Array, weight: Array) -> Array:
    def image(feat_hwf, grid_n2, weight_nf):
        value_nf = _values(feat_hwf, *_corners(grid_n2, feat_hwf.shape)[:2])
        return jnp.sum(value_nf * weight_nf.astype(jnp.float32), -1)

    return _images(name, image, (feat, grid), (weight,)).astype(feat.dtype)


def _read_pull(name: str, saved, g: Array):
    feat, grid, weight = saved

    def image(feat_hwf, grid_n2, g_n, weight_nf):
        g_n1 = g_n.astype(jnp.float32)[:, None]
        value_nf = _values(feat_hwf, *_corners(grid_n2, feat_hwf.shape)[:2])
        new = _scatter(feat_hwf, grid_n2, g_n1 * weight_nf.astype(jnp.float32))
        return g_n1 * value_nf, new

    total, (dfeat, dgrid) = _images(
        name, image, (feat, grid, g), (weight,), add_first=True
    )
    return dfeat, dgrid, total.astype(weight.dtype)


def _corners(grid_n2: Array, shape) -> tuple[Array, Array, Array]:
    """Flat index, weight and slope (by x and y) of the four pixels around each point.

    Pixels outside the map have weight and slope zero.
    """
    height, width = shape[:2]
    sx, sy = (width - 1) / 2, (height - 1) / 2
    x, y = (grid_n2[:, 0] + 1) * sx, (grid_n2[:, 1] + 1) * sy
    x0, y0 = jnp.floor(x), jnp.floor(y)
    dx, dy = x - x0, y - y0
    index, weight, slope = [], [], []
    for yi, wy, ey in ((y0, 1 - dy, -sy), (y0 + 1, dy, sy)):
        for xi, wx, ex in ((x0, 1 - dx, -sx), (x0 + 1, dx, sx)):
            inside = (xi >= 0) & (xi < width) & (yi >= 0) & (yi < height)
            col = jnp.clip(xi, 0, width - 1).astype(jnp.int32)
            row = jnp.clip(yi, 0, height - 1).astype(jnp.int32)
            index.append(row * width + col)
            weight.append(jnp.where(inside, wy * wx, 0))
            steep = jnp.stack([ex * wy, ey * wx], -1)
            slope.append(jnp.where(inside[:, None], steep, 0))
    return jnp.stack(index, 1), jnp.stack(weight, 1), jnp.stack(slope, 1)


def _values(feat_hwf: Array, index_nk: Array, weight_nk: Array) -> Array:
    rows_nkf = feat_hwf.reshape(-1, feat_hwf.shape[-1])[index_nk]
    return _dot("nkf,nk->nf", rows_nkf, weight_nk)


def _dot(spec: str, rows: Array, other: Array) -> Array:
    return jnp.einsum(spec, rows.astype(jnp.float32), other, precision="highest")


def _scatter(feat_hwf: Array, grid_n2: Array, g_nf: Array) -> tuple[Array, Array]:
    """Gradients with respect to map and points, given those of the sampled values."""
    index_nk, weight_nk, slope_nk2 = _corners(grid_n2, feat_hwf.shape)
    rows = feat_hwf.reshape(-1, feat_hwf.shape[-1])
    g_nf = g_nf.astype(jnp.float32)
    along_nk = _dot("nkf,nf->nk", rows[index_nk], g_nf)
    dgrid_n2 = jnp.sum(along_nk[:, :, None] * slope_nk2, 1)
    # Sums of float32 even where the map is bfloat16: that would stop growing early.
    dfeat = jnp.zeros(rows.shape, jnp.float32)
    dfeat = dfeat.at[index_nk].add(weight_nk[:, :, None] * g_nf[:, None])
    return dfeat.reshape(feat_hwf.shape).astype(feat_hwf.dtype), dgrid_n2


def _images(
    name: str,
    image: Callable,
    images: tuple[Array, ...],
    shared: tuple[Array, ...],
    *,
    add_first: bool = False,
):
    """Apply to every image of [shards, images, ...]; off the CPU to many at once.

    With add_first the first result is summed over images instead of stacked. A mapped
    axis (mice) is looped over too, within each device: gathers are slower with it.
    """
    feat, grid = images[:2]
    many = _chunk(feat.shape[1], 16 * grid.shape[2] * feat.shape[-1])

    def loop(chunk: int, *arrays):
        one = _each(lambda *a: image(*a, *arrays[len(images) :]), chunk)
        each = _each(one, arrays[0].shape[0])
        parts = _split(arrays[: len(images)], chunk)
        if not add_first:
            return _join(lax.map(lambda a: each(*a), parts))

        def body(total, part):
            add, new = each(*part)
            return total + add.sum(1), new

        first = jax.eval_shape(each, *(p[0] for p in parts))[0]
        zero = jnp.zeros((first.shape[0], *first.shape[2:]), jnp.float32)
        total, new = lax.scan(body, zero, parts)
        return total.sum(0), _join(new)

    direct, library = functools.partial(loop, 1), functools.partial(loop, many)

    def over_mice(size, mapped, *arrays):
        arrays = [
            a if m else jnp.broadcast_to(a, (size, *a.shape))
            for a, m in zip(arrays, mapped, strict=True)
        ]
        looped = functools.partial(_mice, direct)
        out = formulation.choose(name, looped, jax.vmap(library), *arrays)
        return out, jax.tree.map(lambda _: True, out)

    run = jax.custom_batching.custom_vmap(
        functools.partial(formulation.choose, name, direct, library)
    )
    run.def_vmap(over_mice)
    return run(*images, *shared)


def _mice(function: Callable, *arrays: Array):
    """Apply to each of [M, ...] in turn, each device to its own mice."""
    size, shards = arrays[0].shape[0], axes.shard_counts()[0]
    shards = shards if size % shards == 0 else 1
    parts = [a.reshape(shards, -1, *a.shape[1:]) for a in arrays]
    out = _each(lambda *p: lax.map(lambda a: function(*a), p), shards)(*parts)
    return jax.tree.map(lambda v: v.reshape(size, *v.shape[2:]), out)


def _each(function: Callable, size: int) -> Callable:
    """Map over a leading axis; gathers with a mapped axis of one are slower."""
    if size > 1:
        return jax.vmap(function)

    def only(*arrays):
        return jax.tree.map(lambda v: v[None], function(*(v[0] for v in arrays)))

    return only


def _chunk(images: int, bytes_each: int) -> int:
    """Largest even division of the images that fits the limit."""
    most = max(1, min(images, ACCELERATOR_BYTES // bytes_each))
    return max(d for d in range(1, most + 1) if images % d == 0)


def _split(tree, chunk: int):
    """[shards, images, ...] to [steps, shards, chunk, ...]."""
    return jax.tree.map(
        lambda v: jnp.moveaxis(v.reshape(v.shape[0], -1, chunk, *v.shape[2:]), 1, 0),
        tree,
    )


def _join(tree):
    """[steps, shards, chunk, ...] back to [shards, images, ...]."""
    return jax.tree.map(
        lambda v: jnp.moveaxis(v, 0, 1).reshape(v.shape[1], -1, *v.shape[3:]), tree
    )


_sample = jax.custom_vjp(_sample_rule, nondiff_argnums=(0,))
_sample.defvjp(lambda name, *a: (_sample_rule(name, *a), a), _sample_pull)
_read = jax.custom_vjp(_read_rule, nondiff_argnums=(0,))
_read.defvjp(lambda name, *a: (_read_rule(name, *a), a), _read_pull)
