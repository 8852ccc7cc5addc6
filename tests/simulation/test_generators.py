import numpy as np
import pytest

from sensorium_jax.simulation.cascade import cells as cascade, observe, worlds
from sensorium_jax.simulation.monkey import cells as monkey
from sensorium_jax.simulation.retina import cells as retina


@pytest.fixture(scope="module")
def ganglion():
    return retina.draw(3, 0, 40, 20, 18)


def step(height, width, level, frames=120):
    """Grey, then from frame 20 on another level."""
    video = np.full((frames, height, width), 127, np.uint8)
    video[20:] = level
    return video


def test_on_and_off_cells_answer_their_own_step_and_adapt(ganglion):
    bright = retina.drive(ganglion, step(20, 18, 240))
    dark = retina.drive(ganglion, step(20, 18, 14))
    on = np.isin(ganglion.kind, ("on_transient", "on_sustained"))
    off = np.char.startswith(ganglion.kind, "off_")
    peak = bright[20:40].max(0), dark[20:40].max(0)
    assert (peak[0][on] > peak[1][on]).all() and (peak[1][off] > peak[0][off]).all()
    sustained = ganglion.kind == "on_sustained"
    early, late = bright[20:32, sustained].max(0), bright[-10:, sustained].max(0)
    assert (late < 0.8 * early).all()


def test_ganglion_cells_are_not_linear(ganglion):
    rng = np.random.default_rng(0)
    video = rng.integers(60, 195, (40, 20, 18)).astype(np.uint8)
    both = retina.drive(ganglion, video) + retina.drive(ganglion, 254 - video)
    # A linear drive and its negative would cancel; rectified subunits add up.
    assert (both[20:].mean(0) > 0.1).all()
    rates = retina.rates(ganglion, video)
    assert rates.min() >= 0 and rates.max() <= retina.MOST


def test_the_past_alone_moves_a_rate(ganglion):
    rng = np.random.default_rng(1)
    video = rng.integers(0, 255, (40, 20, 18)).astype(np.uint8)
    other = video.copy()
    other[30:] = 0
    one, two = retina.rates(ganglion, video), retina.rates(ganglion, other)
    np.testing.assert_array_equal(one[:30], two[:30])
    assert not np.array_equal(one[30:], two[30:])


def test_complex_cells_do_not_care_for_phase_and_simple_ones_do():
    cells = monkey.draw(0, 0, 30, 32)
    alike = []
    for n in range(30):
        angle = np.random.default_rng(n).uniform(0, np.pi)
        y, x = np.mgrid[:32, :32] - 16.0
        across = np.cos(angle) * x + np.sin(angle) * y
        phases = np.arange(8) * np.pi / 4
        wave = 2 * np.pi * across / cells.wavelength[n]
        gratings = [127 + 60 * np.cos(wave + p) for p in phases]
        answers = np.array([monkey.response(cells, g)[n] for g in gratings])
        alike.append(answers.std() / answers.mean())
    alike = np.array(alike)
    complex_ = cells.complexity > 0
    assert np.median(alike[complex_]) < 0.5 < np.median(alike[~complex_])


def test_contrast_saturates_a_normalized_cell():
    cells = monkey.draw(0, 0, 10, 32)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((32, 32))
    weak, strong = (monkey.response(cells, 120 + c * noise) for c in (20.0, 200.0))
    # A hundred times the energy is far less than a hundred times the answer.
    fires = weak > 0
    more = (strong[fires] / weak[fires]) ** (1 / cells.power[fires])
    assert fires.sum() > 5 and (more < 60).all()


@pytest.mark.parametrize("spec", [worlds.TINY_LAB, worlds.SPARSE, worlds.DRIFTING])
def test_cascades_fire_as_often_as_they_should(spec):
    inside = spec.clip.args[0]
    population = spec.population(0, 0)
    kind = spec.shows[0].kind
    video = spec.clip(0, kind, 77, 400)
    behavior = np.zeros((400, 1))
    rates = population.rates(video, behavior)
    found = rates.mean(0) / population.facts["rate"]
    assert inside.neurons == rates.shape[1]
    assert 0.3 < np.median(found) < 3 and (rates >= 0).all()


def test_running_moves_rates_where_it_is_recorded():
    spec = worlds.TINY_LAB
    population = spec.population(0, 0)
    video = spec.clip(0, spec.shows[0].kind, 5, 60)
    still = population.rates(video, np.zeros((60, 1)))
    runs = population.rates(video, np.full((60, 1), 3.0))
    assert np.mean(runs > still) > 0.7


def test_indicators_and_smears_keep_what_was_there():
    one = np.zeros((60, 2))
    one[10] = 1.0
    smeared = observe.smeared(one, 4)
    assert smeared.sum() == pytest.approx(2) and smeared[13].all()
    assert not smeared[9].any() and not smeared[14].any()
    glow = observe.decaying(one, 1.5, 9.0)
    assert not glow[:10].any() and glow.argmax(0).min() > 10
    late = glow[40:] / glow[39:-1]
    np.testing.assert_allclose(late, np.exp(-1 / 9), rtol=0.02)


def test_complex_cascades_answer_both_signs():
    law = worlds.DRIFTING.clip.args[0].law
    cells = cascade.draw(law, "drifting", 0, 0, 30)
    rng = np.random.default_rng(0)
    video = rng.integers(40, 215, (40, law.height, law.width)).astype(np.uint8)
    one, two = (cascade.drive(cells, v) for v in (video, 254 - video))
    complex_ = cells.complexity > 0
    np.testing.assert_allclose(one[:, complex_], two[:, complex_], atol=1e-4)
    np.testing.assert_allclose(one[:, ~complex_], -two[:, ~complex_], atol=1e-4)
