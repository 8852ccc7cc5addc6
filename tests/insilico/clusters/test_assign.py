"""New neurons of known clusters, from responses with noise; what a rig shows."""

import numpy as np
import pytest

from sensorium_jax import insilico
from sensorium_jax.errors import UserError
from sensorium_jax.insilico.clusters import assign

CLUSTERS, EACH = 4, 25


def drawn(rng, count):
    """Normalized rates [N, S] of so many neurons of each cluster, and who is where."""
    labels = np.repeat(np.arange(CLUSTERS), count)
    profile = np.eye(CLUSTERS) + 0.3 * np.roll(np.eye(CLUSTERS), 1, 1)
    return profile[labels] + 0.08 * rng.normal(size=(len(labels), CLUSTERS)), labels


@pytest.fixture(scope="module")
def known():
    """A result of four clusters; its stimuli are films of three frames."""
    rates, labels = drawn(np.random.default_rng(0), EACH)
    screen = {"black": 0.0, "white": 255.0, "grey": 102.0, "unit": 40.0}
    about = {"mouse": "old", "screen": screen, "frames_per_second": 30.0}
    stimulus = np.full((CLUSTERS, 3, 4, 5, 1), 102.0)
    stimulus[1:] += 51 * np.arange(1, CLUSTERS)[:, None, None, None, None]
    arrays = {"cluster": labels, "response_by_stimulus": rates}
    neurons = np.arange(len(labels))
    return insilico.Result("cluster", about, neurons, arrays, {"stimulus": stimulus})


@pytest.fixture(scope="module")
def recorded():
    """Ten responses to each stimulus of new neurons, in units of their own."""
    rng = np.random.default_rng(1)
    rates, labels = drawn(rng, 50)
    gain, offset = rng.lognormal(0, 1, len(labels)), rng.uniform(0, 5, len(labels))
    clean = offset + gain * rates.T
    return clean + 0.6 * gain * rng.normal(size=(10, *clean.shape)), labels


def test_more_repeats_tell_more(known, recorded):
    y, labels = recorded
    found = insilico.assign(known, y, labels_n=labels, draws=4)
    right = (found["cluster"] == labels).mean()
    assert right > 0.97 and found["ari"][-1] > 0.93 > 0.7 > found["ari"][0]
    assert np.all(np.diff(found["accuracy"]) > -0.05) and found["accuracy"][-1] == 1
    assert found.about["accuracy_against"] == "all repeats"
    sure = np.isfinite(found["repeats_needed"])
    assert sure.mean() > 0.5 and found["repeats_needed"][sure].min() >= 1
    first = (found["confidence_curve"][sure, :] >= assign.SURE).argmax(1) + 1
    assert np.all(found["repeats_needed"][sure] >= first)
    assert len(found.figure().axes) == 2


def test_the_posterior_does_not_promise_too_much(known, recorded):
    y, labels = recorded
    says, is_right = [], []
    for r in range(10):
        posterior = assign.posterior(y[[r, (r + 3) % 10]], assign.profiles(known))
        np.testing.assert_allclose(posterior.sum(1), 1)
        says.append(posterior.max(1))
        is_right.append(posterior.argmax(1) == labels)
    says, is_right = np.concatenate(says), np.concatenate(is_right)
    assert -0.02 < is_right.mean() - says.mean() < 0.25
    unsure = says < 0.7
    assert is_right[unsure].mean() + 0.1 < is_right[~unsure].mean()


def test_units_gaps_and_the_full_procedure(known, recorded):
    y, labels = recorded
    profiles = assign.profiles(known)
    whole = assign.posterior(y, profiles)
    scaled = assign.posterior(1000 * y + 7, profiles)
    np.testing.assert_allclose(scaled, whole, atol=1e-6)
    gaps = y.copy()
    gaps[5:, 2, :3] = np.nan
    again = assign.posterior(gaps, profiles)
    np.testing.assert_allclose(again[3:], whole[3:])
    assert not np.allclose(again[:3], whole[:3], atol=1e-9)
    full = insilico.assign(known, y, full_n=(labels + 1) % CLUSTERS, draws=1)
    assert full.about["accuracy_against"] == "the full procedure"
    assert full["accuracy"][-1] < 0.1
    with pytest.raises(UserError, match="Neuron 4 has no response to stimulus 1"):
        gaps[:, 1, 4] = np.nan
        assign.posterior(gaps, profiles)
    with pytest.raises(UserError, match="4 stimuli, neurons"):
        insilico.assign(known, y[:, :3])


def test_what_a_rig_shows(known):
    one = insilico.show(known, repeats=3, pause=0.4)
    assert one.frames.shape == (CLUSTERS, 3, 4, 5, 1) and one.frames.dtype == np.uint8
    assert one.grey == 102 and one.frames[:, 0, 0, 0, 0].tolist() == [
        102,
        153,
        204,
        255,
    ]
    assert np.bincount(one.stimulus_p).tolist() == [3] * CLUSTERS
    assert sorted(one.stimulus_p[:CLUSTERS]) == list(range(CLUSTERS))
    np.testing.assert_allclose(np.diff(one.onset_p), 0.1 + 0.4)
    assert one.duration == pytest.approx(0.1) and one.onset_p[0] == 0.4
    assert one.seconds == pytest.approx(12 * 0.5)
    with pytest.raises(UserError, match="expected 1 or more"):
        insilico.show(known, repeats=0)
