"""The judges' numbers, against formulas written out in numpy."""

import json

import numpy as np
import pandas as pd
import pytest

import sensorium_jax as sj
from sensorium_jax.cli import main
from sensorium_jax.data import statistics
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.errors import UserError
from sensorium_jax.run.evaluate import verdicts
from sensorium_jax.run.score import report
from sensorium_jax.run.submit import predict_and_write as submit
from sensorium_jax.submission import csv2022
from support import twins
from support.recordings import labelled

LIVE = "predictions_live_main.parquet.brotli"
PICTURES = "submission_file_live_test.csv"


def evaluate(*given, **options):
    """A verdict for every table of a file."""
    return list(verdicts(*given, **options))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return labelled.films(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def written(recordings, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    submit(twins.Guess(recordings), recordings.sessions, out)
    return out


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    return labelled.pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def drawn(still, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    submit(twins.Guess(still, lost=0), still.sessions, out, track="sensorium")
    return out


def test_from_the_door_as_from_the_command(recordings, written):
    (verdict,) = sj.evaluate(written / LIVE, recordings, draws=20)
    assert verdict.tier == "live_test_main" and not verdict.missing
    assert verdict.scores.all.trials > 0 and "live_test_main" in str(verdict)
    looked = sj.validate(written / LIVE, recordings)
    assert looked.accepted and str(looked).startswith("accepted: 0 errors")


def corr(a_tn, b_tn):
    a, b = (
        (x - x.mean(0)) / (x.std(0) + 1e-8)
        for x in (a_tn.astype(float), b_tn.astype(float))
    )
    return (a * b).mean(0)


def pairs(frame, session):
    """Film, prediction [t, n] and normalized responses [t, n] of every row."""
    rows = {int(f): i for i, f in enumerate(session.files)}
    for _, line in frame[frame.mouse == session.name].iterrows():
        row = rows[line.trial_indices]
        x_tn = np.stack(line.prediction).T
        y_tn = session.read("responses", row)
        y_tn = (y_tn * statistics.precision(session)[: len(y_tn)])[50:]
        yield session.read("videos", row).tobytes(), x_tn, y_tn[: len(x_tn)]


def by_hand(frame, sessions):
    """Per mouse: single-trial and to-average correlation of every neuron."""
    single, average = [], []
    for session in sessions:
        found = list(pairs(frame, session))
        x, y = (np.concatenate([f[i] for f in found]) for i in (1, 2))
        single.append(corr(x, y))
        films = {}
        for film, *both in found:
            films.setdefault(film, []).append(both)
        x, y = (
            np.concatenate([np.mean([r[i] for r in rs], 0) for rs in films.values()])
            for i in (0, 1)
        )
        average.append(corr(x, y))
    return single, average


def same(verdict, frame, sessions):
    single, average = by_hand(frame, sessions)
    want = {
        "single_trial": np.concatenate(single).mean(),
        "single_trial_over_mice": np.mean([s.mean() for s in single]),
        "to_average": np.concatenate(average).mean(),
        "to_average_over_mice": np.mean([a.mean() for a in average]),
    }
    for name, value in want.items():
        found = getattr(verdict.scores.all, name)
        assert found == pytest.approx(value, abs=1e-6), name
    for s, x, y in zip(sessions, single, average, strict=True):
        mouse = verdict.scores.mice[s.name]
        assert mouse.single_trial == pytest.approx(x.mean(), abs=1e-6)
        assert mouse.to_average == pytest.approx(y.mean(), abs=1e-6)


def close(found, want):
    for name in ("single_trial", "to_average"):
        value = getattr(want.scores.all, name)
        assert getattr(found.scores.all, name) == pytest.approx(value, abs=1e-7)


def test_films_score_as_by_hand(written, recordings):
    live, final = evaluate(written / "predictions_main.zip", recordings.sessions)
    assert (live.tier, final.tier) == ("live_test_main", "final_test_main")
    scores = live.scores.all
    assert scores.single_trial != pytest.approx(scores.to_average, abs=1e-3)
    same(live, pd.read_parquet(written / LIVE), recordings.sessions)
    name = "predictions_final_main.parquet.brotli"
    same(final, pd.read_parquet(written / name), recordings.sessions)
    assert scores.undefined == 0
    assert [m["stimuli"] for m in live.as_dict()["mice"].values()] == [2, 2]


def test_a_file_has_every_number_that_its_model_has(written, recordings):
    """Intervals, types, null and ceilings of a file are those that `score` prints."""
    (found,) = evaluate(written / LIVE, recordings.sessions)
    mice = report(twins.Guess(recordings), recordings.sessions, tier=found.tier)
    want, got = mice.tiers[found.tier].as_dict(), found.scores.as_dict()
    assert want["null"] != 0 and want["ceiling_from"] == "repeats"

    def same_numbers(a, b):
        if isinstance(a, dict):
            assert a.keys() == b.keys()
            for key in a:
                same_numbers(a[key], b[key])
        elif isinstance(a, list):
            for x, y in zip(a, b, strict=True):
                same_numbers(x, y)
        else:
            assert a == b or a == pytest.approx(b, abs=1e-6)

    same_numbers(want, got)


def test_order_of_rows_and_neurons_does_not_matter(written, recordings, tmp_path):
    frame = pd.read_parquet(written / LIVE)
    (want,) = evaluate(written / LIVE, recordings.sessions)
    orders = [np.random.default_rng(i).permutation(40) for i in range(len(frame))]
    frame["prediction"] = [
        np.stack(p)[o[o < len(p)]].tolist()
        for p, o in zip(frame.prediction, orders, strict=True)
    ]
    frame["neuron_ids"] = [
        i[o[o < len(i)]] for i, o in zip(frame.neuron_ids, orders, strict=True)
    ]
    frame["trial_indices"] = [f"{i}.npy" for i in frame.trial_indices]
    mixed = frame.sample(frac=1, random_state=0)
    (found,) = evaluate(labelled.save(mixed, tmp_path / LIVE), recordings.sessions)
    assert found.scores.all.single_trial == pytest.approx(
        want.scores.all.single_trial, abs=1e-7
    )
    assert found.scores.all.to_average == pytest.approx(
        want.scores.all.to_average, abs=1e-7
    )


def test_a_missing_last_frame_is_not_compared(written, recordings, tmp_path):
    frame = pd.read_parquet(written / LIVE)
    frame["prediction"] = [np.stack(p)[:, :-1].tolist() for p in frame.prediction]
    path = labelled.save(frame, tmp_path / LIVE)
    (found,) = evaluate(path, recordings.sessions)
    same(found, pd.read_parquet(path), recordings.sessions)


def test_undefined_neurons_score_nothing_and_are_told(written, recordings, tmp_path):
    frame = pd.read_parquet(written / LIVE)
    (want,) = evaluate(written / LIVE, recordings.sessions)

    def spoil(p):
        x = np.stack(p)
        x[3], x[5, 1] = 1.0, np.nan
        return x.tolist()

    frame["prediction"] = [spoil(p) for p in frame.prediction]
    (found,) = evaluate(labelled.save(frame, tmp_path / LIVE), recordings.sessions)
    assert found.scores.all.undefined == 4
    single, _ = by_hand(pd.read_parquet(written / LIVE), recordings.sessions)
    lost = sum(s[3] + s[5] for s in single) / sum(labelled.NEURONS)
    assert found.scores.all.single_trial == pytest.approx(
        want.scores.all.single_trial - lost, abs=1e-6
    )


def test_labels_from_elsewhere(written, recordings, tmp_path):
    """Hidden recordings are refused, but not beside labelled ones or a table."""
    hidden = labelled.films(tmp_path, hide=("live_test_main",))
    (want,) = evaluate(written / LIVE, recordings.sessions)
    with pytest.raises(UserError, match="hidden .* --ground-truth"):
        evaluate(written / LIVE, hidden.sessions)
    (found,) = evaluate(written / LIVE, hidden.sessions, truth=recordings.sessions)
    assert found.scores.all.single_trial == want.scores.all.single_trial
    frame = pd.read_parquet(written / LIVE)
    responses = {
        (s.name, k): y.T.tolist()
        for s in recordings.sessions
        for k, (_, _, y) in zip(
            frame[frame.mouse == s.name].trial_indices, pairs(frame, s), strict=True
        )
    }
    keys = zip(frame.mouse, frame.trial_indices, strict=True)
    truth = frame.drop(columns="prediction")
    truth["responses"] = [responses[key] for key in keys]
    path = labelled.save(truth[::-1], tmp_path / "truth.parquet")
    (found,) = evaluate(written / LIVE, hidden.sessions, truth=path)
    assert found.scores.all.single_trial == pytest.approx(
        want.scores.all.single_trial, abs=1e-7
    )
    assert found.scores.all.to_average == pytest.approx(
        want.scores.all.to_average, abs=1e-7
    )


def test_one_hidden_mouse_is_left_out_and_named(written, recordings, tmp_path):
    hidden = labelled.films(tmp_path, hide=("live_test_main",))
    partly = (recordings[0], hidden[1])
    (found,) = evaluate(written / LIVE, partly)
    assert found.hidden == [hidden.names[1]]
    (mouse,) = found.scores.mice.items()
    assert mouse == (recordings.names[0], found.scores.all)


def test_files_that_cannot_be_scored(written, recordings, tmp_path):
    frame = pd.read_parquet(written / LIVE)

    def refused(spoiled, words):
        path = labelled.save(spoiled, tmp_path / LIVE)
        with pytest.raises(UserError, match=words):
            evaluate(path, recordings.sessions)

    frame["prediction"] = [np.stack(p).tolist() for p in frame.prediction]
    refused(frame.iloc[1:], "lacks 1 of 6 trials")
    refused(pd.concat([frame, frame.iloc[:1]]), "repeats 1 of 6 trials")
    refused(frame.assign(mouse="someone"), "holds no trial of the recordings")
    strange = frame.assign(mouse=["someone", *frame.mouse[1:]])
    refused(strange, "someone; the recordings are of")
    refused(frame.drop(columns="mouse"), "missing column 'mouse'")
    wide = frame.copy()
    wide["prediction"] = [[[0.5] * 90 for _ in p] for p in wide.prediction]
    refused(wide, "Drop the first 50")
    other = frame.copy()
    other["neuron_ids"] = [np.arange(len(i)) for i in other.neuron_ids]
    refused(other, "neuron_ids are not those")


def pictures_by_hand(path, session):
    frame = pd.read_csv(path)
    x_tn = np.array([json.loads(p) for p in frame.prediction])
    rows = frame.trial_indices.to_numpy()
    y_tn = np.concatenate([session.read("responses", int(r)) for r in rows])
    y_tn = y_tn * statistics.precision(session)
    groups = [np.flatnonzero(frame.image_ids == i) for i in frame.image_ids.unique()]
    means = [np.array([z[g].mean(0) for g in groups]) for z in (x_tn, y_tn)]
    noise = np.mean([y_tn[g].var(0, ddof=1) for g in groups], 0)
    total, error = y_tn.var(0, ddof=1), ((y_tn - x_tn) ** 2).mean(0)
    keep = (total - noise) / total >= 0.15
    feve = (1 - (error - noise) / (total - noise))[keep]
    return corr(x_tn, y_tn).mean(), corr(*means).mean(), feve.mean()


def test_pictures_score_as_by_hand(drawn, still):
    (found,) = evaluate(drawn / PICTURES, still.sessions)
    want = pictures_by_hand(drawn / PICTURES, still[0])
    a = found.scores.all
    numbers = (a.single_trial, a.to_average, a.feve)
    assert numbers == pytest.approx(want, rel=3e-6, abs=1e-6)


def test_pictures_against_a_ground_truth_file(drawn, still, tmp_path):
    (want,) = evaluate(drawn / PICTURES, still.sessions)
    session, path = still[0], tmp_path / "ground_truth_file_test.csv"
    rows = session.trials_of("test")[::-1]
    truth = (
        csv2022.PictureAnswer(
            session.columns["trial_idx"][row],
            session.columns["frame_image_id"][row],
            (session.read("responses", int(row)) * statistics.precision(session))[0],
            session.unit_ids_n,
        )
        for row in rows
    )
    csv2022.write(path, truth, truth=True)
    (found,) = evaluate(drawn / PICTURES, still.sessions, truth=path)
    for name in ("single_trial", "to_average", "feve"):
        value = getattr(want.scores.all, name)
        assert getattr(found.scores.all, name) == pytest.approx(value, abs=1e-6)


def test_leaderboard(written, recordings, tmp_path, capsys):
    class Worse(twins.Guess):
        def respond(self, *inputs, **where):
            rates = super().respond(*inputs, **where)
            rng = np.random.default_rng(0)
            return rates * rng.gamma(1, size=rates.shape)

    weak = tmp_path / "weak"
    submit(Worse(recordings), recordings.sessions, weak)
    out = tmp_path / "board.csv"
    files = [str(weak / LIVE), str(written / LIVE)]
    (better,) = evaluate(files[1], recordings.sessions)
    (worse,) = evaluate(files[0], recordings.sessions)
    ranked = sorted(
        [(better, files[1]), (worse, files[0])],
        key=lambda v: -v[0].scores.all.single_trial,
    )
    flags = ["--data", recordings.path, "--csv", str(out)]
    assert main(["evaluate", *files, *flags]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("rank  file")
    assert [line.split()[1] for line in lines[1:3]] == [f for _, f in ranked]
    board = pd.read_csv(out)
    assert board["rank"].tolist() == [1, 2]
    best = [v.scores.all.single_trial for v, _ in ranked]
    assert board.single_trial.tolist() == best
    assert board.null.tolist() == [v.scores.all.null for v, _ in ranked]
    assert main(["evaluate", "--json", files[1], *flags]) == 0
    found = json.loads(capsys.readouterr().out)["files"][0]
    assert found["single_trial"] == better.scores.all.single_trial
    assert {"null", "ceiling", "stimuli", "depths"} <= set(found)
    assert list(found["mice"]) == list(recordings.names)


def test_a_tier_that_repeats_nothing_has_no_average(recordings, tmp_path):
    done = submit(
        twins.Guess(recordings), recordings.sessions, tmp_path, tiers=("train",)
    )
    (found,) = evaluate(done.tables["train"], Recordings.open(recordings.path).sessions)
    assert found.scores.all.to_average is None and found.tier == "train"
