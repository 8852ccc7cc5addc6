from dataclasses import replace

import numpy as np
import pytest

from sensorium_jax.data.recordings import Recordings
from sensorium_jax.simulation import design, store as bench
from sensorium_jax.simulation.cortex import rates as cortex
from sensorium_jax.simulation.write import simulate

# A small one of the same shape: a mouse straight into a store, no rates on disk.
TWICE = design.Repeated(1, 2)
SMALL = replace(
    design.BENCH, mice=2, neurons=12, train=24, oracle=TWICE, main=TWICE, ood=TWICE
)
SMALL = replace(SMALL, calibration=3, frames=60, ood_frames=60)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    out = tmp_path_factory.mktemp("bench")
    simulate(out, preset=SMALL, seed=4)
    return out


def test_a_store_opens_and_equals_its_tree(store, tmp_path):
    tree = tmp_path / "tree"
    simulate(tree, preset=replace(SMALL, store=False), seed=4)
    ours, theirs = Recordings.open(str(store)), Recordings.open(str(tree))
    assert len(ours.sessions) == 2
    for one, two in zip(ours.sessions, theirs.sessions, strict=True):
        assert one.name == two.name and (one.tiers == two.tiers).all()
        np.testing.assert_array_equal(one.unit_ids_n, two.unit_ids_n)
        for row in (0, 7, one.trials - 1):
            for a, b in zip(one.trial(row), two.trial(row), strict=True):
                np.testing.assert_array_equal(a, b)
        std = two.statistics["responses"].std
        mean = std.mean(0) if std.ndim == 2 else std
        assert np.corrcoef(one.statistics["responses"].std, mean)[0, 1] > 0.9


def test_the_truth_of_a_store_answers(store):
    found = cortex.load(store)
    session = Recordings.open(str(store)).sessions[1]
    trial = session.trial(0)
    inputs = [x[None] for x in trial[:3]]
    rates = np.asarray(found.respond(*inputs, session.name))[0]
    assert rates.shape == trial.responses_tn.shape
    assert np.corrcoef(rates.mean(1), trial.responses_tn.mean(1))[0, 1] > 0.3


def test_a_killed_store_goes_on_to_the_same_bytes(store, tmp_path, monkeypatch):
    made, make = [], bench.make

    def dies(mouse, shown, index):
        if index == 30 and not made:
            made.append(index)
            raise KeyboardInterrupt
        return make(mouse, shown, index)

    monkeypatch.setattr(bench, "make", dies)
    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path, preset=SMALL, seed=4)
    simulate(tmp_path, preset=SMALL, seed=4)
    for path in sorted(p for p in store.rglob("*") if p.is_file()):
        again = tmp_path / path.relative_to(store)
        assert again.read_bytes() == path.read_bytes(), path
