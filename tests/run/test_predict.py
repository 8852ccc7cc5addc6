"""`sensorium predict` writes rates of whole tiers; scores of neurons go into a csv."""

import csv
import json

import numpy as np
import pytest

import sensorium_jax as sj
from sensorium_jax.data import statistics
from sensorium_jax.errors import UserError
from sensorium_jax.run import predict, score
from sensorium_jax.scoring import predict as scoring, tables
from support.recordings import tiny
from support.twins import Guess


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tiny.films(tmp_path_factory.mktemp("films"), 2, rules="own")
    return sj.open(folder)


@pytest.fixture(scope="module")
def twin(recordings):
    return Guess(recordings)


def wanted(twin, session, row):
    """Rates [t, n] in the judges' units."""
    (p,) = scoring.predict(twin, session, [row])
    return p.rates_tn


@pytest.mark.parametrize("units", ["raw", "per_frame", "per_neuron"])
def test_rates_are_in_the_units_asked_for(recordings, twin, units, tmp_path):
    done = predict.write(twin, recordings.sessions, tmp_path / "out", units=units)
    assert done.trials == 8 and done.already == 0 and done.units == units
    for session in recordings.sessions:
        place = tmp_path / "out" / session.name
        ids = np.load(place / "unit_ids.npy")
        np.testing.assert_array_equal(ids, session.unit_ids_n)
        rows = session.trials_of("oracle")
        starts = np.load(place / "starts.npy")
        assert starts.tolist() == [[int(session.files[r]), 9] for r in rows]
        factor = np.ones(1)
        if units != "per_frame":
            factor = statistics.to_judged(session, units)
        for row in rows:
            rates_tn = np.load(place / f"{session.files[row]}.npy")
            want = wanted(twin, session, row) / factor
            np.testing.assert_allclose(rates_tn, want, rtol=1e-5)


def test_a_killed_run_goes_on_and_another_is_refused(
    recordings, twin, tmp_path, monkeypatch
):
    out, sessions = tmp_path / "out", recordings.sessions
    with monkeypatch.context() as patch:
        count, save = [], predict.atomic.save_npy

        def dies(path, array):
            if len(count) == 5:
                raise KeyboardInterrupt
            count.append(path)
            save(path, array)

        patch.setattr(predict.atomic, "save_npy", dies)
        with pytest.raises(KeyboardInterrupt):
            predict.write(twin, sessions, out, tier="all")
    with pytest.raises(UserError, match="of another model, tier"):
        predict.write(twin, sessions, out, tier="oracle")
    times = [p.stat().st_mtime_ns for p in count]
    done = predict.write(twin, sessions, out, tier="all")
    assert done.already == 5 and done.trials == 32
    assert [p.stat().st_mtime_ns for p in count] == times
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other files"):
        predict.write(twin, sessions, other)


def test_npz_holds_the_same(recordings, twin, tmp_path):
    options = {"tier": "train,oracle"}
    predict.write(twin, recordings.sessions, tmp_path / "npy", **options)
    for already in (0, 32):
        one = predict.write(
            twin, recordings.sessions, tmp_path / "npz", npz=True, **options
        )
        assert one.already == already
    for session in recordings.sessions:
        assert not (tmp_path / "npz" / session.name).exists()
        arrays = np.load(tmp_path / "npz" / f"{session.name}.npz")
        assert len(arrays.files) == 16 + 2
        for i in session.files:
            ours = np.load(tmp_path / "npy" / session.name / f"{i}.npy")
            np.testing.assert_array_equal(arrays[f"rates_{i}"], ours)


def test_units_and_tiers_that_are_not_are_refused(recordings, twin, tmp_path):
    with pytest.raises(UserError, match="units"):
        predict.write(twin, recordings.sessions, tmp_path / "a", units="spikes")
    with pytest.raises(UserError, match="orakle"):
        predict.write(twin, recordings.sessions, tmp_path / "a", tier="orakle")
    assert not (tmp_path / "a").exists()


def test_every_score_of_every_neuron(recordings, twin, tmp_path):
    report = score.report(twin, recordings.sessions, draws=2, neurons=True)
    tables.write_csv(tmp_path / "x.csv", report.neurons)
    with open(tmp_path / "x.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    units = [(s.name, str(u)) for s in recordings.sessions for u in s.unit_ids_n]
    assert [(r["mouse"], r["unit_id"]) for r in rows] == units
    scores = report.tiers["oracle"]
    for name in ("single_trial", "null"):
        values = [float(r[name]) for r in rows]
        assert np.mean(values) == pytest.approx(getattr(scores.all, name))
        median = getattr(scores.all, f"{name}_median")
        assert np.median(values) == pytest.approx(median)
    gains = [float(r["bits_per_spike"]) for r in rows]
    assert np.mean(gains) == pytest.approx(scores.bits_per_spike)
    assert {r["trials"] for r in rows} == {"4"} and {r["linear"] for r in rows} == {""}
    assert "neurons" not in json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert score.report(twin, recordings.sessions, draws=2).neurons == []
