"""Winners are asked as their originals predict."""

import numpy as np

from sensorium_jax import asking as ask
from sensorium_jax.asking import Joined
from sensorium_jax.zoo import describe
from sensorium_jax.zoo.assemble import asking_of, build
from sensorium_jax.zoo.published import dwise2023, names


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


def test_the_authors_mice_are_known_by_the_sizes_of_their_readouts():
    counts = list(dwise2023.MICE.values())
    mice = {
        str(m): {"params/readout/bias": np.zeros(n + n % 2)}
        for m, n in enumerate(counts)
    }
    mice = dict(sorted(mice.items(), reverse=True))  # files may have any order
    found = dwise2023.of_mice(names.Read({}, mice, ()))
    assert list(found.mice) == list(dwise2023.MICE)
    for own, n in zip(found.mice.values(), counts, strict=True):
        assert len(own["params/readout/bias"]) == n
        half = -(-n // 2)
        parity = own["info/match_n"] % 2
        np.testing.assert_array_equal(parity, np.arange(n) >= half)
        assert len(np.unique(own["info/match_n"])) == n
