"""Streams of predictions are summed alike, in whatever order their trials come."""

from weakref import WeakSet

import numpy as np
import pytest

from sensorium_jax.data import statistics
from sensorium_jax.errors import UserError
from sensorium_jax.metrics import explained
from sensorium_jax.rules import FILMS, RELEASES, own
from sensorium_jax.scoring import accumulate, predict, suites, tables, trials
from support.recordings.of_lengths import FIT, session

LENGTHS = (30, 34, 30, 34, 31)


class Noise:
    """Positive noise that differs from trial to trial."""

    def respond(self, video_bthwc, behavior_btk, pupil_bt2, mouse, first_frame_b=0):
        x_bt = behavior_btk[..., 0] + video_bthwc.mean((2, 3, 4))
        return np.exp(np.sin(x_bt[..., None] * (1 + np.arange(3)))).astype(np.float32)


@pytest.fixture(scope="module")
def sessions():
    rules = own(FILMS, skip=6)
    pairs = ((0, 2), (1, 3))
    names = ("first", "second")
    return [session(LENGTHS, rules=rules, name=n, same=pairs) for n in names]


@pytest.fixture(scope="module")
def plans(sessions):
    rows = np.arange(len(LENGTHS))
    return [trials.planned(s, rows) for s in sessions]


@pytest.fixture(scope="module")
def predictions(plans):
    return list(predict.stream(Noise(), plans))


def measure(stream, plans):
    return accumulate.measure(stream, plans, fit=FIT)


def correlate(x, y):
    """The official formula over all frames."""
    x, y = (np.concatenate(a).astype(np.float64) for a in (x, y))
    x, y = x - x.mean(0), y - y.mean(0)
    return (x * y).mean(0) / (x.std(0) + 1e-8) / (y.std(0) + 1e-8)


def test_mice_may_be_mixed_and_trials_in_any_order(plans, predictions):
    want = suites.report(measure(predictions, plans)).as_dict()
    order = np.random.default_rng(0).permutation(len(predictions))
    mixed = (predictions[i] for i in order)
    got = suites.report(measure(mixed, plans)).as_dict()
    assert want["to_average"] is not None and want["null"] != 0
    np.testing.assert_allclose(
        got["single_trial_interval"], want["single_trial_interval"], atol=1e-6
    )
    for name in ("single_trial", "null", "to_average", "feve", "ceiling", "poisson"):
        assert got[name] == pytest.approx(want[name], abs=1e-5), name


def test_averages_of_a_mouse_are_let_go_after_its_last_trial(
    plans, predictions, monkeypatch
):
    held, counts = WeakSet(), []

    class Watched(accumulate._MouseSums):
        def __init__(self, *given):
            super().__init__(*given)
            held.add(self)

    def watched():
        for p in predictions:
            yield p
            counts.append(len(held))

    monkeypatch.setattr(accumulate, "_MouseSums", Watched)
    measure(watched(), plans)
    assert counts[0] == 2 and counts[len(LENGTHS)] == 1


def test_stimuli_shown_once_need_no_slot(monkeypatch):
    """A tier of training films would take gigabytes of averages over one trial each."""

    def refuse(*sizes):
        raise AssertionError(f"averages of {sizes} are kept for nothing")

    monkeypatch.setattr(explained, "zero", refuse)
    rows = np.arange(len(LENGTHS))
    plan = trials.planned(session(LENGTHS), rows)
    assert trials.sizes([plan]).stimuli == 0
    (mouse,) = measure(predict.stream(Noise(), [plan]), [plan])
    scores = suites.report([mouse]).all
    assert scores.to_average is None and scores.feve is None and scores.ceiling is None
    told = list(predict.stream(Noise(), [plan]))
    want = correlate([p.rates_tn for p in told], [p.responses_tn for p in told])
    np.testing.assert_allclose(suites.part(mouse).single_n, want, atol=1e-6)


def test_slots_are_as_many_as_mice_with_repeats_need(plans):
    alone = trials.planned(session((30,) * 9, name="alone"), np.arange(9))
    assert trials.sizes([*plans, alone]).stimuli == 3
    mice = measure(predict.stream(Noise(), [*plans, alone]), [*plans, alone])
    assert [bool(m.repeats) for m in mice] == [True, True, False]


