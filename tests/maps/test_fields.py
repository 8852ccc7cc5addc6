import numpy as np
import pytest

from sensorium_jax.maps import fields, fit, moments, reduce, ridge
from support.recordings.planted import HEIGHT, HERTZ, WIDTH, planted

PLAN = reduce.choose((HEIGHT, WIDTH, 1), hertz=HERTZ, signals=1, features=600)


@pytest.fixture(scope="module")
def cells():
    return planted()


@pytest.fixture(scope="module")
def seen(cells):
    return moments.gather(PLAN, [cells.train], lambda b: b.video_mbthwc)


@pytest.fixture(scope="module")
def found(cells, seen):
    return fit.find_fields(PLAN, seen, cells.info)[0]


def pixels(center_n2):
    return (center_n2 + 1) / 2 * np.array([WIDTH - 1, HEIGHT - 1])


def away(center_n2, cells):
    return np.sqrt(((pixels(center_n2) - cells.center_n2) ** 2).sum(1))


def test_fields_of_light_and_of_contrast_are_found(found, cells):
    real = slice(None, -2)
    assert (away(found.mapped_n2, cells)[real] < 1.5).all()
    assert (found.evidence_n[real] > 3).all()
    # Spots were drawn with an SD of 1.5 pixels.
    assert 0.7 < np.median(found.width_n[cells.linear_n]) < 3


def test_cells_that_answer_nothing_are_unsure_and_stand_where_others_do(found, cells):
    assert (found.evidence_n[-2:] < 1).all()
    assert (found.mapped_confidence_n[-2:] < 0.3).all()
    assert found.spread_n2[-2:].min() > 3 * np.median(found.spread_n2[:-2])
    assert (np.abs(found.center_n2) <= 1.05).all()
    assert np.isfinite(found.envelope_np).all()


def test_cortex_tells_of_cells_that_say_nothing_and_does_not_move_sure_ones(
    found, cells, seen
):
    alone = away(found.mapped_n2, cells)
    both = away(found.center_n2, cells)
    # The two silent cells lie where their neighbors in cortex look.
    assert (both[-2:] < alone[-2:]).all() and both[-1] < 3
    assert both[1] < 1.5  # the cell that lies far from its place
    bare = cells.info._replace(has_coordinates=False)
    without = fit.find_fields(PLAN, seen, bare)[0]
    assert (away(without.center_n2, cells)[:-2] < 1.5).all()
    assert found.spread_n2[-2:].mean() < without.spread_n2[-2:].mean()


def test_grid_units_are_those_of_the_readouts():
    plan = reduce.Plan((7, 5, 1), (7, 5), (7, 5), 1, 1, 1, 0)
    places = reduce.cells(plan, (7, 5))
    by_place = np.full((2, 35), -50.0)
    by_place[0, 0] = by_place[1, 34] = 0.0
    got = fields.posterior(by_place, places, plan)
    grid = got.center_n2 * 2 / np.array([4, 6]) - 1
    np.testing.assert_allclose(grid, [[-1, -1], [1, 1]], atol=1e-6)
    np.testing.assert_allclose(got.spread_n2, 0, atol=1e-6)
    np.testing.assert_allclose(got.near_n, 1, atol=1e-6)


def test_confidence_is_the_share_that_is_near_and_two_humps_have_no_middle():
    plan = reduce.choose((36, 64, 1))
    places = reduce.cells(plan, (36, 64))
    row = {tuple(p): i for i, p in enumerate(places)}
    by_place = np.full((1, len(places)), -50.0)
    by_place[0, row[10.0, 10.0]] = np.log(0.7)
    by_place[0, row[50.0, 10.0]] = np.log(0.3)
    got = fields.posterior(by_place, places, plan, np.zeros_like(by_place))
    np.testing.assert_allclose(got.center_n2, [[10, 10]], atol=1e-6)
    np.testing.assert_allclose(got.near_n, [0.7], atol=1e-6)
    assert got.spread_n2[0, 0] == pytest.approx(40 * np.sqrt(0.3), rel=1e-6)


def test_confidence_is_earned(cells):
    """With a tenth of the trials fewer are sure, and those that are sure are right."""
    few = cells.train._replace(
        **{
            k: getattr(cells.train, k)[:, :3]
            for k in cells.train._fields
            if k not in ("neurons_mn", "observed_mbn")
        }
    )
    seen = moments.gather(PLAN, [few], lambda b: b.video_mbthwc)
    light = ridge.spectrum(moments.centered(seen, 0, 16), 1)
    contrast = ridge.spectrum(moments.centered(seen, 0, 16, "contrast"))
    less = fields.find(PLAN, light, contrast)
    sure = less.confidence_n > 0.8
    assert sure.sum() < 14
    assert (away(less.center_n2, cells)[sure] < 2).all()


def test_a_frame_of_a_few_pixels_has_fields_too():
    rng = np.random.default_rng(0)
    plan = reduce.choose((7, 5, 1), still=True)
    video = rng.standard_normal((1, 2000, 1, 7, 5, 1)).astype(np.float32)
    at = np.array([[1, 1], [3, 5], [2, 3]])
    drive = np.stack([video[0, :, 0, y, x, 0] for x, y in at], -1)
    responses = rng.poisson(np.exp(0.7 * drive))[None, :, None].astype(np.float32)
    none = np.zeros((1, 2000, 1, 0), np.float32)
    valid = np.ones((1, 2000, 1), bool)
    sample = moments.Sample(video, none, responses, valid)
    seen = moments.update(plan, moments.zero(plan, 1, 3), sample)
    light = ridge.spectrum(moments.centered(seen, 0, 3))
    contrast = ridge.spectrum(moments.centered(seen, 0, 3, "contrast"))
    got = fields.find(plan, light, contrast)
    np.testing.assert_allclose((got.center_n2 + 1) / 2 * [4, 6], at, atol=0.5)
    assert (got.mapped_confidence_n > 0.5).all()
