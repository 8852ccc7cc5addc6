"""What every core must pass, shared by the tests of cores."""

import jax
import jax.numpy as jnp
import numpy as np
from golden import core_trees, relative


def run(core, variables, x, *, train, mice_m=None):
    """Output and batch statistics after the call."""

    @jax.jit
    def apply(variables, x):
        return core.apply(
            variables, x, train=train, mice_m=mice_m, mutable=["batch_stats"]
        )

    y, new = apply(variables, x)
    return np.asarray(y), new.get("batch_stats", {})


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

    y, new = run(core, variables, x, train=True)
    assert relative(y, layout(case.output["train"])) < 1e-5
    _, expected = core_trees(case.state_after_train)
    for ours, theirs in zip(*map(jax.tree.leaves, (new, expected)), strict=True):
        assert relative(ours, theirs) < 1e-5

    def loss(params):
        y, _ = core.apply(
            {**variables, "params": params}, x, train=True, mutable=["batch_stats"]
        )
        return jnp.sum(y * layout(case.input["g"]))

    grad = jax.jit(jax.grad(loss))(params)
    _assert_gradients(grad, core_trees(case.grad)[0])


def _assert_gradients(grad, expected):
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
        size = max(np.abs(leaf).max() for leaf in node.values())
        error = np.abs(np.asarray(ours, np.float64) - theirs).max() / size
        assert error < 1e-4, (jax.tree_util.keystr(path), error)


def check_input_gradient(core, x):
    """Gradient with respect to the input against finite differences, in both modes."""
    variables = core.init(jax.random.key(1), x, train=False)
    rng = np.random.default_rng(2)
    y, _ = run(core, variables, x, train=False)
    weight = rng.normal(size=y.shape).astype(np.float32)
    direction = rng.normal(size=x.shape).astype(np.float32)
    for train in (False, True):

        def loss(x, train=train):
            y, _ = core.apply(variables, x, train=train, mutable=["batch_stats"])
            return (y * weight).sum()

        slope = float((jax.jit(jax.grad(loss))(x) * direction).sum())
        h = 1e-2
        value = jax.jit(loss)
        difference = (
            float(value(x + h * direction)) - float(value(x - h * direction))
        ) / (2 * h)
        assert abs(slope - difference) < 1e-2 * abs(difference) + 1e-2
