"""Every formulation of a convolution gives the library's values and gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from sensorium_jax.errors import UserError
from sensorium_jax.models.ops import (
    convolutions,
    convolve,
    depthwise,
    formulation,
)

SHAPE = (2, 2, 7, 9, 8, 3)  # mice, windows, frames, rows, columns, channels
CASES = {
    "spatial": (convolutions.spatial_conv, (3, 2, 3, 4), {}),
    "spatial_odd": (
        convolutions.spatial_conv,
        (3, 2, 3, 4),
        {"stride": (2, 3), "padding": (1, 2), "dilation": (2, 1)},
    ),
    "spatial_one": (
        convolutions.spatial_conv,
        (1, 1, 3, 4),
        {"stride": 2, "padding": 1},
    ),
    "temporal": (convolutions.temporal_conv, (4, 3, 5), {}),
    "temporal_odd": (
        convolutions.temporal_conv,
        (3, 3, 5),
        {"stride": 2, "padding": 3},
    ),
    "conv3d": (convolutions.conv3d, (3, 2, 3, 3, 4), {}),
    "conv3d_odd": (
        convolutions.conv3d,
        (3, 2, 3, 3, 4),
        {"stride": (2, 1, 2), "padding": (1, 2, 0)},
    ),
    "depthwise": (convolutions.depthwise_spatial, (3, 3, 3), {"padding": 1}),
    "depthwise_odd": (
        convolutions.depthwise_spatial,
        (3, 2, 3),
        {"stride": (2, 3), "padding": (0, 3)},
    ),
    "depthwise_time": (convolutions.depthwise_temporal, (5, 3), {"padding": 2}),
}


def draw(shape, dtype=jnp.float32, seed=0):
    values = np.random.default_rng(seed).standard_normal(shape)
    return jnp.asarray(values, dtype)


def value_and_pull(function, x, kernel):
    y, pull = jax.vjp(function, x, kernel)
    return y, *pull(draw(y.shape, y.dtype, seed=2))


def plain(name, x, kernel, stride=1, padding=0, dilation=1):
    """The same as one five-dimensional convolution."""
    groups = 1
    if name.startswith("depthwise"):
        groups, kernel = kernel.shape[-1], kernel[..., None, :]

    def triple(value, other):
        if "time" in name or "temporal" in name:
            return value, other, other
        if kernel.ndim == 4:
            return (other, *np.broadcast_to(value, 2).tolist())
        return tuple(np.broadcast_to(value, 3).tolist())

    steps, edges, gaps = triple(stride, 1), triple(padding, 0), triple(dilation, 1)
    if "time" in name or "temporal" in name:
        kernel = kernel[:, None, None]
    y = lax.conv_general_dilated(
        x.reshape(-1, *x.shape[2:]),
        kernel if kernel.ndim == 5 else kernel[None],
        steps,
        [(p, p) for p in edges],
        rhs_dilation=gaps,
        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
        feature_group_count=groups,
    )
    return y.reshape(*x.shape[:2], *y.shape[1:])


def close(ours, theirs, tolerance):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        assert np.abs(a - b).max() <= tolerance * np.abs(b).max()


@functools.cache
def case(name):
    """Ours, what it is given, and what the library says."""
    function, shape, options = CASES[name]
    given = draw(SHAPE), draw(shape, seed=1)
    reference = functools.partial(plain, name, **options)
    theirs = jax.jit(functools.partial(value_and_pull, reference))(*given)
    ours = functools.partial(value_and_pull, functools.partial(function, **options))
    return ours, given, theirs


@pytest.mark.parametrize("name", CASES)
def test_the_librarys_formulation_is_the_library(name):
    ours, given, theirs = case(name)
    with formulation.use("library"):
        close(jax.jit(ours)(*given), theirs, 3e-6)


@pytest.mark.parametrize(("most", "least"), [(20_000, 100), (1, 100), (20_000, 1)])
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_equal_the_library(name, most, least, monkeypatch):
    """Small blocks: loops turn, a last one overlaps; few channels unrolled, or not."""
    monkeypatch.setattr(convolve, "LEAST", least)
    monkeypatch.setattr(convolve, "BLOCK_BYTES", most)
    monkeypatch.setattr(depthwise, "BLOCK_BYTES", most)
    ours, given, theirs = case(name)
    anew = jax.jit(lambda *given: ours(*given))  # jit knows `ours` in other blocks
    close(anew(*given), theirs, 3e-6)


@pytest.mark.parametrize("frames", [1, 2, 7, 60, 61, 83])
@pytest.mark.parametrize("most", [1, 2, 4, 100])
def test_blocks_cover_every_frame_and_stay_small(frames, most, monkeypatch):
    monkeypatch.setattr(convolve, "BLOCK_BYTES", most)
    block, count = convolve._blocks(frames, 1)
    assert 1 <= block <= min(most, frames)
    assert (count - 1) * block < frames <= count * block
    assert block > 1 or most == 1 or frames == 1


@pytest.mark.parametrize("least", [1, 100])
@pytest.mark.parametrize("name", ["spatial_odd", "temporal", "depthwise"])
def test_bfloat16_sums_in_float32(name, least, monkeypatch):
    monkeypatch.setattr(convolve, "LEAST", least)
    function, shape, options = CASES[name]
    x, kernel = draw(SHAPE), draw(shape, seed=1)
    run = jax.jit(
        functools.partial(value_and_pull, functools.partial(function, **options))
    )
    coarse = run(x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16))
    assert all(v.dtype == jnp.bfloat16 for v in coarse)
    close([v.astype(jnp.float32) for v in coarse], run(x, kernel), 0.02)


def test_kernel_gradient_of_many_bfloat16_frames_does_not_saturate():
    frames = 4000
    x = jnp.ones((1, 1, frames, 1, 1, 1), jnp.bfloat16)
    kernel = jnp.ones((1, 1, 1, 1), jnp.bfloat16)
    with formulation.use("direct"):
        y, pull = jax.vjp(convolutions.spatial_conv, x, kernel)
    assert float(pull(y)[1].squeeze()) == pytest.approx(frames, rel=0.01)


def test_gradients_survive_remat_scan_and_vmap():
    x, kernel = draw((1, 2, 5, 6, 6, 2)), draw((3, 3, 2, 2), seed=1)

    def twice(x, kernel):
        layer = jax.checkpoint(
            lambda y, _: (convolutions.spatial_conv(y, kernel, padding=1), None)
        )
        return lax.scan(layer, x, None, length=2)[0]

    def unrolled(x, kernel):
        y = plain("spatial", x, kernel, padding=1)
        return plain("spatial", y, kernel, padding=1)

    ours = jax.jit(functools.partial(value_and_pull, twice))(x, kernel)
    theirs = jax.jit(functools.partial(value_and_pull, unrolled))(x, kernel)
    close(ours, theirs, 1e-5)
    kernels = jnp.stack([kernel, 2 * kernel])
    mapped = jax.vmap(convolutions.spatial_conv, (None, 0))(x, kernels)
    close(mapped[1], convolutions.spatial_conv(x, 2 * kernel), 1e-5)


@pytest.mark.parametrize("groups", [1, 2])
def test_pointwise(groups):
    x = draw(SHAPE[:-1] + (4,))
    kernel = draw((4, 6) if groups == 1 else (2, 2, 3), seed=1)
    bias = draw((6,), seed=3)
    blocks = jnp.split(x, groups, -1)
    matrices = [kernel] if groups == 1 else list(kernel)
    want = jnp.concatenate([a @ b for a, b in zip(blocks, matrices, strict=True)], -1)
    got = convolutions.pointwise(x, kernel, bias, groups=groups)
    close(got, want + bias.reshape(1, 1, 1, 1, 1, -1), 1e-5)


def test_bias_is_added_once():
    x, kernel, bias = draw(SHAPE), draw((2, 2, 3, 4), seed=1), draw((4,), seed=3)
    with_bias = convolutions.spatial_conv(x, kernel, bias)
    without = convolutions.spatial_conv(x, kernel)
    close(with_bias - without, jnp.broadcast_to(bias, without.shape), 1e-5)


@pytest.mark.optimized
@pytest.mark.parametrize(("least", "count"), [(100, 0), (1, 2)])
def test_convolutions_in_the_program_for_a_cpu(least, count, monkeypatch):
    """None where all is unrolled, else the value's and that of the input's gradient."""
    monkeypatch.setattr(convolve, "LEAST", least)
    x, kernel = draw(SHAPE), draw((3, 2, 3, 4), seed=1)
    run = jax.jit(functools.partial(value_and_pull, convolutions.spatial_conv))
    text = run.lower(x, kernel).compile().as_text()
    assert text.count(" convolution(") == count
    assert "conditional(" not in text
    elsewhere = jax.export.export(run, platforms=["cuda"])(x, kernel)
    assert "stablehlo.convolution" in elsewhere.mlir_module()


@pytest.mark.optimized
def test_no_columns_of_the_whole_tensor():
    """Peak memory stays near the tensors themselves, far below their columns."""
    x, kernel = draw((1, 2, 60, 24, 24, 8)), draw((7, 7, 8, 8), seed=1)
    run = jax.jit(functools.partial(value_and_pull, convolutions.spatial_conv))
    used = run.lower(x, kernel).compile().memory_analysis().temp_size_in_bytes
    columns = 2 * 60 * 18 * 18 * 7 * 7 * 8 * 4
    assert used < x.nbytes + 4 * convolve.BLOCK_BYTES < columns


def test_unknown_formulation():
    with pytest.raises(UserError, match="Did you mean 'direct'"):
        formulation.use("dirrect")
