"""Tables of films: as the official writer's, streamed, whole or not there at all."""

import json
import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from sensorium_jax.cli import main
from sensorium_jax.data import statistics
from sensorium_jax.errors import UserError
from sensorium_jax.run.evaluate import verdicts
from sensorium_jax.run.score import report
from sensorium_jax.run.submit import predict_and_write as submit
from sensorium_jax.scoring.predict import Inputs, predict
from sensorium_jax.submission import parquet2023
from sensorium_jax.submission.expected import file_name, tier_of
from sensorium_jax.submission.lint import validate
from support import twins
from support.recordings import labelled, of_lengths

SERVER = {
    "main": ["predictions_live_main", "predictions_final_main"],
    "bonus": ["predictions_live_test_bonus_ood", "predictions_final_test_bonus_ood"],
}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return labelled.films(tmp_path_factory.mktemp("films"))


def test_main_track_is_one_flat_zip_of_the_servers_names(recordings, tmp_path):
    names = [f"{n}.parquet.brotli" for n in SERVER["main"]]
    for name in (names[0], "predictions_main.zip"):  # of a submission that was killed
        (tmp_path / f".{tmp_path.name}-{name}.77").touch()
    done = submit(twins.Guess(recordings), recordings.sessions, tmp_path)
    assert [p.name for p in done.uploads] == ["predictions_main.zip"]
    with zipfile.ZipFile(done.uploads[0]) as archive:
        assert archive.namelist() == names
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        [*names, "predictions_main.zip"]
    )
    assert done.trials == 2 * (6 + 4)


def test_bonus_track_is_a_zip_per_upload(recordings, tmp_path):
    guess = twins.Guess(recordings)
    done = submit(guess, recordings.sessions, tmp_path, track="bonus")
    assert [p.name for p in done.uploads] == [f"{n}.zip" for n in SERVER["bonus"]]
    for path, name in zip(done.uploads, SERVER["bonus"], strict=True):
        with zipfile.ZipFile(path) as archive:
            assert archive.namelist() == [f"{name}.parquet.brotli"]


def test_names_of_the_starter_kit_and_back():
    kit = file_name("bonus", "live_test_bonus", "kit")
    assert kit == "predictions_file_live_test_bonus_ood_track.parquet.brotli"
    kit = file_name("main", "final_test_main", "kit")
    assert kit == "predictions_file_final_test_main_main_track.parquet.brotli"
    assert tier_of(f"somewhere/{kit}") == "final_test_main"
    assert tier_of(file_name("sensorium", "test")) == "test"
    assert tier_of(file_name("main", "oracle")) == "oracle"
    assert tier_of("mine.parquet") is None


@pytest.mark.parametrize("single", [False, True])
def test_pandas_reads_what_the_official_writer_gives(recordings, tmp_path, single):
    session = recordings[0]
    rows = session.trials_of("oracle")
    made = [
        parquet2023.FilmAnswer(
            session.name, int(session.files[p.trial]), p.rates_tn.T, session.unit_ids_n
        )
        for p in predict(twins.Guess(recordings), session, rows)
    ]
    ours = tmp_path / "ours.parquet.brotli"
    assert parquet2023.write(ours, iter(made), tier="oracle", single=single) == 4
    theirs = labelled.save(labelled.table(made), tmp_path / "theirs.parquet.brotli")
    a, b = pd.read_parquet(ours), pd.read_parquet(theirs)
    assert list(a.columns) == list(b.columns)
    assert (a.dtypes == b.dtypes).all()
    assert a.mouse.equals(b.mouse) and a.trial_indices.equals(b.trial_indices)
    for x, y in zip(a.prediction, b.prediction, strict=True):
        assert len(x) == len(y) == session.neurons
        assert x[0].dtype == (np.float32 if single else y[0].dtype)
        np.testing.assert_array_equal(np.stack(x), np.stack(y))
    for x, y in zip(a.neuron_ids, b.neuron_ids, strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)
    if not single:
        schemas = [pq.ParquetFile(p).schema for p in (ours, theirs)]
        assert schemas[0].equals(schemas[1])
    notes = pq.read_schema(ours).metadata
    assert b"normalized" in notes[b"sensorium.units"]
    assert notes[b"sensorium.tier"] == b"oracle"


def test_first_fifty_frames_are_left_out_wherever_the_model_begins(recordings):
    session = recordings[1]
    rows = session.trials_of("oracle")
    early, late = (
        [p.rates_tn for p in predict(twins.Guess(recordings, lost=n), session, rows)]
        for n in (0, 50)
    )
    lengths = [session.reader.length(int(r)) - 50 for r in rows]
    assert [x.shape for x in early] == [(t, session.neurons) for t in lengths]
    assert sorted(set(lengths)) == [12, 20]
    for x, y in zip(early, late, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6)
    with pytest.raises(UserError, match="from frame 51 on"):
        list(predict(twins.Guess(recordings, lost=51), session, rows))


