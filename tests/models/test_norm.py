import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from sensorium_jax.errors import UserError
from sensorium_jax.models.parts.norm import BatchNorm
from support.models.whole import ask, start

SHAPE = (3, 2, 4, 5, 6, 8)


def features(seed=0, shape=SHAPE):
    draws = np.random.default_rng(seed).normal(size=shape)
    offset = np.arange(shape[0]).reshape(-1, 1, 1, 1, 1, 1)
    return (3 * draws * (1 + offset) + 5 * offset).astype(np.float32)


def one_mouse(x, mean, var, momentum, rotations=1, epsilon=1e-5):
    """Batch norm of one mouse [B, T, H, W, R*F] in numpy, as torch defines it."""
    x64 = x.astype(np.float64).reshape(*x.shape[:-1], rotations, -1)
    rows = x64.reshape(-1, x64.shape[-1])
    y = (x64 - rows.mean(0)) / np.sqrt(rows.var(0) + epsilon)
    mean = (1 - momentum) * mean + momentum * rows.mean(0)
    var = (1 - momentum) * var + momentum * rows.var(0, ddof=1)
    return y.reshape(x.shape), mean, var


@pytest.mark.parametrize("rotations", [1, 4])
@pytest.mark.parametrize("momentum", [0.1, 0.9, 1.0])
def test_mice_in_order_as_if_one_batch_after_the_other(momentum, rotations):
    x, f = features(), SHAPE[-1] // rotations
    norm = BatchNorm(momentum, rotations=rotations)
    mean, var = np.linspace(-1, 1, f), np.linspace(0.5, 2, f)
    stats = {"mean": jnp.float32(mean), "var": jnp.float32(var)}
    params = {"scale": jnp.ones(f), "bias": jnp.zeros(f)}
    variables = {"params": params, "batch_stats": stats}
    y, new = ask(norm, variables, x, train=True, mutable="batch_stats")
    for mouse in range(3):
        expected, mean, var = one_mouse(x[mouse], mean, var, momentum, rotations)
        np.testing.assert_allclose(y[mouse], expected, atol=2e-5)
    np.testing.assert_allclose(new["batch_stats"]["mean"], mean, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(new["batch_stats"]["var"], var, rtol=1e-5)


def test_whole_batch_is_one_group():
    x = features()
    norm = BatchNorm(0.3, groups="batch")
    variables = start(norm, jax.random.key(0), x, train=False)
    y, new = ask(norm, variables, x, train=True, mutable="batch_stats")
    expected, mean, var = one_mouse(
        x.reshape(-1, *SHAPE[2:]), np.zeros(8), np.ones(8), 0.3
    )
    np.testing.assert_allclose(y.reshape(expected.shape), expected, atol=2e-5)
    np.testing.assert_allclose(new["batch_stats"]["mean"], mean, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(new["batch_stats"]["var"], var, rtol=1e-5)


@pytest.mark.parametrize("groups", ["mouse", "batch"])
@pytest.mark.parametrize("place", [0, 1, 3])
def test_padding_mice_change_nothing(groups, place):
    x = features()
    padded = np.insert(x, [place], np.zeros_like(x[:1]), axis=0)
    mice = np.insert(np.ones(3, bool), [place], False)
    norm = BatchNorm(0.9, groups=groups)
    variables = start(norm, jax.random.key(0), x, train=False)
    weight = jnp.asarray(features(1))

    def run(x, mice_m):
        y, new = ask(
            norm, variables, x, train=True, mice_m=mice_m, mutable="batch_stats"
        )
        real = y if mice_m is None else y[mice_m]
        assert np.isfinite(y).all()
        return real, new["batch_stats"]

    y, stats = run(x, None)
    y_padded, stats_padded = run(padded, mice)
    np.testing.assert_allclose(y_padded, y, rtol=1e-6, atol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), stats_padded, stats
    )

    @jax.jit
    @jax.grad
    def slope(x, mice_m):
        y, _ = norm.apply(
            variables, x, train=True, mice_m=mice_m, mutable="batch_stats"
        )
        real = y if mice_m is None else y[np.flatnonzero(mice)]
        return jnp.sum(real * weight)

    plain, grad = slope(jnp.asarray(x), None), slope(padded, mice)
    assert np.isfinite(grad).all()
    np.testing.assert_allclose(grad[mice], plain, rtol=1e-5, atol=1e-5)
    assert not grad[~mice].any()


def test_evaluation_uses_the_running_statistics_and_leaves_them():
    x = features()
    norm = BatchNorm(use_scale=False, use_bias=False)
    stats = {"mean": jnp.arange(8.0), "var": jnp.arange(1.0, 9.0)}
    y, new = ask(norm, {"batch_stats": stats}, x, train=False, mutable="batch_stats")
    expected = (x - np.arange(8)) / np.sqrt(np.arange(1, 9) + 1e-5)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(new["batch_stats"]["mean"], stats["mean"])


def test_statistics_are_float32_in_bfloat16_and_large_means_cost_nothing():
    x = features() + 1000.0
    norm = BatchNorm(1.0)
    variables = start(norm, jax.random.key(0), x, train=False)
    y, new = ask(norm, variables, x, train=True, mutable="batch_stats")
    expected, _, var = one_mouse(x[2], np.zeros(8), np.ones(8), 1.0)
    np.testing.assert_allclose(new["batch_stats"]["var"], var, rtol=1e-5)
    np.testing.assert_allclose(y[2], expected, atol=2e-4)
    half = jnp.asarray(features(), jnp.bfloat16)
    y, new = ask(norm, variables, half, train=True, mutable="batch_stats")
    assert y.dtype == jnp.bfloat16
    _, mean, _ = one_mouse(np.asarray(half[2], np.float32), 0, 1, 1.0)
    np.testing.assert_allclose(new["batch_stats"]["mean"], mean, rtol=1e-5)


def test_unknown_group_is_named():
    with pytest.raises(UserError, match="Did you mean 'mouse'"):
        BatchNorm(groups="mouses").init(jax.random.key(0), features(), train=True)


@pytest.mark.optimized
@pytest.mark.parametrize("groups", ["mouse", "batch"])
@pytest.mark.parametrize("mesh_shape", [(2, 1), (1, 2)])
def test_a_mesh_needs_all_reduces_only(groups, mesh_shape):
    x = jnp.asarray(features(shape=(4, *SHAPE[1:])))
    norm = BatchNorm(0.9, groups=groups)
    variables = start(norm, jax.random.key(0), x, train=False)
    mesh = jax.make_mesh(
        mesh_shape, ("mouse", "data"), axis_types=(AxisType.Auto, AxisType.Auto)
    )

    def step(variables, x):
        def loss(params, x):
            y, new = norm.apply(
                {**variables, "params": params}, x, train=True, mutable="batch_stats"
            )
            return jnp.sum(y**3), new

        return jax.grad(loss, (0, 1), has_aux=True)(variables["params"], x)

    spread = NamedSharding(mesh, PartitionSpec("mouse", "data"))
    with jax.set_mesh(mesh):
        program = jax.jit(step).lower(variables, jax.device_put(x, spread)).compile()
    text = program.as_text()
    assert "all-reduce" in text
    for forbidden in ("all-gather", "all-to-all", "collective-permute"):
        assert forbidden not in text
