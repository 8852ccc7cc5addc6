"""Winners are asked as their originals predict."""

import numpy as np

from sensorium_jax import asking as ask
from sensorium_jax.asking import Joined
from sensorium_jax.zoo import describe
from sensorium_jax.zoo.assemble import asking_of, build


def test_patterns_find_them_by_year():
    assert {"dwise2023", "dwise2023_distill"} <= set(describe.names("*2023*"))
    assert describe.names("dwise2023_*") == ["dwise2023_distill"]


def test_dwiseneuro_blends_every_window_of_a_trial():
    asking = asking_of("dwise2023", build("dwise2023"))
    assert not asking.causal and asking.canvas == (64, 64)
    assert (asking.inputs, asking.units) == ("raw", "raw")
    length, behind, neurons = 45, 30, 2
    rates = np.random.default_rng(0).uniform(size=(length, 16, neurons))
    # The original's loop: a window ends at every frame that has 30 before it.
    total, count = np.zeros((length, neurons)), np.zeros(length)
    joined = Joined(asking, length)
    for index in range(behind, length):
        at = list(range(index - behind, index + 1, 2))
        total[at] += rates[index]
        count[at] += 1
    for index, frames in enumerate(ask.clips(asking, length), behind):
        joined.add(frames, rates[index])
    got, start = joined.value()
    assert start == 0
    np.testing.assert_allclose(got, total / count[:, None], rtol=1e-6)
