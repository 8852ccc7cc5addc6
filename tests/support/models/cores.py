"""What every core must pass, shared by the tests of cores."""

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax import trees
from support.originals.golden import core_trees, relative


def run(core, variables, x, *, train, mice_m=None):
    """Output and batch statistics after the call."""

    @jax.jit
    def apply(variables, x):
        return core.apply(
            variables, x, train=train, mice_m=mice_m, mutable=["batch_stats"]
        )

    y, new = apply(variables, x)
    return np.asarray(y), new.get("batch_stats", {})


def start(core, x):
    """Random variables of the right shapes, none of them zero or one."""
    shapes = jax.eval_shape(lambda: core.init(jax.random.key(0), x, train=False))
    rng = np.random.default_rng(3)

    def draw(name, leaf):
        value = 0.3 * rng.normal(size=leaf.shape)
        ones = name.endswith(("scale", "var"))
        return np.float32(np.exp(value) if ones else value)

    return trees.map_named(draw, shapes)


def assert_golden(core, case, layout):
    """The core repeats the original: both modes, gradients, running statistics."""
    params, stats = core_trees(case.param)
    variables = {"params": params, "batch_stats": stats}
    x = layout(case.input["x"])
    started = jax.eval_shape(
        lambda: core.init(jax.random.key(0), jnp.zeros(x.shape), train=False)
    )
    shapes = jax.tree.map(np.shape, variables)
    assert jax.tree.map(np.shape, dict(started)) == shapes

    y, same = run(core, variables, x, train=False)
    assert relative(y, layout(case.output["eval"])) < 1e-5
    assert y.shape[2:] == core.out_shape(*x.shape[2:5])
    jax.tree.map(np.testing.assert_array_equal, same, stats)
    if "train" not in case.output:
        return

    def loss(params):
        y, new = core.apply(
            {**variables, "params": params}, x, train=True, mutable=["batch_stats"]
        )
        return jnp.sum(y * layout(case.input["g"])), (y, new["batch_stats"])

    grad, (y, new) = jax.jit(jax.grad(loss, has_aux=True))(params)
    assert relative(y, layout(case.output["train"])) < 1e-5
    _, expected = core_trees(case.state_after_train)
    for ours, theirs in zip(*map(jax.tree.leaves, (new, expected)), strict=True):
        assert relative(ours, theirs) < 1e-5
    assert_gradients(grad, core_trees(case.grad)[0])


def assert_gradients(grad, expected):
    """Within 1e-4 of the largest entry of its leaf.

    A bias before batch norm has gradient zero, which both sides only approach: it is
    held against the scale of the kernel beside it.
    """
    assert jax.tree.structure(grad) == jax.tree.structure(expected)
    flat = jax.tree_util.tree_leaves_with_path(expected)
    for (path, theirs), ours in zip(flat, jax.tree.leaves(grad), strict=True):
        node = expected
        for key in path[:-1]:
            node = node[key.key]
        beside = (leaf for leaf in node.values() if not isinstance(leaf, dict))
        size = max(np.abs(leaf).max() for leaf in beside)
        error = np.abs(np.asarray(ours, np.float64) - theirs).max() / size
        assert error < 1e-4, (jax.tree_util.keystr(path), error)


def check_input_gradient(core, x):
    """Gradient with respect to the input against finite differences, both modes."""
    variables = start(core, x)
    rng = np.random.default_rng(2)
    shape = (*x.shape[:2], *core.out_shape(*x.shape[2:5]))
    weight = rng.normal(size=(2, *shape)).astype(np.float32)
    direction = rng.normal(size=x.shape).astype(np.float32)

    @jax.jit
    @jax.value_and_grad
    def loss(x):
        total = 0.0
        for train, w in zip((False, True), weight, strict=True):
            y, _ = core.apply(variables, x, train=train, mutable=["batch_stats"])
            total += (y * w).sum()
        return total

    h = 1e-2
    slope = float((loss(x)[1] * direction).sum())
    above, below = (float(loss(x + s * h * direction)[0]) for s in (1, -1))
    difference = (above - below) / (2 * h)
    assert abs(slope - difference) < 1e-2 * abs(difference) + 1e-2
