"""Operations stay on their devices: no gathering of mice, windows or images."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax.models.ops import convolutions, fold
from support.processes import runs


@pytest.mark.parametrize("shape", ["2 4", pytest.param("1 8", marks=pytest.mark.soak)])
def test_no_data_moves_between_eight_devices(shape):
    """Its own process, for eight devices must be asked for before jax starts."""
    eight = " --xla_force_host_platform_device_count=8"
    flags = os.environ.get("XLA_FLAGS", "") + eight
    inherited = {k: v for k, v in os.environ.items() if k != "JAX_NUM_CPU_DEVICES"}
    done = subprocess.run(
        [sys.executable, "-m", "support.processes.sharded_program", *shape.split()],
        env=inherited | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"} | runs.PATHS,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_fold_and_unfold_are_inverse():
    x = np.arange(4 * 6 * 3).reshape(4, 6, 3)
    mesh = jax.make_mesh(
        (2, 1), ("mouse", "data"), axis_types=(jax.sharding.AxisType.Auto,) * 2
    )
    np.testing.assert_array_equal(fold.unfold(fold.fold(x), 4, 6), x)
    with jax.set_mesh(mesh):
        folded = fold.fold(x)
        assert folded.shape == (2, 12, 3)
        np.testing.assert_array_equal(folded[1], x[2:].reshape(-1, 3))
        np.testing.assert_array_equal(fold.unfold(folded, 4, 6), x)


def test_mice_that_cannot_be_cut_say_so():
    mesh = jax.make_mesh(
        (2, 1), ("mouse", "data"), axis_types=(jax.sharding.AxisType.Auto,) * 2
    )
    with jax.set_mesh(mesh), pytest.raises(ValueError, match="pad the mice"):
        convolutions.pointwise(jnp.ones((3, 2, 1, 1, 1, 2)), jnp.ones((2, 2)))
