import numpy as np
import pytest

from sensorium_jax import axes


def test_check_returns_sizes():
    sizes = axes.check(
        video_mbthwc=np.zeros((2, 3, 4, 5, 6, 1)), neurons_mn=np.ones((2, 7))
    )
    assert sizes == dict(m=2, b=3, t=4, h=5, w=6, c=1, n=7)


@pytest.mark.parametrize(
    "arrays, words",
    [
        (dict(rates_btn=np.zeros((2, 3))), "expected 3 axes: window"),
        (
            dict(rates_bt=np.zeros((2, 3)), valid_bt=np.zeros((2, 4))),
            "expected 3 as in",
        ),
        (dict(pupil_bt2=np.zeros((2, 3, 4))), "expected 2"),
    ],
)
def test_check_names_the_disagreement(arrays, words):
    with pytest.raises(ValueError, match=words):
        axes.check(**arrays)


def test_shard_counts_follow_the_mesh():
    import jax
    from jax.sharding import AxisType

    assert axes.shard_counts() == (1, 1)
    mesh = jax.make_mesh((1, 2), ("mouse", "data"), axis_types=(AxisType.Auto,) * 2)
    with jax.set_mesh(mesh):
        assert axes.shard_counts() == (1, 2)
