"""How much a step computes, counted on paper: what grows is seen without a clock."""

import sys
from pathlib import Path

import jax
import pytest

from sensorium_jax.models.ops import formulation
from sensorium_jax.training.step import Tally
from sensorium_jax.zoo import work

BENCHMARKS = Path(__file__).parents[2] / "experiments/benchmarks"

# Operations of products, two mice of 100 neurons and two windows. A change that makes
# a step compute more must raise its number here, and say why.
MOST = {
    ("factorized2023", 24): 96_735_734_832,
    ("gru2023", 4): 379_502_514_784,
    ("demo", 24): 286_523_888,
}


@pytest.fixture(scope="module")
def recipe_steps():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import recipe_steps

        yield recipe_steps
    sys.modules.pop("recipe_steps")


@pytest.mark.parametrize(("preset", "frames"), MOST)
def test_a_step_computes_no_more_than_before(recipe_steps, preset, frames):
    case = recipe_steps.Case(preset, preset, 2, frames, frames, neurons=100, mice=2)
    made = recipe_steps.programs(case)
    with formulation.use("library"):
        shapes = jax.eval_shape(made.state), made.windows, jax.eval_shape(Tally.zero)
        counted = work.products(made.step, *shapes)
    assert 0.95 * MOST[preset, frames] <= counted <= MOST[preset, frames]
