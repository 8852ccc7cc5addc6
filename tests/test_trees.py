import numpy as np
import pytest

from sensorium_jax import trees
from sensorium_jax.errors import UserError

TREE = {"core": {"w": np.ones((2, 3))}, "readout": {"b": np.zeros(4), "w": np.ones(5)}}


def test_names_round_trip():
    leaves = trees.named_leaves(TREE)
    assert list(leaves) == ["core/w", "readout/b", "readout/w"]
    assert trees.unflatten(leaves).keys() == TREE.keys()


def test_mask_matches_whole_names():
    assert trees.named_leaves(trees.mask(TREE, ".*/w")) == {
        "core/w": True,
        "readout/b": False,
        "readout/w": True,
    }
    assert not any(trees.named_leaves(trees.mask(TREE, "core")).values())


def test_select_refuses_an_empty_match():
    with pytest.raises(UserError, match="core/w"):
        trees.select(TREE, "kernel")


def test_merge_takes_the_matching_leaves():
    new = {"core": {"w": np.full((2, 3), 7.0)}, "readout": {"b": np.ones(4)}}
    merged = trees.merge(TREE, new, "core/.*")
    assert merged["core"]["w"][0, 0] == 7 and merged["readout"]["b"][0] == 0
    with pytest.raises(UserError, match="expected"):
        trees.merge(TREE, {"core": {"w": np.zeros(1)}}, "core/.*")


def test_sizes():
    assert trees.sizes(TREE) == {"core": 6, "readout": 9, "total": 15}


@pytest.mark.parametrize("before", ["", "params/", "ema/params/", "opt/1/mu/"])
def test_rows_of_mice_are_told_by_the_first_part_of_their_path(before):
    of_mice = ["readout/features", "shifter/layer0/kernel", "modulator/kernel"]
    of_mice += ["info/id", "info/video/mean", "readout/core/w"]
    shared = ["core/layer0/kernel", "gru/out_hidden/bias", "core/readout/w", "step"]
    assert all(trees.is_row(before + name) for name in of_mice)
    assert not any(trees.is_row(before + name) for name in shared)
