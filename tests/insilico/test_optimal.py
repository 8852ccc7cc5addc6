"""Optimal stimuli of neurons whose best stimulus is known."""

import numpy as np
import optax
import pytest

from sensorium_jax import insilico
from sensorium_jax.errors import UserError
from sensorium_jax.insilico import Aim, Budget, Climb, optimal
from support.cells import GREY, UNIT, cells, one_device, true_cells  # noqa: F401
from support.quick import quick  # noqa: F401

FAST = Climb(steps=40)
SIMPLE, FLAT = [0, 1, 2], 6


@pytest.fixture(scope="module")
def twin():
    return cells()


@pytest.fixture(scope="module")
def subject(twin):
    """One for all: programs belong to a subject."""
    return insilico.subject(twin)


@pytest.fixture(scope="module")
def best(subject):
    return insilico.mei(subject, [0, 1, 3, 6, 8], climb=FAST)


def z(result, i=slice(None)):
    """Stimuli in units of contrast."""
    return (result["stimulus"][i] - GREY) / UNIT


def correlation(a, b):
    return float(np.corrcoef(np.ravel(a), np.ravel(b))[0, 1])


def test_the_best_stimulus_is_the_filter(twin, best):
    assert best.neurons.tolist() == [0, 1, 3]
    size = 0.2 * np.sqrt(16 * 20)
    for i in (0, 1):
        assert correlation(z(best, i), twin.even_nhw[i]) > 0.999
        np.testing.assert_allclose(best["response"][i], size, rtol=1e-3)
    np.testing.assert_allclose(best["contrast"], 0.2, rtol=1e-3)
    np.testing.assert_allclose(best["response"][2], size, rtol=1e-3)  # at any phase
    np.testing.assert_allclose(best["blank"], 0, atol=1e-5)
    assert set(best.failed) == {6, 8} and "no start has a gradient" in best.failed[6]
    assert len(best.figure().axes) >= 3


def test_it_does_not_depend_on_what_else_is_computed(subject, best):
    alone = insilico.mei(subject, [1], climb=FAST, memory=60_000.0)
    np.testing.assert_allclose(alone["stimulus"][0], best["stimulus"][1], rtol=1e-5)


def test_least_and_without_others(twin, subject):
    """The least of neuron 3 less neuron 1 drives neuron 1, and 3 hardly."""
    aim = Aim(least=True, off=(1,), starts=2)
    one = insilico.mei(subject, [3], aim=aim, climb=FAST)
    both = np.asarray(twin.respond(one["stimulus"]))[0, 0]
    np.testing.assert_allclose(one["response"][0], both[3] - both[1], rtol=1e-4)
    assert both[3] < 0.1 and both[1] > 0.9 * 0.2 * np.sqrt(320)


def test_many_that_differ(subject):
    aim, climb = Aim(members=3, starts=1), Climb(steps=60, likeness=0.3)
    many = insilico.mei(subject, [3], aim=aim, climb=climb)
    flat = z(many, 0).reshape(3, -1)
    pairs = np.corrcoef(flat)[np.tril_indices(3, -1)]
    assert many["response"].shape == (1, 3)
    assert many["response"].min() > 0.85 * 0.2 * np.sqrt(320)
    assert pairs.max() < 0  # three phases of a third of a turn: -1/2


def test_other_ways_up(twin, subject):
    """Own optimizer, another domain and every penalty at once.

    Low frequencies come first in that domain, and the filter has no lowest ones.
    """
    climb = Climb(
        steps=40,
        optimizer=optax.sgd(0.3, momentum=0.5),
        domain="fourier",
        transparency=0.2,
        variation=0.02,
        spectrum=0.01,
        jitter=1,
    )
    result = insilico.mei(subject, [0], climb=climb)
    assert correlation(z(result, 0), twin.even_nhw[0]) > 0.6
    alpha = result["alpha"][0]
    assert np.ptp(alpha) > 0.3 and alpha.min() >= 0 and alpha.max() <= 1


def test_a_surround_leaves_its_center_and_stays_under_its_mask(twin, best, subject):
    options = {"around": best, "center": 2.0, "mask": 5.0, "climb": FAST}
    ring = insilico.mei(subject, [0, 2], **options)
    assert ring.neurons.tolist() == [0] and ring.failed == {2: "it has no center"}
    changed = np.abs(z(ring, 0) - z(best, 0))[0, ..., 0]
    y, x = np.mgrid[:16, :20]
    a = twin.about[0]
    away = np.hypot(x - a["x"], y - a["y"])
    assert changed[away < 1].max() < 1e-4 < changed.max()
    assert not z(ring, 0)[0, away > 7].any() and z(ring, 0)[0, away > 3].any()
    with pytest.raises(UserError, match="--center"):
        insilico.mei(subject, [0], around=best)


def test_a_mask_lies_where_the_neuron_looks(twin, subject):
    """That stimuli stay under masks is what the test above says."""
    shape = (1, 16, 20, 1)
    held = optimal._held(subject, [1, 0], shape, 3.0, None, None, None)
    assert held.fixed is None and held.neurons == [1, 0]
    y, x = np.mgrid[:16, :20]
    for mask_hw, a in zip(held.mask, (twin.about[1], twin.about[0]), strict=True):
        away = np.hypot(x - a["x"], y - a["y"])
        assert (mask_hw[away < 1] == 1).all() and not mask_hw[away > 5].any()


def test_a_second_twin_is_asked_too(twin, best, subject):
    half = insilico.subject(twin._replace(even_nhw=0.5 * twin.even_nhw))
    checked = insilico.check_on(best, subject, half, "half")
    want = best["response"] * [0.5, 0.5, 1]
    np.testing.assert_allclose(checked["check_response"][:2], want[:2], rtol=1e-4)
    assert checked.about["check"] == "half"
    with pytest.raises(UserError, match="sees frames of"):
        other = insilico.subject(cells(1, size=(16, 16)))
        insilico.check_on(best, subject, other, "other")


def test_odd_requests_are_refused(subject):
    for wrong, words in (
        ({"budget": Budget(contrast=9.0)}, "the most is"),
        ({"aim": Aim(frames=5)}, "sees pictures"),
        ({"aim": Aim(count="first")}, "Unknown count 'first'"),
        ({"climb": Climb(optimizer="adm")}, "Did you mean 'adam'"),
        ({"climb": Climb(steps=0)}, "must be above 0"),
    ):
        with pytest.raises(UserError, match=words):
            insilico.mei(subject, [0], **wrong)


def test_films_of_true_simple_cells_are_their_filters():
    truth = true_cells("simple", 2)
    subject = insilico.subject(truth)
    budget = Budget(contrast=0.1, low=subject.screen.low, high=subject.screen.high)
    result = insilico.mei(subject, climb=Climb(steps=25), budget=budget)
    w = truth.weights[0]
    found = []
    for i in range(2):
        kernel = np.convolve(w.filters.early_nl[i], np.array([0.1, 0.3, 0.3, 0.2, 0.1]))
        want = kernel[::-1, None, None] * w.filters.even_np[i].reshape(36, 64)[None]
        shown = subject.screen.contrast(result["stimulus"][i])[..., 0]
        found.append(correlation(shown, want))
    assert np.median(found) > 0.9
