"""The preset of discrete groups: who is in them, and how far they are apart."""

import numpy as np
import pytest

from sensorium_jax.errors import UserError
from sensorium_jax.rules import RELEASES
from sensorium_jax.simulation import design, write
from sensorium_jax.simulation.cortex import filters, types
from sensorium_jax.simulation.cortex.neurons import MIDDLE


@pytest.fixture(scope="module")
def cells():
    return types.draw(1, 0, 400)


def test_groups_are_discrete_centered_and_unequal(cells):
    names, size = np.unique(cells.kind, return_counts=True)
    assert types.FEWEST <= len(names) <= types.MOST
    assert size.min() == types.SMALLEST and size.max() > 1.5 * size.min()
    assert size.sum() == 400
    np.testing.assert_array_equal(cells.center_n2, np.tile(MIDDLE, (400, 1)))
    some = [np.flatnonzero(cells.kind == name)[:2] for name in names]
    pairs = types.alike(filters.take(cells, np.concatenate(some)))
    same = np.repeat(np.arange(len(names)), 2)
    inside = (same[:, None] == same[None]) & ~np.eye(len(same), dtype=bool)
    assert pairs[inside].min() > 0.85 > 0.7 > pairs[same[:, None] != same[None]].max()


def test_mice_share_groups_and_worlds_do_not(cells):
    other = types.draw(1, 1, 400)
    assert set(other.kind) == set(cells.kind)
    assert not np.array_equal(other.kind, cells.kind)
    for name in set(cells.kind):
        lengths = [c.wavelength[c.kind == name].mean() for c in (cells, other)]
        assert lengths[0] == pytest.approx(lengths[1], rel=0.05)
    new = types.groups(2)
    assert not np.isclose(new.wavelength[0], types.groups(1).wavelength[0])


def test_turned_cells_keep_all_but_their_orientation(monkeypatch):
    monkeypatch.setattr(types, "CANDIDATES", 3)
    monkeypatch.setattr(types, "TURNS", 2)
    turned = types.draw(1, 0, 100, turned=True)
    name = "simple 1"
    own = turned.kind == name
    spread = np.abs(np.exp(2j * turned.orientation[own]).mean())
    assert spread < 0.7 and turned.wavelength[own].std() < 1
    with pytest.raises(UserError, match="Only cells of the preset 'types'"):
        write.simulate("nowhere", preset="tiny", turned=True)


def test_sizes_of_any_count():
    chosen = types.groups(1)
    for count in (400, 173, 60, chosen.cells):
        size = types.sizes(chosen, count)
        assert size.sum() == count and size.min() >= 1
    assert design.preset("types", RELEASES["2022"]).types
