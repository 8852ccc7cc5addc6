"""Compile every operation on eight simulated devices; print what was wrong, if any.

python -m support.processes.sharded_program 2 4
"""

import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P

from sensorium_jax.models.ops import convolutions, sample

M, B, T, C = 4, 8, 5, 3


def draw(*shape):
    values = np.random.default_rng(len(shape)).standard_normal(shape)
    return jnp.asarray(values, jnp.float32)


def loss(params, x_mbthwc, grid_mbtn2):
    """Every operation once, ending in the readout of each mouse."""
    x = convolutions.spatial_conv(x_mbthwc, params["space"], padding=1)
    x = convolutions.temporal_conv(x, params["time"])
    x = convolutions.conv3d(x, params["volume"], padding=(1, 0, 0))
    x = convolutions.depthwise_spatial(x, params["rows"], stride=2, padding=1)
    x = convolutions.depthwise_temporal(x, params["frames"], padding=1)
    x = convolutions.pointwise(x, params["mix"], groups=1)
    y_mbtn = jax.vmap(sample.point_readout)(x, grid_mbtn2, params["readout"])
    return jnp.mean(jnp.sin(y_mbtn))


PARAMS = {
    "space": draw(3, 3, C, 4),
    "time": draw(3, 4, 4),
    "volume": draw(3, 2, 2, 4, 4),
    "rows": draw(3, 3, 4),
    "frames": draw(3, 4),
    "mix": draw(4, 6),
    "readout": draw(M, 9, 6),
}
INPUTS = draw(M, B, T, 8, 9, C), 0.4 * draw(M, B, T - 2, 9, 2)


def main(*shape):
    """On a mesh of so many rows of mice and of windows."""
    # Nearly all the time is compiling; devices are divided before code is made.
    jax.config.update("jax_disable_most_optimizations", True)
    both = jax.value_and_grad(loss, (0, 1))
    want = jax.jit(both)(PARAMS, *INPUTS)
    mesh = jax.make_mesh(
        shape, ("mouse", "data"), axis_types=(jax.sharding.AxisType.Auto,) * 2
    )
    with jax.set_mesh(mesh):
        split = NamedSharding(mesh, P("mouse", "data"))
        places = {k: NamedSharding(mesh, P()) for k in PARAMS}
        places["readout"] = NamedSharding(mesh, P("mouse"))
        arguments = jax.device_put((PARAMS, *INPUTS), (places, split, split))
        shardings = (NamedSharding(mesh, P()), (places, split))
        program = jax.jit(both, out_shardings=shardings)
        compiled = program.lower(*arguments).compile()
        text = compiled.as_text()
        moves = re.findall("all-gather|all-to-all|collective-permute", text)
        assert not moves, moves
        assert "all-reduce" in text
        got = compiled(*arguments)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6 * abs(b).max())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
