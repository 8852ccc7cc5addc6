"""Point sampling equals a plain gather, its derivatives, and PyTorch's grid_sample."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax.models.ops import formulation, sample

B, T, H, W, F, N = 2, 3, 5, 6, 4, 7


def draw(shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def grid(shape, seed=1):
    """Points inside, outside, and exactly on the border of the map."""
    points = np.random.default_rng(seed).uniform(-1.4, 1.4, shape)
    points[0, 0, 0], points[0, 0, 1], points[0, 0, 2] = 1.0, -1.0, 3.0
    return jnp.asarray(points, jnp.float32)


def gather(feat_bthwf, grid_btn2):
    """Bilinear values one pixel at a time, differentiated automatically."""
    b, t, h, w, _ = feat_bthwf.shape
    grid_btn2 = jnp.broadcast_to(grid_btn2, (b, t, *grid_btn2.shape[2:]))
    size = jnp.array([w - 1, h - 1]).reshape(1, 1, 1, 2)
    at = (grid_btn2 + 1) / 2 * size
    low = jnp.floor(at)
    i, j = jnp.indices((b, t))[..., None]
    total = 0
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        x, y = low[..., 0] + dx, low[..., 1] + dy
        near = (1 - jnp.abs(at[..., 0] - x)) * (1 - jnp.abs(at[..., 1] - y))
        inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
        col, row = jnp.clip(x, 0, w - 1), jnp.clip(y, 0, h - 1)
        value = feat_bthwf[i, j, row.astype(int), col.astype(int)]
        total += value * jnp.where(inside, near, 0)[..., None]
    return total


def read(feat_bthwf, grid_btn2, weight_nf):
    return jnp.einsum("btnf,nf->btn", gather(feat_bthwf, grid_btn2), weight_nf)


def value_and_pull(function, *arrays):
    y, pull = jax.vjp(function, *arrays)
    return y, pull(draw(y.shape, seed=5).astype(y.dtype))


@jax.jit
def plainly(*arrays):
    """Values and gradients of the plain gather."""
    return value_and_pull(gather, *arrays[:2]), value_and_pull(read, *arrays)


def close(ours, theirs, tolerance=3e-6):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.shape == b.shape
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        assert np.abs(a - b).max() <= tolerance * np.abs(b).max()


@pytest.mark.parametrize("shape", [(B, T), (B, 1), (1, 1)])
@pytest.mark.parametrize("name", ["direct", "library"])
def test_values_and_gradients_equal_a_plain_gather(shape, name):
    arrays = draw((B, T, H, W, F)), grid((*shape, N, 2)), draw((N, F), seed=3)

    def both(*arrays):
        points = value_and_pull(sample.sample_bilinear, *arrays[:2])
        return points, value_and_pull(sample.point_readout, *arrays)

    with formulation.use(name):
        ours = jax.jit(both)(*arrays)
    close(ours, plainly(*arrays))


def test_gradients_equal_finite_differences():
    """Away from the pixels' edges, where the slope jumps."""
    feat, weight = draw((1, 1, H, W, F)), draw((N, F), seed=3)
    cells = np.random.default_rng(1).integers(0, (W - 1, H - 1), (1, 1, N, 2)) + 0.4
    points = jnp.asarray(cells / [(W - 1) / 2, (H - 1) / 2] - 1, jnp.float32)
    arrays = [feat, points, weight]

    @jax.jit
    def loss(*arrays):
        return jnp.sum(jnp.sin(sample.point_readout(*arrays)))

    slopes = jax.grad(loss, (0, 1, 2))(*arrays)
    step = 0.01
    for k, slope in enumerate(slopes):
        way = draw(arrays[k].shape, seed=7)
        ends = [
            loss(*arrays[:k], arrays[k] + s * way, *arrays[k + 1 :])
            for s in (step, -step)
        ]
        measured = float(ends[0] - ends[1]) / (2 * step)
        assert measured == pytest.approx(float(jnp.sum(slope * way)), rel=0.02)


@pytest.mark.parametrize("name", ["direct", "library"])
def test_mice_may_be_mapped_and_recomputed(name):
    feat, points = draw((3, B, T, H, W, F)), grid((3, B, T, N, 2))
    weight = draw((3, N, F), seed=3)
    mapped = jax.checkpoint(jax.vmap(sample.point_readout))
    shared = jax.vmap(sample.point_readout, (0, None, None))
    with formulation.use(name):
        ours = jax.jit(functools.partial(value_and_pull, mapped))(feat, points, weight)
        one = jax.jit(shared)(feat, points[0], weight[0])
    theirs = jax.jit(functools.partial(value_and_pull, jax.vmap(read)))
    close(ours, theirs(feat, points, weight))
    plain = jax.jit(jax.vmap(read, (0, None, None)))
    close(one, plain(feat, points[0], weight[0]))


def test_bfloat16_maps_sum_in_float32():
    """Ten thousand neurons at one pixel: a bfloat16 sum would stop at 256."""
    feat = jnp.ones((1, 1, 2, 2, 1), jnp.bfloat16)
    points, weight = -jnp.ones((1, 1, 10_000, 2)), jnp.ones((10_000, 1))
    y, pull = jax.vjp(sample.point_readout, feat, points, weight)
    dfeat = pull(y)[0]
    assert dfeat.dtype == y.dtype == jnp.bfloat16
    assert float(dfeat[0, 0, 0, 0, 0]) == pytest.approx(10_000, rel=0.01)


@pytest.mark.parity
def test_equals_grid_sample_of_torch():
    torch = pytest.importorskip("torch")
    feat, points = draw((B, T, H, W, F)), grid((B, T, N, 2))
    leaves = [torch.tensor(np.array(v), requires_grad=True) for v in (feat, points)]
    images = leaves[0].reshape(B * T, H, W, F).permute(0, 3, 1, 2)
    theirs = torch.nn.functional.grid_sample(
        images, leaves[1].reshape(B * T, N, 1, 2), align_corners=True
    )
    theirs = theirs.squeeze(-1).permute(0, 2, 1).reshape(B, T, N, F)
    ours, slopes = value_and_pull(sample.sample_bilinear, feat, points)
    theirs.backward(torch.tensor(np.array(draw(theirs.shape, seed=5))))
    close(ours, theirs.detach().numpy())
    close(slopes, [v.grad.numpy() for v in leaves])
