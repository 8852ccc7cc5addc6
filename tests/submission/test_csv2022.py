"""Tables of pictures: the official columns, and every fault of them named."""

import ast

import numpy as np
import pandas as pd
import pytest

from sensorium_jax.data import statistics
from sensorium_jax.errors import UserError
from sensorium_jax.run.submit import predict_and_write as submit
from sensorium_jax.submission.csv2022 import numbers
from sensorium_jax.submission.lint import validate
from support import twins
from support.recordings import labelled

LIVE, FINAL = "submission_file_live_test.csv", "submission_file_final_test.csv"


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return labelled.pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def written(recordings, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    guess = twins.Guess(recordings, lost=0)
    done = submit(guess, recordings.sessions, out, track="sensorium")
    assert [p.name for p in done.uploads] == [LIVE, FINAL]
    return out


@pytest.fixture(scope="module")
def sound(written):
    return pd.read_csv(written / LIVE)


def test_columns_and_values_are_the_official_ones(recordings, sound):
    session = recordings[0]
    rows = session.trials_of("test")
    columns = ["trial_indices", "image_ids", "prediction", "neuron_ids"]
    assert list(sound.columns) == columns
    assert sound.trial_indices.tolist() == session.columns["trial_idx"][rows].tolist()
    shown = session.columns["frame_image_id"][rows]
    assert sound.image_ids.tolist() == shown.tolist()
    for text in sound.neuron_ids:
        assert ast.literal_eval(text) == session.unit_ids_n.tolist()
    guess = twins.Guess(recordings, lost=0)
    for row, text in zip(rows, sound.prediction, strict=True):
        video = session.read("videos", int(row))[None]
        want = guess.respond(video, None, None, session.name)[0, 0]
        np.testing.assert_array_equal(ast.literal_eval(text), want.tolist())


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("[1.5, -2e-3]", [1.5, -0.002]),
        ("[1, 22]", [1, 22]),
        ("[nan, inf]", [np.nan, np.inf]),
        ("[]", []),
        ("['1', 'x']", None),
        ("[[1.0], [2.0]]", None),
    ],
)
def test_lists_in_text(text, want):
    found = numbers(text)
    if want is None:
        assert found is None
    else:
        np.testing.assert_array_equal(found, want)
        assert (found.dtype.kind == "i") == (text == "[1, 22]")


def lists(column, change, rows=None):
    """The table with the lists of a column changed."""

    def spoil(frame):
        out = frame.copy()
        out[column] = [
            str(change(ast.literal_eval(text))) if rows is None or i in rows else text
            for i, text in enumerate(frame[column])
        ]
        return out

    return spoil


def put(value):
    return lambda x: [*x[:3], value, *x[4:]]


def shuffled(x):
    return np.array(x)[np.random.default_rng(5).permutation(len(x))].tolist()


def both(first, second):
    return lambda frame: second(first(frame))


SPOILED = {
    "missing column 'image_ids'": lambda f: f.drop(columns="image_ids"),
    "missing trials: 1 of 20": lambda f: f.iloc[1:],
    "duplicate trials": lambda f: pd.concat([f, f.iloc[:1]]),
    "unknown trials: 1 of 20 trials (999)": lambda f: f.assign(
        trial_indices=[999, *f.trial_indices[1:]]
    ),
    "no trial of the recordings": lambda f: f.assign(trial_indices="a"),
    "prediction of 39 neurons": lists("prediction", lambda x: x[1:]),
    "1 of 40 neurons missing": both(
        lists("prediction", lambda x: x[1:]), lists("neuron_ids", lambda x: x[1:])
    ),
    "wrong id 999": lists("neuron_ids", lambda x: [999, *x[1:]]),
    "no neuron_ids": lists("neuron_ids", lambda x: []),
    "float neuron_ids": lists("neuron_ids", lambda x: [i + 0.5 for i in x]),
    "neurons reordered without": lists("prediction", shuffled),
    "NaN in 1 of 20": lists("prediction", put("x"), [2]),
    "infinity in 1 of 20": lists("prediction", put("y"), [2]),
    "negative values in all 20": lists("prediction", put(-0.5)),
    "all zeros in all 20": lists("prediction", lambda x: [0.0] * len(x)),
    "strings for numbers": lists("prediction", lambda x: list(map(str, x))),
    "lists in lists": lists("prediction", lambda x: [[i] for i in x]),
    "empty file": lambda f: f.iloc[:0],
}


@pytest.mark.parametrize("words", SPOILED)
def test_spoiled_tables_are_refused(words, sound, recordings, tmp_path):
    frame = SPOILED[words](sound)
    if "prediction" in frame and len(frame):
        frame["prediction"] = [
            t.replace("'x'", "nan").replace("'y'", "inf") for t in frame.prediction
        ]
    frame.to_csv(tmp_path / LIVE, index=False)
    report = validate(tmp_path / LIVE, recordings.sessions)
    errors = [f.finding for f in report.faults if f.level == "error"]
    assert any(words in finding for finding in errors), report.faults


def test_wrong_and_mixed_tiers(written, sound, recordings, tmp_path):
    final = pd.read_csv(written / FINAL)
    path = tmp_path / LIVE
    final.to_csv(path, index=False)
    found = [f.finding for f in validate(path, recordings.sessions).faults]
    assert found == ["wrong tier: trials of final_test in a file of test"]
    pd.concat([sound, final.iloc[:3]]).to_csv(path, index=False)
    found = [f.finding for f in validate(path, recordings.sessions).faults]
    assert found == ["mixed tiers: 3 trials of final_test among those of test"]


def test_other_bytes(recordings, tmp_path):
    path = tmp_path / LIVE
    for content, words in ((b"", "empty file"), (b"PAR1\x15\x04", "not a csv")):
        path.write_bytes(content)
        (fault,) = validate(path, recordings.sessions).faults
        assert words in fault.finding


def test_warnings(sound, recordings, tmp_path):
    path = tmp_path / LIVE
    ratio_n = statistics.precision(recordings[0])[0]

    def findings(change):
        change(sound).to_csv(path, index=False)
        report = validate(path, recordings.sessions)
        assert report.accepted, report.faults
        return [f.finding for f in report.faults]

    (one,) = findings(lists("prediction", lambda x: (np.array(x) / ratio_n).tolist()))
    assert one.startswith("unnormalized")
    (one,) = findings(lists("prediction", put(1.0)))
    assert one.startswith("1 constant neurons of 40")
    turned = both(
        lists("prediction", lambda x: x[::-1]), lists("neuron_ids", lambda x: x[::-1])
    )
    (one,) = findings(turned)
    assert one.startswith("neurons in another order than recorded")
    assert findings(lambda f: f) == []


def test_one_mouse_of_several_is_found_or_asked_for(tmp_path):
    several = labelled.pictures(tmp_path / "two", mice=2)
    guess = twins.Guess(several, lost=0)
    with pytest.raises(UserError, match="--mouse"):
        submit(guess, several.sessions, tmp_path, track="sensorium+")
    name = several.names[1]
    done = submit(
        guess, several.sessions, tmp_path, track="sensorium+", mouse="static1"
    )
    for path in done.uploads:
        assert validate(path, several.sessions).faults == []
        report = validate(path, several.sessions, mouse=several.names[0])
        assert not report.accepted
        assert validate(path, several.sessions, mouse=name).faults == []


def test_the_year_of_the_track_must_be_that_of_the_recordings(recordings, tmp_path):
    guess = twins.Guess(recordings, lost=0)
    with pytest.raises(UserError, match="of 2022, the track is of 2023"):
        submit(guess, recordings.sessions, tmp_path, track="main")
