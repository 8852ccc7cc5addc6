"""Films read back from the responses of cells whose rates are a formula."""

from typing import Any, NamedTuple

import numpy as np
import pytest

from sensorium_jax import insilico
from sensorium_jax.errors import UserError
from sensorium_jax.insilico.ascend import Climb
from sensorium_jax.insilico.constraints import blur
from sensorium_jax.insilico.movies import invert, reconstruct as movies
from sensorium_jax.insilico.movies.likeness import likeness
from sensorium_jax.insilico.movies.reconstruct import Options
from sensorium_jax.insilico.movies.recorded import Recorded
from sensorium_jax.insilico.movies.seen import seen
from support.cells import cells, one_device  # noqa: F401
from support.quick import quick  # noqa: F401

FRAMES = 4
CLIMB = Climb(steps=40, rate=0.2, optimizer="adam", start=0.3)
READ = Options((4, 24), climb=CLIMB, smooth_time=0.0, mask=0.4)


class Several(NamedTuple):
    """Twins whose mean answers, as an ensemble has them."""

    twins: tuple[Any, ...]

    def __getattr__(self, name):
        return getattr(self.twins[0], name)

    def respond(self, *shown, **options):
        return sum(t.respond(*shown, **options) for t in self.twins) / len(self.twins)


@pytest.fixture(scope="module")
def twin():
    return cells(12, size=(10, 12))


@pytest.fixture(scope="module")
def subject(twin):
    """Of films, though no rate depends on other frames than its own."""
    return insilico.subject(twin, fps=10.0)


def shown(subject, seed=0, trials=3):
    """Films of smooth noise, and what the cells answer."""
    z = np.random.default_rng(seed).normal(size=(trials, FRAMES, 10, 12, 1))
    z = np.asarray(blur(z, 1.0))
    video = subject.screen.shown(1.2 * z / z.std()).clip(0, 255).astype(np.float32)
    rates = np.asarray(subject.twin.respond(video))
    n = rates.shape[2]
    return Recorded(
        np.arange(trials),
        np.arange(trials),
        video,
        np.zeros((trials, FRAMES, 1), np.float32),
        np.zeros((trials, FRAMES, 2), np.float32),
        rates,
        np.ones((trials, n), bool),
        video.mean(0),
        {"per_frame": np.ones((1, n), np.float32)},
        {"frames": FRAMES, "tier": "oracle"},
    )


@pytest.fixture(scope="module")
def prepared(subject):
    return movies.prepare(subject, shown(subject), range(24), READ)


@pytest.fixture(scope="module")
def parts(prepared):
    return {job: movies.solve(prepared, job) for job in movies.jobs(prepared)}


@pytest.fixture(scope="module")
def read(prepared, parts):
    return movies.summary(prepared, parts)


def test_more_neurons_see_more(read):
    few, many = read.about["table"]
    assert (few["neurons"], many["neurons"]) == (4, 24)
    assert many["correlation"] > 0.5 > few["correlation"] + 0.15
    assert abs(many["shuffled"]) < 0.2
    assert read["movie"].shape == (2, 3, FRAMES, 10, 12, 1)
    assert read["movie"].min() >= 0 and read["movie"].max() <= 255
    own = [
        likeness(a, b, read["seen"] >= 0.4).all
        for a, b in zip(read["movie"][1], read["shown"], strict=True)
    ]
    np.testing.assert_allclose(read["correlation"][1], own, rtol=1e-4)
    assert read["rate_correlation"].mean() > 0.7
    assert sorted(read["added"]) == list(range(24))
    assert len(read.figure().axes) > 10


def test_a_film_is_read_from_the_chosen_neurons_alone(prepared, parts):
    """Responses of neurons that are not read change nothing, missing ones neither."""
    few = movies.jobs(prepared)[0]
    assert few.count == 4
    recorded, others = prepared.recorded, prepared.order_dn[0, 4:]
    responses = recorded.responses_stn.copy()
    responses[..., others] = 7.0
    moved = prepared._replace(recorded=recorded._replace(responses_stn=responses))
    again = movies.solve(moved, few)
    np.testing.assert_array_equal(again["z"], parts[few]["z"])
    many, known = few._replace(count=24), recorded.observed_sn.copy()
    known[:, others] = False
    hidden = moved._replace(recorded=moved.recorded._replace(observed_sn=known))
    np.testing.assert_array_equal(movies.solve(hidden, many)["z"], parts[few]["z"])


