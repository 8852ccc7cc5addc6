"""Signals on clocks of their own are found again where they belong in time."""

from dataclasses import replace

import numpy as np
import pytest

from sensorium_jax.data.formats import clocks, trials
from sensorium_jax.data.formats.foreign import Choices, Film, Foreign, Series
from sensorium_jax.data.formats.write import arrays
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.session import BEHAVIOR, PUPIL, RESPONSES
from sensorium_jax.errors import UserError
from sensorium_jax.simulation.write import simulate
from support.recordings import foreign, simulated

FPS = 30.0


def times(rng, rate, start, end, *, jitter=0.0, dropped=0):
    """Times of samples at a rate from a start, each off by up to jitter intervals."""
    t = np.arange(start, end, 1 / rate)
    t = t + rng.uniform(-jitter, jitter, len(t)) / rate
    inside = np.arange(5, len(t) - 5)
    return np.delete(t, rng.choice(inside, dropped, replace=False))


def series(name, t, values):
    values = np.asarray(values, np.float32).reshape(len(t), -1)
    width = values.shape[1]
    return Series(name, clocks.timed(t, name), width, lambda a, b: values[a:b])


def numbered(t, shown):
    """A film whose frame shows its own number in its one pixel."""
    film = np.asarray(shown, np.int32)[:, None, None, None]
    clock = clocks.timed(t, "film")
    return Film("film", clock, (1, 1, 1), film.dtype, lambda a, b: film[a:b])


def shift(x_t, wave_t, other_t):
    """How many radians a wave is late, by its parts in phase and out of phase."""
    return np.arctan2(x_t @ other_t, x_t @ wave_t)


@pytest.mark.parametrize("method", [None, *clocks.METHODS])
def test_four_rates_with_offset_jitter_and_drops_align_within_half_a_frame(method):
    rng, end, turns = np.random.default_rng(1), 62.0, 0.7
    whole = times(rng, FPS, 2.0, end, jitter=0.2)
    lost = rng.choice(np.arange(90, len(whole) - 90), 12, replace=False)
    shown = np.delete(np.arange(len(whole)), lost)
    angle = 2 * np.pi * turns
    rates = {RESPONSES: 9.7, BEHAVIOR: 103.0, PUPIL: 41.3}
    signals = {}
    for i, (what, rate) in enumerate(rates.items()):
        t = times(rng, rate, 0.3 + 0.4 * i, end + 1, jitter=0.3, dropped=9)
        signals[what] = (series(what, t, np.sin(angle * t)),)
    film = numbered(np.delete(whole, lost), shown)
    foreign_ = Foreign("x", "test", film, signals)
    choices = Choices(method=method, trial_seconds=10.0)
    plan = trials.plan(foreign_, choices)
    assert len(plan.trials) == 5 and plan.rate == pytest.approx(FPS, rel=1e-3)
    begins = [t.begin for t in plan.trials]
    inside = (whole[lost] > begins[0]) & (whole[lost] < begins[-1] + 10)
    told = f"film: {inside.sum()} gaps, about {inside.sum()} samples missing"
    assert any(note.startswith(told) for note in plan.notes), plan.notes
    late = {what: [] for what in signals}
    for trial in plan.trials:
        video, rows, _ = arrays(plan, trial, choices)
        number = video.ravel()
        # The true onset of every frame, had none been dropped.
        first = number[0]
        assert abs(2.0 + first / FPS - trial.begin) < 0.5 / FPS
        true = first + np.arange(trial.frames)
        dropped = np.isin(true, lost)
        np.testing.assert_array_equal(number[~dropped], true[~dropped])
        np.testing.assert_array_equal(number[dropped], true[dropped] - 1)
        onset = 2.0 + true / FPS
        for what, x_tn in rows.items():
            wave, other = np.sin(angle * onset), -np.cos(angle * onset)
            late[what].append(shift(x_tn[:, 0], wave, other) / angle * FPS)
    for what, frames in late.items():
        assert np.abs(frames).max() < 0.5, (what, frames)
        # Linear values and means around the onset are not late at all.
        assert method == "nearest" or np.abs(frames).max() < 0.2, (what, frames)


@pytest.fixture(scope="module")
def cortex(tmp_path_factory):
    """A mouse of the simulated cortex, its trials shown one after the other."""
    folder = tmp_path_factory.mktemp("cortex")
    simulate(folder, preset=replace(simulated.SMALL, mice=1, neurons=8))
    session = Recordings.open(folder)[0]
    rows = np.flatnonzero(session.tiers != "none")[:8]
    return {
        what: np.concatenate([session.read(what, int(r)) for r in rows])
        for what in ("videos", RESPONSES, BEHAVIOR, PUPIL)
    }


