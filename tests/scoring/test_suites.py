"""Suites: the numbers of a tier equal plain numpy; true rates reach their ceiling."""

import numpy as np
import pytest

from sensorium_jax.cli import main
from sensorium_jax.data import statistics
from sensorium_jax.errors import UserError
from sensorium_jax.metrics import bits
from sensorium_jax.run.score import measure_tiers
from sensorium_jax.scoring import (
    accumulate,
    kinds,
    paired,
    predict,
    resample,
    suites,
    trials as plan,
)
from support.recordings.simulated import tree, true_rates
from support.twins import Told

DRAWS = 50


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return tree(tmp_path_factory.mktemp("suites"))


@pytest.fixture(scope="module")
def planned(recordings):
    tiers = plan.tiers_of(recordings.sessions, "all")
    return plan.plan(recordings.sessions, tiers, stimuli="truth")


def noisy(session, row):
    r = np.random.default_rng([session.files[row], session.neurons])
    rates_tn = true_rates(session, row)
    return rates_tn + r.gamma(1.0, rates_tn.std(), rates_tn.shape)


@pytest.fixture(scope="module")
def measured(recordings, planned):
    def every(rates):
        return measure_tiers(Told(recordings, rates), planned, truth=true_rates)

    return {"true": every(true_rates), "noisy": every(noisy)}


def report(mice):
    return suites.report(mice, draws=DRAWS)


def scored(session, rows, rates):
    """Predictions and responses [frames of all trials, n], normalized."""
    precision_tn, x, y = statistics.precision(session), [], []
    for row in rows:
        x_tn, y_tn = rates(session, row), session.read("responses", row)
        x.append((x_tn * precision_tn[: len(x_tn)])[50:])
        y.append((y_tn * precision_tn[: len(y_tn)])[50:])
    return x, y


def correlate(x, y):
    """The official formula over all frames, NaN to 0."""
    x, y = (np.concatenate(a).astype(np.float64) for a in (x, y))
    x, y = x - x.mean(0), y - y.mean(0)
    return (x * y).mean(0) / (x.std(0) + 1e-8) / (y.std(0) + 1e-8)


def test_every_labelled_tier_is_planned(planned):
    wanted = {"oracle", "live_test_main", "final_test_main"}
    assert wanted | {"live_test_bonus", "final_test_bonus"} == set(planned)


@pytest.mark.parametrize("tier", ["oracle", "final_test_bonus"])
def test_single_trial_correlation_equals_numpy(measured, tier):
    mice = measured["noisy"][tier]
    found = report(mice)
    each = []
    for mouse in mice:
        s, rows = mouse.plan.session, mouse.plan.rows
        each.append(correlate(*scored(s, rows, noisy)))
        got = suites.part(mouse).single_n
        np.testing.assert_allclose(got, each[-1], atol=2e-5)
        for kind in set(mouse.plan.kinds):
            slots = [i for i, k in enumerate(mouse.plan.kinds) if k == kind]
            some = rows[np.isin(mouse.plan.stimulus_b, slots)]
            want = correlate(*scored(s, some, noisy))
            np.testing.assert_allclose(
                suites.part(mouse, kind).single_n, want, atol=2e-5
            )
    np.testing.assert_allclose(
        found.all.single_trial, np.concatenate(each).mean(), atol=2e-5
    )
    want = np.mean([e.mean() for e in each])
    np.testing.assert_allclose(found.all.single_trial_over_mice, want, atol=2e-5)
    assert found.all.trials == sum(len(m.plan.rows) for m in mice)


def test_correlation_to_average_equals_numpy(measured):
    mouse = measured["noisy"]["oracle"][0]
    p = mouse.plan
    x, y = scored(p.session, p.rows, noisy)
    means = [
        [np.mean([a[b] for b in np.flatnonzero(p.stimulus_b == s)], 0) for s in (0, 1)]
        for a in (x, y)
    ]
    np.testing.assert_allclose(
        suites.part(mouse).to_average_n, correlate(*means), atol=2e-5
    )


def test_true_rates_reach_the_ceiling_and_no_more(measured):
    for tier in ("oracle", "live_test_bonus"):
        found = report(measured["true"][tier]).all
        assert found.ceiling_from == "truth"
        assert abs(found.fraction_of_ceiling - 1) < 1e-4
        assert abs(found.single_trial - found.ceiling) < 1e-4
        worse = report(measured["noisy"][tier]).all
        assert worse.ceiling == pytest.approx(found.ceiling, abs=1e-6)
        low, high = worse.fraction_of_ceiling_interval
        assert 0 < low < worse.fraction_of_ceiling < 0.9 and low < high


def test_the_ceiling_is_the_correlation_of_true_rates(measured):
    for mouse in measured["noisy"]["oracle"]:
        p = mouse.plan
        want = correlate(*scored(p.session, p.rows, true_rates))
        np.testing.assert_allclose(suites.part(mouse).ceiling_n, want, atol=2e-5)


def test_estimated_ceilings_stand_in_for_unknown_truth(recordings, planned):
    twin, plans = Told(recordings, true_rates), planned["oracle"]
    stream = predict.stream(twin, plans, batch=3)
    mice = accumulate.measure(stream, plans, fit=plan.sizes(planned))
    found = report(mice).all
    assert found.ceiling_from == "repeats"
    assert found.ceiling == found.ceiling_from_repeats > 0


