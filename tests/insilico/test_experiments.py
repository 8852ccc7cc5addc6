"""Screening, states and invariances of neurons whose answers are known."""

import numpy as np
import pytest

from sensorium_jax import insilico
from sensorium_jax.errors import UserError
from sensorium_jax.insilico import Climb, Clip, Values, invariances, states
from support.cells import GREY, UNIT, cells, one_device, true_cells  # noqa: F401
from support.quick import quick  # noqa: F401


@pytest.fixture(scope="module")
def twin():
    return cells()


@pytest.fixture(scope="module")
def subject(twin):
    """One for all: programs belong to a subject."""
    return insilico.subject(twin)


@pytest.mark.parametrize("frames", [1, 7])
def test_screening_equals_an_exhaustive_ranking(twin, frames, subject):
    rng = np.random.default_rng(0)
    films = rng.uniform(0, 255, (12, frames, 16, 20, 1)).astype(np.float32)
    clips = [Clip(10 + i, x) for i, x in enumerate(films)]
    result = insilico.screen(subject, clips, [4, 1, 99], top=4)
    rates = np.asarray(twin.respond(films)).reshape(-1, 7)
    for row, n in enumerate((4, 1)):
        for name, sign in (("best", -1), ("worst", 1)):
            order = np.argsort(sign * rates[:, n], kind="stable")[:4]
            want = np.stack([10 + order // frames, order % frames], 1)
            got = [result[f"{name}_clip"][row], result[f"{name}_frame"][row]]
            np.testing.assert_array_equal(np.stack(got, 1), want)
            np.testing.assert_allclose(
                result[f"{name}_rate"][row], rates[order, n], 1e-5
            )
    assert result.about["frames_ranked"] == 12 * frames and set(result.failed) == {99}


def test_clips_are_ranked_by_their_means_and_pictures_are_kept(twin, subject):
    rng = np.random.default_rng(1)
    films = rng.uniform(0, 255, (6, 3, 16, 20, 1)).astype(np.float32)
    clips = [Clip(i, x) for i, x in enumerate(films)]
    options = {"top": 3, "whole": True, "pictures": 2}
    result = insilico.screen(subject, clips, [4], **options)
    rates = np.asarray(twin.respond(films))[..., 4]
    order = np.argsort(-rates.mean(1))[:3]
    assert result["best_clip"][0].tolist() == order.tolist()
    assert result["best_frame"][0].tolist() == rates[order].argmax(1).tolist()
    np.testing.assert_allclose(result["best_rate"][0], rates.mean(1)[order], 1e-5)
    want = films[order[:2], rates[order[:2]].argmax(1)]
    np.testing.assert_array_equal(result["best_picture"][0], want)
    worst = np.argsort(rates.mean(1))[:2]
    want = films[worst, rates[worst].argmin(1)]
    np.testing.assert_array_equal(result["worst_picture"][0], want)
    with pytest.raises(UserError, match="no more than the first"):
        insilico.screen(subject, clips, [4], top=1, pictures=2)


def test_frames_of_one_scene_count_once(twin, subject):
    film = np.full((1, 9, 16, 20, 1), GREY, np.float32)
    film[0, 2:8, ..., 0] += UNIT * twin.even_nhw[0] * np.arange(1, 7)[:, None, None]
    clips = [Clip(0, film[0])]
    result = insilico.screen(subject, clips, [0], top=3, apart=3)
    assert result["best_frame"][0].tolist() == [7, 4, 0]
    with pytest.raises(UserError, match="nothing to rank"):
        insilico.screen(subject, [], [0])


def test_gains_of_true_cells_are_those_of_the_truth():
    truth = true_cells("complex", 5)
    one = insilico.subject(truth)
    values = Values(
        orientations=3, phases=1, frequencies=(0.08,), tfs=(2.0,), seconds=0.1
    )
    result = insilico.state(one, signal=1, levels=[0.0, 4.0], values=values)
    want = truth.neurons[0].gain_run * np.tanh(2.0)
    np.testing.assert_allclose(np.log(result["gain"][:, 1]), want, atol=1e-3)
    np.testing.assert_allclose(result["log_gain_slope"], want / 4, atol=1e-3)
    np.testing.assert_allclose(result["offset"], 0, atol=1e-3)
    np.testing.assert_allclose(result["explained"], 1, atol=1e-4)
    for signal, levels, words in (
        (7, [0, 1], "takes 2 behavior"),
        (0, [1], "at least two"),
    ):
        with pytest.raises(UserError, match=words):
            insilico.state(one, signal=signal, levels=levels)


def test_lines_between_levels():
    rng = np.random.default_rng(0)
    base = rng.gamma(1.0, 1.0, (3, 1, 20))
    rates = np.concatenate([base, 2 * base + 1, 0.5 * base], 1)
    gain, offset = states.lines(rates)
    np.testing.assert_allclose(gain, np.tile([1, 2, 0.5], (3, 1)))
    np.testing.assert_allclose(offset, np.tile([0, 1, 0], (3, 1)), atol=1e-9)


def test_complex_cells_have_a_ring_and_simple_cells_none(twin, subject):
    result = insilico.invariance(subject, [0, 3, 6], climb=Climb(steps=40), points=8)
    assert result.neurons.tolist() == [0, 3] and "flat" in result.failed[6]
    assert result["level"][1] > 0.95 and result["level"][0] < 0.05
    assert result["invariant"].tolist() == [0, 1]
    size = 0.2 * np.sqrt(320)
    assert result["ring_curve"][1].min() > 0.95 * size
    ring = (result["ring"][1, :, 0, ..., 0] - GREY) / UNIT
    np.testing.assert_allclose(ring[4], -ring[0], atol=1e-4)
    # Aligned: first the even Gabor, light in its middle.
    even = np.corrcoef(ring[0].ravel(), twin.even_nhw[0].ravel())[0, 1]
    assert even > 0.9
    assert len(result.figure().axes) >= 2


def test_alignment_does_not_depend_on_where_a_ring_began():
    rng = np.random.default_rng(0)
    pair = rng.normal(size=(2, 1, 9, 11, 1))
    turn = np.array([[np.cos(1.0), np.sin(1.0)], [-np.sin(1.0), np.cos(1.0)]])
    one = invariances.align(pair, np.array([5, 4]))
    other = invariances.align(np.tensordot(turn, pair, 1), np.array([5, 4]))
    np.testing.assert_allclose(one, other, atol=1e-9)