def test_frames_are_compared_that_both_sides_have(plans, predictions):
    """Files may be a frame short, as the winning ones of 2023 were."""
    short = [p._replace(rates_tn=p.rates_tn[:-1]) for p in predictions]
    mice = measure(iter(short), plans)
    for mouse in mice:
        mine = [p for p in short if p.mouse == mouse.plan.session.name]
        x, y = [p.rates_tn for p in mine], [p.responses_tn[:-1] for p in mine]
        got = suites.part(mouse).single_n
        np.testing.assert_allclose(got, correlate(x, y), atol=1e-6)


def test_streams_that_do_not_fit_the_plan_are_refused(plans, predictions):
    def refused(stream, words):
        with pytest.raises(UserError, match=words):
            measure(iter(stream), plans)

    refused(predictions[1:], "1 trials of first were not predicted")
    refused([*predictions[:2], *predictions[1:]], "Trial 1 of first was predicted tw")
    refused([predictions[0]._replace(mouse="third")], "third, of whom no further")
    refused([predictions[0]._replace(responses_tn=None)], "are hidden")


def null_by_hand(one, rows, skip):
    """Each neuron's mean response times the precision of each frame."""
    mean_n = one.statistics["responses"].mean.astype(np.float64).mean(0)
    precision_tn = statistics.precision(one)
    y = [(one.read("responses", r) * precision_tn[: LENGTHS[r]])[skip:] for r in rows]
    return correlate([(mean_n * precision_tn)[skip : skip + len(a)] for a in y], y)


def test_the_null_is_the_best_constant(sessions, plans, predictions):
    mice = measure(predictions, plans)
    want = [null_by_hand(s, range(len(LENGTHS)), 6) for s in sessions]
    for mouse, null_n in zip(mice, want, strict=True):
        np.testing.assert_allclose(suites.part(mouse).null_n, null_n, atol=1e-6)
    scores = suites.report(mice)
    assert scores.all.null == pytest.approx(np.concatenate(want).mean(), abs=1e-6)
    low, high = scores.all.null_interval
    assert low < scores.all.null < high
    for one, null_n in zip(sessions, want, strict=True):
        assert scores.mice[one.name].null == pytest.approx(null_n.mean(), abs=1e-6)
    assert tables.NO_NULL not in str(scores)


@pytest.mark.parametrize("units", ["raw", "per_neuron"])
def test_a_model_that_answers_means_scores_the_null(sessions, plans, units):
    class Constant:
        def __init__(self):
            self.units = units

        def respond(self, video_bthwc, *_, first_frame_b=0):
            one = {s.name: s for s in sessions}[_[-1]]
            mean_n = one.statistics["responses"].mean.mean(0)
            if units == "per_neuron":
                mean_n = mean_n * statistics.precision(one, units)[0]
            return np.broadcast_to(mean_n, (*video_bthwc.shape[:2], len(mean_n)))

    mice = measure(predict.stream(Constant(), plans), plans)
    scores = suites.report(mice).all
    assert scores.single_trial == pytest.approx(scores.null, abs=1e-6) != 0
    ends = scores.single_trial_interval, scores.null_interval
    np.testing.assert_allclose(*ends, atol=1e-6)
    assert scores.undefined == 0


def test_where_frames_share_a_factor_a_constant_scores_nothing():
    one = session(LENGTHS, per_frame=False)
    plan = trials.planned(one, np.arange(len(LENGTHS)))
    mice = measure(predict.stream(Noise(), [plan]), [plan])
    scores = suites.report(mice)
    assert scores.all.null == 0 and scores.all.null_interval is None
    assert tables.NO_NULL in str(scores)


def test_rules_say_which_tier_validates_and_what_is_too_short():
    rules, tiers = RELEASES["2023"], ["train", "mine", "mine"]
    one = session((45, 45, 40), rules=rules, tiers=tiers)
    with pytest.raises(UserError, match="it has mine, train.*oracle validates"):
        trials.tiers_of([one], "val")
    with pytest.raises(UserError, match="at most 45 frames.*first 50.*--rules own"):
        trials.plan([one], ["mine"])
    free = session((45, 45, 40), tiers=tiers)
    assert trials.tiers_of([free], "val") == ["mine"]
    (plan,) = trials.plan([free], ["mine"])["mine"]
    assert plan.rows.tolist() == [1, 2]
