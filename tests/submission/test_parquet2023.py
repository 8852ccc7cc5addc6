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
from sensorium_jax.scoring.answers import answers, trials
from sensorium_jax.submission import parquet2023
from sensorium_jax.submission.expected import file_name, tier_of
from sensorium_jax.submission.write import submit
from support import recorded

SERVER = {
    "main": ["predictions_live_main", "predictions_final_main"],
    "bonus": ["predictions_live_test_bonus_ood", "predictions_final_test_bonus_ood"],
}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return recorded.films(tmp_path_factory.mktemp("films"))


def test_main_track_is_one_flat_zip_of_the_servers_names(recordings, tmp_path):
    done = submit(recorded.Guess(recordings), recordings.sessions, tmp_path)
    assert [p.name for p in done.uploads] == ["predictions_main.zip"]
    names = [f"{n}.parquet.brotli" for n in SERVER["main"]]
    with zipfile.ZipFile(done.uploads[0]) as archive:
        assert archive.namelist() == names
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        [*names, "predictions_main.zip"]
    )
    assert done.trials == 2 * (6 + 4)


def test_bonus_track_is_a_zip_per_upload(recordings, tmp_path):
    guess = recorded.Guess(recordings)
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
        parquet2023.Answer(session.name, int(session.files[r]), p, session.unit_ids_n)
        for r, p in zip(
            rows, answers(recorded.Guess(recordings), session, rows), strict=True
        )
    ]
    ours = tmp_path / "ours.parquet.brotli"
    assert parquet2023.write(ours, iter(made), tier="oracle", single=single) == 4
    theirs = recorded.save(recorded.table(made), tmp_path / "theirs.parquet.brotli")
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
        list(answers(recorded.Guess(recordings, lost=n), session, rows))
        for n in (0, 50)
    )
    lengths = [session.reader.length(int(r)) - 50 for r in rows]
    assert [x.shape for x in early] == [(session.neurons, t) for t in lengths]
    assert sorted(set(lengths)) == [12, 20]
    for x, y in zip(early, late, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6)
    with pytest.raises(UserError, match="from frame 51 on"):
        list(answers(recorded.Guess(recordings, lost=51), session, rows))


def test_raw_answers_are_brought_to_normalized_units(recordings):
    session = recordings[0]
    rows = session.trials_of("oracle")[:2]
    raw = recorded.Guess(recordings, raw_units=True)
    precision_tn = statistics.precision(session)
    assert len(precision_tn) > 1
    plain = list(answers(raw, session, rows))
    for x, y in zip(plain, answers(raw, session, rows, units="raw"), strict=True):
        frames = slice(50, 50 + x.shape[1])
        np.testing.assert_allclose(x * precision_tn[frames].T, y, rtol=1e-5)


@pytest.mark.parametrize("units", ["raw", "per_neuron"])
def test_a_twin_that_names_its_units_is_believed(recordings, units):
    session = recordings[0]
    rows = session.trials_of("oracle")[:2]
    twin = recorded.Guess(recordings, raw_units=True)
    as_judged = list(answers(twin, session, rows, units="per_frame"))
    twin.units = units
    factor_tn = statistics.precision(session)
    if units == "per_neuron":
        factor_tn = factor_tn / statistics.precision(session, "per_neuron")
    assert np.ptp(factor_tn, 0).min() > 0.01  # the frames differ
    for x, y in zip(as_judged, answers(twin, session, rows), strict=True):
        frames = slice(50, 50 + x.shape[1])
        np.testing.assert_allclose(x * factor_tn[frames].T, y, rtol=1e-5)
    with pytest.raises(UserError, match="per_trial"):
        list(answers(twin, session, rows, units="per_trial"))


def test_inputs_are_normalized_for_twins_that_want_it(recordings):
    session = recordings[0]
    rows = session.trials_of("train")[:1]
    (raw,) = trials(session, rows)
    (scaled,) = trials(session, rows, raw=())
    video = statistics.video_stats([session])
    want = (raw.video_thwc - video.mean_mthwc[0]) / video.std_mthwc[0]
    np.testing.assert_allclose(scaled.video_thwc, want, rtol=1e-5)
    frames = len(raw.behavior_tk)
    behavior = (
        raw.behavior_tk / statistics.row_stats(session, "behavior").std_tk[:frames]
    )
    np.testing.assert_allclose(scaled.behavior_tk, behavior, rtol=1e-5)


def test_a_model_of_nan_writes_nothing(recordings, tmp_path):
    class Broken(recorded.Guess):
        def respond(self, *inputs):
            return super().respond(*inputs) * np.nan

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

    def load(source):
        asked.append(source)
        return recorded.Guess(recordings)

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
    assert main(["submit", *flags]) == 1
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
s.write(path, (s.Answer("m", i, np.roll(x, i), ids) for i in range(trials)))
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