def test_several_models_and_their_mean(subject, monkeypatch):
    """A film through each, whose mean counts; or one film through their mean rate."""
    monkeypatch.setattr(movies, "seen", lambda *_, **__: np.ones((10, 12)))
    twins = (subject.twin, subject.twin._replace(even_nhw=0.5 * subject.twin.even_nhw))
    both = insilico.subject(Several(twins), fps=10.0)
    recorded, rng = shown(both, trials=1), np.random.default_rng(3)
    prepared = movies.prepare(both, recorded, None, READ._replace(counts=(25,)))
    parts = {
        job: {
            "z": rng.normal(size=(1, FRAMES, 10, 12, 1)),
            "loss": np.ones(1),
            "rate_correlation": np.ones((1, 25)),
        }
        for job in movies.jobs(prepared)
    }
    assert [job.member for job in parts] == [0, 1]
    result = movies.summary(prepared, parts)
    mean = both.screen.shown(np.mean([p["z"] for p in parts.values()], 0))
    np.testing.assert_allclose(result["movie"][0], mean, rtol=1e-5)
    assert len(result.about["by_member"]) == 2
    assert result.about["table"][0]["shuffled"] is None  # there is no other film
    one = movies.prepare(
        both, recorded, None, READ._replace(counts=(), ensemble="answer")
    )
    assert [m.twin for m in one.members] == [both.twin]


def test_losses_are_zero_where_rates_are_the_responses():
    y = np.random.default_rng(0).gamma(1.0, 1.0, (2, 3, 4)).astype(np.float32)
    weight = np.array([[1, 1, 1, 0], [1, 0, 0, 0]], np.float32)
    for kind in invert.LOSSES:
        zero = invert.loss_of(y, y, weight, kind)
        np.testing.assert_allclose(zero, 0, atol=1e-6)
        moved = y + np.array([0, 0, 0, 1], np.float32)
        np.testing.assert_allclose(invert.loss_of(moved, y, weight, kind), 0, atol=1e-6)
        assert (np.asarray(invert.loss_of(y + 0.5, y, weight, kind)) > 0.01).all()
    r, a = 1.7 + invert.LEAST, y + invert.LEAST
    want = (r - a - a * np.log(r / a))[0, :, :3].mean()
    given = invert.loss_of(np.full_like(y, 1.7), y, weight, "poisson")[0]
    np.testing.assert_allclose(given, want, rtol=1e-5)
    with pytest.raises(UserError, match="poisson"):
        invert.loss_of(y, y, weight, "huber")


def test_where_a_population_looks(twin, subject):
    """The root of the sum of squared gradients by rates, on whose place cells agree."""
    map_hw = seen(subject, np.ones(25), probes=64)
    assert map_hw.max() == 1
    power = (twin.even_nhw**2 + twin.odd_nhw**2).sum(0)
    assert np.corrcoef(map_hw.ravel() ** 2, power.ravel())[0, 1] > 0.8


def test_likeness_is_correlation_within_the_mask():
    a, b = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 1))
    mask = np.zeros((4, 5), bool)
    mask[1:3, 2:] = True
    found = likeness(a, b, mask)
    x, y = a[:, mask, 0], b[:, mask, 0]
    assert np.isclose(found.all, np.corrcoef(x.ravel(), y.ravel())[0, 1])
    each = [np.corrcoef(p, q)[0, 1] for p, q in zip(x, y, strict=True)]
    assert np.isclose(found.frame, np.mean(each))
    each = [np.corrcoef(p, q)[0, 1] for p, q in zip(x.T, y.T, strict=True)]
    assert np.isclose(found.time, np.mean(each))
    assert np.isnan(likeness(a[:1], b[:1], mask).time)
    a[:, 1] = b[:, 1] = 9.0
    assert np.isnan(likeness(np.zeros_like(a), b, mask).all)


def test_what_cannot_be_read_back(subject):
    recorded = shown(subject)
    still = insilico.subject(subject.twin)
    for one, given, options, error in (
        (still, recorded, READ, "sees single pictures"),
        (subject, recorded.only(np.arange(9)), READ, "has 9 neurons, the model has 25"),
        (subject, recorded, READ._replace(counts=(4, 99)), "Give --counts from 1 to"),
        (subject, recorded, READ._replace(mask=1.0), "less than 1"),
        (subject, recorded, READ._replace(ensemble="sum"), "members"),
    ):
        with pytest.raises(UserError, match=error):
            insilico.reconstruct(one, given, range(24), options)
