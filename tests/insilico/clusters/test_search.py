"""Clusters of cells whose kinds are known."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax import insilico
from sensorium_jax.errors import UserError
from sensorium_jax.insilico import Climb, Rules
from sensorium_jax.insilico.clusters import partition
from support.cells import GREY, UNIT, one_device  # noqa: F401
from support.quick import quick  # noqa: F401


class OnOff(NamedTuple):
    """Every second cell answers with the mean light over grey, the others with less."""

    cells: int = 42
    side: int = 18
    mice: tuple = ("toy",)
    raw: tuple = ("video",)
    behaviors: int = 0

    @property
    def frame_shape(self):
        return (self.side, self.side, 1)

    @property
    def neurons(self):
        return (self.cells,)

    def light(self, mouse):
        return GREY, UNIT

    def respond(self, video_bthwc, behavior_btk=None, pupil_bt2=None, **_):
        light_bt = (jnp.asarray(video_bthwc).mean((2, 3, 4)) - GREY) / UNIT
        sign_n = np.where(np.arange(self.cells) % 2, -1.0, 1.0)
        return light_bt[..., None] * sign_n[None, None]


@pytest.fixture(scope="module")
def toy():
    """Two searches that begin with five clusters."""
    subject, steps = insilico.subject(OnOff()), []
    labels = np.array(["on", "off"] * 21)
    found = insilico.cluster(
        subject,
        clusters=5,
        seeds=2,
        labels=labels,
        climb=Climb(steps=10),
        tell=steps.append,
    )
    return subject, found, steps


def test_on_and_off_cells_end_in_two_clusters(toy):
    _, found, steps = toy
    assert found.about["clusters"] == 2 and found.about["ari_by_seed"] == [1.0, 1.0]
    assert found.about["agreement"] == 1.0 and found["size"].tolist() == [21, 21]
    assert [s.stage for s in steps] == 2 * ["merge", "split", "done"]
    # Both stimuli tell the clusters apart as well as any could: by nearly log 2.
    assert found["objective"].min() > 0.9 * np.log(2)
    light = (found["stimulus"].mean((1, 2, 3, 4)) - GREY) / UNIT
    assert light[0] * light[1] < 0 and abs(light).min() > 0.15
    np.testing.assert_allclose(
        found["confusion_column_diagonal"], [[1, -1], [-1, 1]], rtol=0.1
    )
    assert len(found.figure().axes) >= 3


def test_what_cannot_be_clustered_is_refused(toy):
    subject, _, _ = toy
    for wrong, words in (
        ({"clusters": 1}, "1 clusters were asked for, of 42"),
        ({"clusters": 50}, "50 clusters"),
        ({"clusters": 2, "temperature": 0}, "must be above 0"),
        ({"clusters": 2, "neurons": [0]}, "at least 2"),
    ):
        with pytest.raises(UserError, match=words):
            insilico.cluster(subject, **wrong)
    assert Rules(3).clusters == 3


def test_partitions():
    assert partition.rand_index([0, 0, 1, 1], [5, 5, 2, 2]) == 1
    # 2 pairs together in both, 6 and 3 in either, of 15.
    one, other = [0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2]
    assert partition.rand_index(one, other) == pytest.approx(
        (2 - 6 * 3 / 15) / ((6 + 3) / 2 - 6 * 3 / 15)
    )
    groups = partition.random_groups(np.random.default_rng(0), 42, 5)
    assert sorted(np.bincount(groups)) == [8, 8, 8, 9, 9]