def test_files_of_own_recordings_hold_what_their_rules_score(tmp_path):
    class Mean:
        def __init__(self, lost):
            self.lost = lost

        def respond(self, video_bthwc, *_, first_frame_b=0):
            x_bt = np.abs(video_bthwc.mean((2, 3, 4)))[:, self.lost :]
            return np.repeat(x_bt[..., None], 3, -1)

    (one,) = sessions = [of_lengths.session((30, 34))]
    with pytest.raises(UserError, match="begins at frame 9; .* every frame from 0 on"):
        submit(Mean(9), sessions, tmp_path, tiers=("test",))
    done = submit(Mean(0), sessions, tmp_path, tiers=("test",))
    path = done.tables["test"]
    rows = list(parquet2023.rows(parquet2023.table(path)))
    assert [row.prediction_nt.shape for row in rows] == [(3, 30), (3, 34)]
    assert pq.read_schema(path).metadata[b"sensorium.first_frame"] == b"0"
    assert validate(path, sessions).accepted
    (verdict,) = verdicts(path, sessions)
    want = report(Mean(0), sessions, tier="test").tiers["test"].all
    assert verdict.scores.all.single_trial == pytest.approx(want.single_trial, abs=1e-6)
    assert verdict.scores.all.trials == len(one.tiers)


def test_raw_answers_are_brought_to_normalized_units(recordings):
    session = recordings[0]
    rows = session.trials_of("oracle")[:2]
    raw = twins.Guess(recordings, raw_units=True)
    precision_tn = statistics.precision(session)
    assert len(precision_tn) > 1
    plain = predict(raw, session, rows)
    for x, y in zip(plain, predict(raw, session, rows, units="raw"), strict=True):
        frames = slice(50, 50 + len(x.rates_tn))
        want = x.rates_tn * precision_tn[frames]
        np.testing.assert_allclose(want, y.rates_tn, rtol=1e-5)


@pytest.mark.parametrize("units", ["raw", "per_neuron"])
def test_a_twin_that_names_its_units_is_believed(recordings, units):
    session = recordings[0]
    rows = session.trials_of("oracle")[:2]
    twin = twins.Guess(recordings, raw_units=True)
    as_judged = list(predict(twin, session, rows, units="per_frame"))
    twin.units = units
    factor_tn = statistics.precision(session)
    if units == "per_neuron":
        factor_tn = factor_tn / statistics.precision(session, "per_neuron")
    assert np.ptp(factor_tn, 0).min() > 0.01  # the frames differ
    for x, y in zip(as_judged, predict(twin, session, rows), strict=True):
        frames = slice(50, 50 + len(x.rates_tn))
        want = x.rates_tn * factor_tn[frames]
        np.testing.assert_allclose(want, y.rates_tn, rtol=1e-5)
    with pytest.raises(UserError, match="per_trial"):
        list(predict(twin, session, rows, units="per_trial"))


def test_inputs_are_normalized_for_twins_that_want_it(recordings):
    session = recordings[0]
    row = int(session.trials_of("train")[0])
    twin = twins.Guess(recordings)
    raw = Inputs.of(twin, session).read(row)
    twin.raw = ()
    scaled = Inputs.of(twin, session).read(row)
    video = statistics.video_stats([session])
    want = (raw[0] - video.mean_mthwc[0]) / video.std_mthwc[0]
    np.testing.assert_allclose(scaled[0], want, rtol=1e-5)
    std_tk = statistics.row_stats(session, "behavior").std_tk[: len(raw[1])]
    np.testing.assert_allclose(scaled[1], raw[1] / std_tk, rtol=1e-5)


def test_a_model_of_nan_writes_nothing(recordings, tmp_path):
    class Broken(twins.Guess):
        def respond(self, *inputs, **where):
            return super().respond(*inputs, **where) * np.nan

    with pytest.raises(UserError, match="NaN or infinity"):
        submit(Broken(recordings), recordings.sessions, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [7, "7", "7.npy"])
def test_trials_by_number_or_by_file(value):
    assert parquet2023.trial_key(value) == 7


def test_odd_trials_stay_what_they_are():
    assert parquet2023.trial_key("seven.npy") == "seven.npy"


def test_command_writes_files_that_it_finds_sound(
    recordings, tmp_path, monkeypatch, capsys
):
    asked = []

    def load(source, step=None):
        asked.append(source)
        return twins.Guess(recordings)

    monkeypatch.setattr("sensorium_jax.zoo.load.load", load)
    flags = ["--data", recordings.path, "--out", str(tmp_path), "--names", "kit"]
    words = ["submit", "--json", "--track", "bonus", "--workdir", "my-run", *flags]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert asked == ["my-run"]
    assert found["accepted"] and found["trials"] == 8 and "normalized" in found["units"]
    kit = "predictions_file_{}_ood_track.parquet.brotli"
    for tier, path in found["tables"].items():
        assert path == str(tmp_path / kit.format(tier))
    assert main(["submit", *flags]) == 2
    assert "--workdir" in capsys.readouterr().err


BIG = """
import sys
import numpy as np
from sensorium_jax.submission import parquet2023 as s

def peak():
    with open("/proc/self/status") as file:
        lines = [line for line in file if line.startswith("VmHWM")]
    return int(lines[0].split()[1]) / 1024

before, path, n, trials = peak(), sys.argv[1], 2000, int(sys.argv[2])
x = np.random.default_rng(0).integers(0, 9, (n, 250)).astype(np.float32)
ids = np.arange(n)
s.write(path, (s.FilmAnswer("m", i, np.roll(x, i), ids) for i in range(trials)))
assert sum(row.prediction_nt.shape[1] for row in s.rows(s.table(path))) == 250 * trials
print(peak() - before)
"""


def test_memory_stays_the_same_however_long_the_file(tmp_path):
    def grown(trials):
        path = str(tmp_path / f"{trials}.parquet")
        command = [sys.executable, "-c", BIG, path, str(trials)]
        return float(subprocess.check_output(command, text=True))

    short, long = grown(10), grown(40)  # 40 and 160 MB of predictions
    assert long < short + 60, (short, long)