def test_a_simulated_cortex_on_four_clocks_is_found_within_half_a_frame(cortex):
    rng, count = np.random.default_rng(3), len(cortex[RESPONSES])
    onset = 5.0 + np.arange(count) / FPS

    def at(what, t):
        x_tn = cortex[what].reshape(count, -1)
        return np.stack([np.interp(t, onset, x) for x in x_tn.T], axis=1)

    rates = {RESPONSES: 71.0, BEHAVIOR: 100.0, PUPIL: 57.0}
    signals = {}
    for i, (what, rate) in enumerate(rates.items()):
        t = times(rng, rate, 4.9 - 0.1 * i, onset[-1], jitter=0.2, dropped=6)
        signals[what] = (series(what, t, at(what, t)),)
    keep = np.delete(np.arange(count), [40, 41, 200])
    seen = onset[keep] + rng.uniform(-0.2, 0.2, len(keep)) / FPS
    video = cortex["videos"][keep]
    clock = clocks.timed(seen, "film")
    shape, dtype = video.shape[1:], video.dtype
    film = Film("film", clock, shape, dtype, lambda a, b: video[a:b])
    choices = Choices(trial_seconds=4.0)
    plan = trials.plan(Foreign("x", "test", film, signals), choices)
    assert len(plan.trials) >= 4
    for trial in plan.trials:
        frames, rows, _ = arrays(plan, trial, choices)
        same = [np.flatnonzero((cortex["videos"] == f).all((1, 2, 3))) for f in frames]
        # The first frame after a trial's begin is dropped in none of them.
        first = round((trial.begin - onset[0]) * FPS)
        true = first + np.arange(trial.frames)
        shown = np.array([s[np.argmin(np.abs(s - k))] for s, k in zip(same, true)])  # noqa: B905
        assert (shown == true).mean() > 0.95 and np.abs(shown - true).max() <= 2
        for what, x_tn in rows.items():
            moves = np.arange(-1.5, 1.75, 0.25)
            error = [
                np.square(x_tn - at(what, onset[true] + move / FPS)).sum()
                for move in moves
            ]
            assert abs(moves[int(np.argmin(error))]) < 0.5, (what, trial)


def test_nan_is_bridged_and_its_length_told():
    t = np.arange(100) / 10
    x = np.stack([t, 2 * t], axis=1)
    x[20:24, 1] = np.nan
    signal = series("x", t, x)
    onset = np.arange(1, 4, 0.1)
    values, apart = clocks.at_frames(
        signal.clock, signal.read, onset, 0.1, "linear", longest=1.0
    )
    np.testing.assert_allclose(values, np.stack([onset, 2 * onset], 1), atol=1e-5)
    assert apart == pytest.approx(0.5)
    elsewhere, apart = clocks.at_frames(
        signal.clock, signal.read, onset + 4, 0.1, "linear", longest=1.0
    )
    assert apart < 0.11 and np.isfinite(elsewhere).all()


def test_means_of_empty_bins_fall_back_on_the_line_between():
    t = np.array([0.0, 0.01, 0.02, 0.5, 0.51, 0.9])
    signal = series("x", t, t)
    values, _ = clocks.at_frames(
        signal.clock, signal.read, np.array([0.01, 0.25, 0.505]), 0.1, "mean", longest=1
    )
    np.testing.assert_allclose(values[:, 0], [0.01, 0.25, 0.505], atol=1e-6)


def test_spikes_are_counted_around_onsets():
    spikes = np.array([0.96, 1.01, 1.04, 1.06, 0.2, 1.0])
    counts = clocks.counts(spikes, np.array([4, 6]), np.array([1.0, 1.1]), 0.1)
    np.testing.assert_array_equal(counts, [[3, 1], [1, 0]])


def test_signals_with_delays_of_their_own():
    t, delay = np.arange(200) / 20, np.array([0.0, 0.02, 0.049])
    x = np.sin(t[:, None] + delay)  # measured later than their sample's time
    clock = clocks.steady(200, 20.0, name="x")
    onset = np.arange(2, 6, 0.1)
    values, _ = clocks.at_frames(
        *(clock, lambda a, b: x[a:b], onset, 0.1, "linear"), longest=1, delay_n=delay
    )
    expected = np.sin(onset)[:, None].repeat(3, 1)
    np.testing.assert_allclose(values, expected, atol=1e-3)


def test_clocks_steady_and_timed_agree():
    t = 3 + np.arange(50) / 7
    steady, timed = clocks.steady(50, 7.0, 3.0, name="x"), clocks.timed(t, "x")
    ask = np.linspace(2, 11, 200)
    np.testing.assert_array_equal(steady.before(ask), timed.before(ask))
    assert steady.span == pytest.approx(timed.span) and timed.rate == pytest.approx(7)
    np.testing.assert_array_equal(steady.before(t), np.arange(50))


@pytest.mark.parametrize(
    "bad, words",
    [
        (np.array([0, 1, 0.5]), "go back from 1 to 0.5 s at sample 2"),
        (np.array([0, np.nan, 1]), "1 of the 3 times of x are NaN"),
        (np.array([]), "has no samples"),
        (np.zeros((3, 2)), "one number per sample"),
        (np.array(["a", "b"]), "one number per sample"),
        (np.ones(4), "All 4 times of x are 1 s"),
    ],
)
def test_times_that_cannot_be(bad, words):
    with pytest.raises(UserError, match=words):
        clocks.timed(bad, "x")


def test_trials_one_frame_off_take_the_common_length():
    many = np.array([300.0] * 5 + [299.0, 301.0, 240.0])
    assert trials.usual_frames(many).tolist() == [300] * 7 + [240]


def test_pictures_take_the_mean_of_a_window(tmp_path):
    rec = foreign.recorded()
    path = foreign.described(tmp_path / "y", rec)
    foreign.bring(
        path, tmp_path / "out", pictures=True, window=(0.1, 1.1), pupil="none"
    )
    session = foreign.opened(tmp_path / "out", "fish")
    assert session.rules.kind == "pictures" and session.trials == foreign.TRIALS
    fine = np.linspace(0.1, 1.1, 500)
    for row, start in enumerate(rec.starts):
        expected = foreign.activity(start + fine).mean(0)
        # Seven samples stand for a second.
        np.testing.assert_allclose(session.read(RESPONSES, row)[0], expected, atol=0.2)
        first = rec.film_thw[row * 20]
        np.testing.assert_array_equal(session.read("videos", row)[0, ..., 0], first)
    assert set(session.tiers) == {"train", "validation"}
