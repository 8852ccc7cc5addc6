"""Presets build what they always built: names are public, and in every checkpoint."""

import json
from pathlib import Path

import jax
import pytest

from sensorium_jax import trees
from sensorium_jax.zoo import describe
from sensorium_jax.zoo.assemble import on_paper, original_inputs
from sensorium_jax.zoo.presets.every import PRESETS

STORED = Path(__file__).parent.parent / "golden/preset_variables.json"
VARIABLES = json.loads(STORED.read_text())  # of two mice with 7 and 5 neurons


def test_every_preset_is_stored():
    assert set(VARIABLES) == set(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_names_and_shapes_of_all_variables_are_the_stored_ones(name):
    info = on_paper(["a", "b"], [7, 5], original_inputs(name))
    encoder = describe.build(name)
    shapes = jax.eval_shape(lambda: describe.init(encoder, info, 0))
    leaves = trees.named_leaves(shapes)
    found = {path: "x".join(map(str, leaf.shape)) for path, leaf in leaves.items()}
    assert found == VARIABLES[name]
