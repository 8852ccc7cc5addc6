"""A neuron that misses trials is scored on its other trials, whatever the score."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from sensorium_jax.data import statistics
from sensorium_jax.metrics import explained, repeats
from sensorium_jax.rules import FILMS, own
from sensorium_jax.scoring import accumulate, predict, suites, trials
from support.quick import quick  # noqa: F401
from support.recordings.of_lengths import FIT, session
from support.recordings.repeated import correlate, feed, trials_of

LENGTHS = (30, 34, 30, 34, 31, 30)
GONE = np.array(
    [[1, 0, 0], [0, 0, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0], [1, 0, 0]], bool
) | np.array([False, False, True])


class Noise:
    """Positive noise that differs from trial to trial."""

    def respond(self, video_bthwc, behavior_btk, pupil_bt2, mouse, first_frame_b=0):
        x_bt = behavior_btk[..., 0] + video_bthwc.mean((2, 3, 4))
        return np.exp(np.sin(x_bt[..., None] * (1 + np.arange(3)))).astype(np.float32)


@pytest.fixture(scope="module")
def measured():
    pairs = ((0, 2), (1, 3), (0, 5))
    one = session(LENGTHS, rules=own(FILMS, skip=6), same=pairs)
    one = replace(one, columns={"missing": GONE})
    plan = trials.planned(one, np.arange(len(LENGTHS)))
    told = list(predict.stream(Noise(), [plan]))
    (mouse,) = accumulate.measure(iter(told), [plan], fit=FIT, batch=4)
    return one, told, mouse


def series(told, n):
    """What is predicted and recorded of a neuron in the trials that it has."""
    mine = [p for p in told if not GONE[p.trial, n]]
    return [
        np.concatenate([getattr(p, name)[:, n] for p in mine]).astype(np.float64)
        for name in ("rates_tn", "responses_tn")
    ]


def test_scores_are_those_of_observed_trials(measured):
    one, told, mouse = measured
    part = suites.part(mouse)
    for n in (0, 1):
        x, y = series(told, n)
        assert part.single_n[n] == pytest.approx(correlate(x, y), abs=1e-6)
        loss = np.mean(x - y * np.log(x + 1e-8))
        assert mouse.poisson_n[n] == pytest.approx(loss, abs=1e-5)
        null = np.mean(y.mean() - y * np.log(y.mean()))
        gain = (null - loss) * len(y) / y.sum() / np.log(2)
        assert mouse.bits_n[n] == pytest.approx(gain, abs=1e-4)
    assert part.undefined == 1 and part.single_n[2] == 0
    assert np.isfinite(part.draws_w).all()
    report = suites.report([mouse])
    numbers = [v for v in report.all if isinstance(v, float)]
    assert np.isfinite(numbers).all() and report.all.undefined == 1


def test_the_null_is_of_observed_trials(measured):
    one, told, mouse = measured
    mean_n = one.statistics["responses"].mean.astype(np.float64).mean(0)
    for n in (0, 1):
        factors = statistics.precision(one)[:, n].astype(np.float64)
        rows = [r for r in range(len(LENGTHS)) if not GONE[r, n]]
        x = np.concatenate([mean_n[n] * factors[6 : LENGTHS[r]] for r in rows])
        want = correlate(x, series(told, n)[1])
        assert suites.part(mouse).null_n[n] == pytest.approx(want, abs=1e-6)


def test_resamples_draw_from_observed_trials(measured):
    """Weights of any kind: as if each trial had been shown so many times."""
    _, told, mouse = measured
    weights = np.array([[2.0, 0, 1, 5, 1, 0]])
    found = suites.resample.correlations(mouse.model, weights)[0]
    by_row = {p.trial: p for p in told}
    for n in (0, 1):
        rows = [r for r, w in enumerate(weights[0]) for _ in range(int(w))]
        again = [by_row[r] for r in rows]
        assert found[n] == pytest.approx(correlate(*series(again, n)), abs=1e-6)


UPDATE, SCORES, CEILINGS = map(
    jax.jit, (explained.update, explained.value, repeats.value)
)


@pytest.mark.parametrize("batch", [5, 24])
def test_repeats_are_those_that_a_neuron_has(batch):
    """Each neuron by itself, with its own trials, has the same scores and ceiling."""
    y, slot = trials_of(clips=4, repeats=6, frames=7, neurons=3)
    r = np.random.default_rng(3)
    p = (0.5 * y + r.gamma(1.0, 0.3, y.shape)).astype(np.float32)
    seen = r.random((len(y), 3)) < 0.6
    seen[:, 2] = False
    state = explained.zero(1, 4, 7, 3, True)
    for start in range(0, len(y), batch):
        rows = slice(start, start + batch)
        known = np.ones((1, len(y[rows]), 7), bool)
        parts = (p[None, rows], y[None, rows], known, slot[None, rows])
        state = UPDATE(state, *parts, seen[None, rows])
    got, ceilings = SCORES(state), CEILINGS(state.responses)
    for n in (0, 1):
        mine = seen[:, n]
        alone = explained.zero(1, 4, 7, 1)
        only = (p[mine][..., n : n + 1], y[mine][..., n : n + 1])
        alone = feed(UPDATE, alone, 24, slot[mine], *only)
        pairs = [(got, SCORES(alone))]
        pairs.append((ceilings, CEILINGS(alone.responses)))
        for ours, theirs in pairs:
            for name in theirs._fields:
                if name != "repeats_m":
                    a = getattr(ours, name).per_neuron_mn[0, n]
                    b = getattr(theirs, name).per_neuron_mn[0, 0]
                    assert float(b) != 0 and float(a) == pytest.approx(
                        float(b), abs=2e-6
                    )
    for found in (*got, *ceilings[:-1]):
        assert found.per_neuron_mn[0, 2] == 0 and int(found.undefined_m[0]) == 1
    assert 2 <= float(ceilings.repeats_m[0]) <= 6
