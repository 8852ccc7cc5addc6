"""Every fault of a table of films is named, and a sound table has none."""

import json
import zipfile
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sensorium_jax.cli import main
from sensorium_jax.data import statistics
from sensorium_jax.data.session import RESPONSES
from sensorium_jax.errors import UserError
from sensorium_jax.run.submit import predict_and_write as submit
from sensorium_jax.submission import parquet2023
from sensorium_jax.submission.lint import validate
from sensorium_jax.submission.read import submissions
from sensorium_jax.submission.units import unit_faults
from support import twins
from support.recordings import labelled

LIVE = "predictions_live_main.parquet.brotli"
FINAL = "predictions_final_main.parquet.brotli"


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return labelled.films(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def written(recordings, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    guess = twins.Guess(recordings)
    submit(guess, recordings.sessions, out)
    submit(guess, recordings.sessions, out, tiers=("oracle",))
    return out


@pytest.fixture(scope="module")
def sound(written):
    return pd.read_parquet(written / LIVE)


def edit(frame, change, rows=None):
    """The table with predictions changed, [n, t] each."""
    out = frame.copy()
    chosen = range(len(out)) if rows is None else rows
    out["prediction"] = [
        change(np.stack(p)).tolist() if i in chosen else np.stack(p).tolist()
        for i, p in enumerate(out.prediction)
    ]
    return out


def ids(frame, change):
    out = edit(frame, lambda x: x)
    out["neuron_ids"] = [change(np.array(i)) for i in out.neuron_ids]
    return out


def put(value):
    """Set one value of a prediction."""

    def change(x):
        x = x.copy()
        x[3, 5] = value
        return x

    return change


def still(x):
    x = x.copy()
    x[4] = 1.5
    return x


def other_neurons(frame):
    """As many ids, but the first neuron is left out and a strange one added."""
    return ids(frame, lambda i: np.append(i[1:], 999))


def shuffled(frame):
    order = {n: np.random.default_rng(5).permutation(n) for n in labelled.NEURONS}
    return edit(frame, lambda x: x[order[len(x)]])


def raw(frame, recordings):

    by_name = {s.name: statistics.precision(s) for s in recordings.sessions}
    out = frame.copy()
    out["prediction"] = [
        (np.stack(p) / by_name[m][50 : 50 + len(p[0])].T).tolist()
        for m, p in zip(frame.mouse, frame.prediction, strict=True)
    ]
    return out


def wide(x):
    return np.concatenate([np.ones((len(x), 50)), x], 1)


def extra_mouse(frame, name="dynamic9-9-9"):
    more = edit(frame.iloc[:1], lambda x: x)
    more["mouse"] = name
    return pd.concat([edit(frame, lambda x: x), more])


def final_for_live(written):
    frame = pd.read_parquet(written / FINAL)
    return edit(frame, lambda x: x)


def mixed(frame, written):
    more = final_for_live(written).iloc[:2]
    return pd.concat([edit(frame, lambda x: x), more])


SPOILED = {  # what the validator must say: how it comes about
    "missing column 'neuron_ids'": lambda f, w: f.drop(columns="neuron_ids"),
    "missing column 'mouse'": lambda f, w: f.drop(columns="mouse"),
    "extra mouse dynamic9-9-9": lambda f, w: extra_mouse(f),
    "missing mouse": lambda f, w: f[f.mouse == f.mouse[0]],
    "missing trials": lambda f, w: f.iloc[1:],
    "duplicate trials": lambda f, w: pd.concat([f, f.iloc[:1]]),
    "unknown trials: 1 of 6 trials (999)": lambda f, w: f.assign(
        trial_indices=[999, *f.trial_indices[1:]]
    ),
    "no trial of the recordings": lambda f, w: f.assign(trial_indices="first"),
    "prediction of": lambda f, w: edit(f, lambda x: x[1:]),
    "neurons missing": lambda f, w: ids(edit(f, lambda x: x[1:]), lambda i: i[1:]),
    "wrong id": lambda f, w: other_neurons(f),
    "no neuron_ids": lambda f, w: ids(f, lambda i: i[:0]),
    "neurons given twice": lambda f, w: ids(f, lambda i: np.append(i, i[:1])),
    "neurons reordered without": lambda f, w: shuffled(f),
    "float neuron_ids": lambda f, w: ids(f, lambda i: i.astype(float)),
    "float trial_indices": lambda f, w: f.assign(trial_indices=f.trial_indices + 0.0),
    "50 frames too many": lambda f, w: edit(f, wide),
    "2 frames too few": lambda f, w: edit(f, lambda x: x[:, :-2]),
    "1 frames too few in 1 of": lambda f, w: edit(f, lambda x: x[:, :-1], [2]),
    "NaN in": lambda f, w: edit(f, put(np.nan), [1]),
    "infinity in": lambda f, w: edit(f, put(np.inf), [1]),
    "negative values in": lambda f, w: edit(f, put(-0.1), [1]),
    "all zeros in": lambda f, w: edit(f, lambda x: 0 * x),
    "strings for numbers": lambda f, w: edit(f, lambda x: x.astype(str)),
    "strings for numbers (": lambda f, w: f.assign(prediction="[[1.0]]"),
    "transposed prediction": lambda f, w: edit(f, lambda x: x.T),
    "wrong tier: trials of final_test_main": lambda f, w: final_for_live(w),
    "mixed tiers: 2 trials of final_test_main": lambda f, w: mixed(f, w),
    "empty file": lambda f, w: f.iloc[:0],
}


@pytest.mark.parametrize("words", SPOILED)
def test_spoiled_tables_are_refused(words, sound, written, recordings, tmp_path):
    frame = SPOILED[words](sound, written)
    if isinstance(frame.get("prediction"), pd.Series) and len(frame):
        first = frame.prediction.iloc[0]
        if isinstance(first, np.ndarray):
            frame = edit(frame.reset_index(drop=True), lambda x: x)
    path = labelled.save(frame, tmp_path / LIVE)
    report = validate(path, recordings.sessions)
    errors = [f for f in report.faults if f.level == "error"]
    assert any(words in f.finding for f in errors), report.faults
    assert not report.accepted
    for fault in report.faults:
        assert fault.remedy and fault.file


WARNED = {
    "one frame too few for all": lambda f, r: edit(f, lambda x: x[:, :-1]),
    "2 constant neurons of": lambda f, r: edit(
        edit(f, still), lambda x: np.where(np.arange(len(x))[:, None] == 6, 2.0, x)
    ),
    "unnormalized": raw,
    "another order than recorded": lambda f, r: ids(
        edit(f, lambda x: x[::-1]), lambda i: i[::-1]
    ),
    "unknown column 'index'": lambda f, r: edit(f, lambda x: x).assign(index=1),
}


@pytest.mark.parametrize("words", WARNED)
def test_doubtful_tables_are_warned_of(words, sound, recordings, tmp_path):
    path = labelled.save(WARNED[words](sound, recordings), tmp_path / LIVE)
    report = validate(path, recordings.sessions)
    assert {f.level for f in report.faults} == {"warning"}, report.faults
    assert all(words in f.finding for f in report.faults), report.faults
    assert report.accepted


def test_sound_files_pass(written, recordings):
    for name in (
        LIVE,
        FINAL,
        "predictions_main.zip",
        "predictions_oracle.parquet.brotli",
    ):
        report = validate(written / name, recordings.sessions)
        assert report.faults == [], name


def test_trials_named_as_files_pass(sound, recordings, tmp_path):
    frame = edit(sound, lambda x: x)
    frame["trial_indices"] = [f"{i}.npy" for i in frame.trial_indices]
    path = labelled.save(frame, tmp_path / LIVE)
    assert validate(path, recordings.sessions).faults == []


def test_ids_that_moved_alone_are_refused(sound, recordings, tmp_path):
    """Ids in another order over predictions in the recorded one."""
    path = labelled.save(ids(sound, lambda i: i[::-1]), tmp_path / LIVE)
    report = validate(path, recordings.sessions)
    found = [f.finding for f in report.faults if f.level == "error"]
    assert len(found) == 2 and all("reordered without" in f for f in found)


def test_bytes_of_another_kind(written, recordings, tmp_path):
    def found(content):
        path = tmp_path / LIVE
        path.write_bytes(content)
        report = validate(path, recordings.sessions)
        assert not report.accepted
        return report.faults[0].finding

    whole = (written / LIVE).read_bytes()
    assert found(b"") == "empty file"
    assert "truncated parquet" in found(whole[: len(whole) // 2])
    assert "is a csv" in found(b"mouse,trial_indices,prediction,neuron_ids\n1,2,3,4\n")
    assert "no parquet" in found(b"\x89HDF\r\n\x1a\n\0\0")
    middle = len(whole) // 2
    spoiled = whole[: middle - 500] + bytes(1000) + whole[middle + 500 :]
    assert "damaged data" in found(spoiled)
    assert "damaged parquet" in found(whole[:-400] + bytes(392) + whole[-8:])


def test_zips(written, recordings, tmp_path):
    path = tmp_path / "mine.zip"

    def findings(*members):
        with zipfile.ZipFile(path, "w") as archive:
            for name, inside in members:
                archive.write(written / name, inside)
        report = validate(path, recordings.sessions)
        assert not report.accepted
        return " | ".join(f.finding for f in report.faults)

    both = [(LIVE, f"results/{LIVE}"), (FINAL, f"results/{FINAL}")]
    assert f"a folder inside the zip: results/{LIVE}" in findings(*both)
    assert f"{FINAL} is missing" in findings((LIVE, LIVE))
    assert "no submission inside" in findings()
    with open(path, "wb") as file:
        file.write((written / "predictions_main.zip").read_bytes()[:-100])
    report = validate(path, recordings.sessions)
    assert "no readable zip" in report.faults[0].finding


def test_any_damage_to_a_zip_is_a_finding(written, recordings, tmp_path):
    path = tmp_path / "mine.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(written / LIVE, LIVE)
    whole = path.read_bytes()
    entry = whole.index(b"PK\x01\x02")  # flags and compression stand 8 and 10 later
    for spot in (0, 31, len(whole) // 2, entry, entry + 8, entry + 10, len(whole) - 22):
        spoiled = bytearray(whole)
        spoiled[spot : spot + 3] = bytes(255 - x for x in whole[spot : spot + 3])
        path.write_bytes(spoiled)
        report = validate(path, recordings.sessions)
        assert not report.accepted and "readable zip" in report.faults[0].finding, spot
        with pytest.raises(UserError, match="is no readable zip"):
            list(submissions(path, recordings.sessions))


def test_only_the_ranked_mice_of_the_release_are_wanted(tmp_path):
    from dataclasses import replace

    made = labelled.films(tmp_path).sessions
    tail = "Video-9b4f6a1a067fe51e15306b9628efea20"
    sessions = (replace(made[0], name=f"dynamic0-1-1-{tail}"), made[1])
    done = submit(twins.Guess({s.name: s for s in sessions}), sessions, tmp_path)
    assert validate(done.uploads[0], sessions).faults == []
    keys = parquet2023.index(parquet2023.table(done.tables["live_test_main"]))
    assert {mouse for mouse, _ in keys} == {sessions[0].name}


def test_command_prints_a_line_per_fault(sound, recordings, tmp_path, capsys):
    path = labelled.save(edit(sound, put(np.nan), [0]), tmp_path / LIVE)
    flags = ["--validate", str(path), "--data", recordings.path]
    assert main(["submit", *flags]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["level", "file", "finding", "remedy"]
    assert len([line for line in lines if "NaN in 1 of 6 trials" in line]) == 1
    assert lines[-1].startswith("refused: 1 errors, 0 warnings in 12 trials")
    assert main(["submit", "--json", *flags]) == 1
    assert not json.loads(capsys.readouterr().out)["accepted"]


def test_numbers_of_any_width_pass(sound, recordings, tmp_path):
    frame = edit(sound, lambda x: x.astype(np.float32))
    types = pa.schema(
        [
            ("mouse", pa.dictionary(pa.int32(), pa.string())),
            ("trial_indices", pa.int32()),
            ("prediction", pa.large_list(pa.list_(pa.float32()))),
            ("neuron_ids", pa.list_(pa.int64())),
        ]
    )
    pq.write_table(pa.Table.from_pandas(frame, types), tmp_path / LIVE)
    assert validate(tmp_path / LIVE, recordings.sessions).faults == []


def test_noisy_factors_of_frames_are_no_fault_of_the_model():
    """Few sparse trials: the model knows each neuron's rate, and no frame's factor."""
    rng = np.random.default_rng(0)
    rate_n, scale_n = rng.uniform(0.005, 0.2, 300), rng.lognormal(10, 0.6, 300)
    responses_btn = rng.poisson(rate_n, (60, 250, 300)) * scale_n
    found = SimpleNamespace(mean=responses_btn.mean(0), std=responses_btn.std(0))
    session = SimpleNamespace(name="a", neurons=300, statistics={RESPONSES: found})
    predicted_n = rate_n * scale_n * statistics.precision(session).mean(0)
    mouse = SimpleNamespace(session=session)
    assert not list(unit_faults("file", mouse, predicted_n))
    (fault,) = unit_faults("file", mouse, rng.permutation(predicted_n))
    assert fault.level == "error" and "reordered" in fault.finding