def test_a_silent_neuron_takes_the_mean_but_not_the_median(measured):
    part = suites.part(measured["noisy"]["final_test_bonus"][0])
    part = part._replace(feve_n=np.array([0.4, 0.5, -1e9]))
    found = suites.summary([part])
    assert found.feve_median == 0.4 and found.feve < -1e8
    assert suites.summary([part._replace(feve_n=None)]).feve_median is None


def test_report_holds_mice_stimuli_depths(measured, recordings):
    found = report(measured["noisy"]["final_test_bonus"])
    assert set(found.mice) == set(recordings.names)
    shown = {k for m in measured["noisy"]["final_test_bonus"] for k in m.plan.kinds}
    assert set(found.stimuli) == shown and "natural_movie" not in shown
    assert sum(d.neurons for d in found.depths) == found.all.neurons
    low, high = found.all.single_trial_interval
    assert low <= found.all.single_trial <= high
    assert np.isfinite([found.poisson, found.bits_per_spike]).all()
    assert np.isfinite([found.all.feve_median, found.bits_per_spike_median]).all()


def test_paired_comparison_finds_the_better_model(measured):
    a, b = (measured[k]["oracle"] for k in ("true", "noisy"))
    found = paired.compare(a, b)
    assert found.difference > 0 and found.difference_interval[0] > 0
    assert found.p < 0.05 and found.neurons_better > 0.9
    same = paired.compare(b, b)
    assert same.difference == 0 and same.p == 1
    back = paired.compare(b, a)
    assert back.difference == pytest.approx(-found.difference)


def test_resampled_intervals_shrink_with_trials():
    r = np.random.default_rng(0)

    def width(trials):
        state = []
        for _ in range(trials):
            x = r.standard_normal((20, 3))
            y = 0.5 * x + r.standard_normal((20, 3))
            dx, dy = x - x.mean(0), y - y.mean(0)
            sums = ((dx**2).sum(0), (dy**2).sum(0), (dx * dy).sum(0))
            one = (x.mean(0), y.mean(0), *sums)
            state.append(resample.Moments(np.array([20.0]), *(a[None] for a in one)))
        joined = resample.Moments.join(state)
        weights = resample.resamples(trials, 200, (0,))
        low, high = resample.interval(resample.correlations(joined, weights).mean(1))
        assert low < 0.45 < high
        return high - low

    assert width(160) < 0.6 * width(20)


def test_a_neuron_without_spread_scores_zero_and_is_counted(recordings, planned):
    def silent(session, row):
        return true_rates(session, row) * (np.arange(session.neurons) != 3)

    plans, fit = planned["oracle"], plan.sizes(planned)
    stream = predict.stream(Told(recordings, silent), plans)
    mice = accumulate.measure(stream, plans, fit=fit)
    found = report(mice)
    assert found.all.undefined == 2
    assert all(suites.part(m).single_n[3] == 0 for m in mice)


def test_types_from_a_file(recordings, tmp_path):
    session = recordings[0]
    rows = session.trials_of("live_test_bonus")
    shown = kinds.shown(session, rows)
    path = tmp_path / "types.csv"
    lines = ["mouse,trial,stimulus", *(f",{session.files[r]},my type" for r in rows)]
    path.write_text("\n".join(lines))
    found = kinds.kinds(session, rows, shown, str(path))
    assert found == ["my type"] * len(found)
    path.write_text("\n".join(lines[:1]) + "\nelsewhere,1,x")
    with pytest.raises(UserError, match="Add a line"):
        kinds.kinds(session, rows, shown, str(path))
    path.write_text("a,b\n1,2")
    with pytest.raises(UserError, match="expected mouse, trial, stimulus"):
        kinds.kinds(session, rows, shown, str(path))


def test_the_classifier_agrees_with_the_simulation(recordings):
    session = recordings[0]
    rows = session.trials_of("oracle")
    shown = kinds.shown(session, rows)
    for source in ("classifier", "truth"):
        assert set(kinds.kinds(session, rows, shown, source)) == {"natural_movie"}


def test_hidden_and_unknown_tiers_are_named(tmp_path, recordings):
    hidden = tree(tmp_path / "hidden", hide_tests=True)
    with pytest.raises(UserError, match="responses are hidden"):
        plan.plan(hidden.sessions, ["live_test_main"])
    assert plan.tiers_of(hidden.sessions, "all") == ["oracle"]
    with pytest.raises(UserError, match="Did you mean 'oracle'"):
        plan.plan(hidden.sessions, ["orcale"])


def test_one_program_serves_all_mice_and_tiers(recordings, planned, monkeypatch):
    traces, update = [], bits.update

    def counted(*given):
        traces.append(None)
        return update(*given)

    monkeypatch.setattr(bits, "update", counted)
    accumulate._add.clear_cache()
    measure_tiers(Told(recordings, true_rates), planned)
    assert len(traces) == 1


def test_bad_requests_of_the_command(tmp_path, capsys, recordings):
    assert main(["score", "--data", recordings.path]) == 2
    assert "--workdir" in capsys.readouterr().err
    assert main(["score", "--data", recordings.path, "--workdir", "/nowhere/x"]) == 1
    assert "No checkpoint" in capsys.readouterr().err
