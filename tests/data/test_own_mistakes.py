"""Own recordings with blinks, negative responses, names as ids, or an older writing."""

import json

import numpy as np
import pytest

from sensorium_jax.data import config
from sensorium_jax.data.check.check import check
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.release.write import SessionWriter, write_session
from sensorium_jax.errors import UserError

TRIALS, FRAMES, NEURONS = 6, 8, 3
TIERS = ["train"] * 4 + ["oracle"] * 2


def arrays():
    rng = np.random.default_rng(0)
    shape = (TRIALS, FRAMES)
    return {
        "videos": list(rng.integers(0, 256, (*shape, 4, 5))),
        "responses": list(rng.gamma(1, 1, (*shape, NEURONS))),
        "behavior": list(rng.random((*shape, 2))),
        "pupil": list(rng.random((*shape, 2))),
        "tiers": TIERS,
    }


def pictures():
    rng = np.random.default_rng(1)
    return {
        "videos": rng.integers(0, 256, (TRIALS, 4, 5)),
        "responses": rng.gamma(1, 1, (TRIALS, NEURONS)),
        "behavior": rng.random((TRIALS, 2)),
        "pictures": True,
    }


def put(value, *spot):
    def change(given, what):
        given[what][2][spot] = value

    return change


def swap(value):
    return lambda given, what: given.update({what: value})


ROWS = np.zeros((NEURONS, 3))
ODD = {
    "names as ids": ("unit_ids", swap(["a", "b", "c"]), "unit_ids are text.*names"),
    "fractions as ids": ("unit_ids", swap([0.5, 1, 2]), "unit_ids are float64"),
    "one id twice": ("unit_ids", swap([4, 7, 4]), "has 4 more than once"),
    "few ids": ("unit_ids", swap([1, 2]), "2 rows, expected 3 as neurons"),
    "flat places": ("coordinates", swap(np.zeros(3)), r"coordinates have shape \(3,\)"),
    "wide places": ("coordinates", swap(np.zeros((3, 4))), r"shape \(3, 4\).*3, 3\]"),
    "few places": ("coordinates", swap(ROWS[:2]), "2 rows, expected 3"),
    "places as text": ("coordinates", swap(ROWS.astype(str)), "type <U"),
    "NaN as place": ("coordinates", swap(ROWS * np.nan), "infinity in 3 of 3 rows"),
    "short column": ("columns", swap({"day": [1]}), "day has 1 rows, expected 6"),
    "objects": ("unit_columns", swap({"x": [{}] * 3}), "x holds Python objects"),
    "layout": ("layout", swap("per_frme"), "Did you mean 'per_frame'"),
    "no training": ("tiers", swap(["oracle"] * TRIALS), "no trial of tier 'train'"),
    "negative": ("responses", put(-1.0, 3, 1), "0.0069 .* negative.*-1.*dF/F.*'clip'"),
    "choice": ("negative", swap("klip"), "Did you mean 'clip'"),
    "NaN response": ("responses", put(np.nan, 3, 1), "Trial 2: responses holds a NaN"),
    "infinite": ("behavior", put(np.inf, 3, 1), "behavior holds infinity"),
    "blink": ("pupil", put(np.nan, 3), "pupil_center holds a NaN.*fill_gaps=True"),
    "NaN pixel": (
        "videos",
        swap([np.full((8, 4, 5), np.nan)] * 6),
        "video holds a NaN",
    ),
    "other frames": ("behavior", swap([np.zeros((7, 2))] * 6), r"shape \(7, 2\)"),
    "time last": ("responses", swap([np.ones((3, 8))] * 6), "Transpose them"),
    "no trials": (
        "videos",
        swap([]),
        "videos is empty, but the recording has 6 trials",
    ),
    "few trials": ("pupil", swap([np.zeros((8, 2))]), "as many of each"),
    "a generator": ("responses", swap(iter([])), "has no length.*SessionWriter"),
    "one picture": ("videos", swap([np.zeros((4, 5))] * 6), "give pictures=True"),
}


@pytest.mark.parametrize("case", ODD)
def test_what_cannot_be_is_refused_and_nothing_is_left(tmp_path, case):
    what, change, words = ODD[case]
    given = arrays()
    change(given, what)
    with pytest.raises(UserError, match=words):
        write_session(tmp_path / "fish", **given)
    assert not (tmp_path / "fish").exists()


def test_no_trials_at_all_in_plain_words(tmp_path):
    with pytest.raises(UserError, match="There are no trials: videos and responses"):
        write_session(tmp_path / "fish", videos=[], responses=[])


def test_no_video_is_read_before_the_signals_are_known_to_be_sound(tmp_path):
    class Films(list):
        def __getitem__(self, i):
            assert i == 0
            return super().__getitem__(i)

    given = arrays()
    put(-1.0, 0, 0)(given, "responses")
    given["videos"] = Films(given["videos"])
    with pytest.raises(UserError, match="are negative"):
        write_session(tmp_path / "fish", **given)


def test_bytes_that_do_not_fit_are_refused(tmp_path):
    given = arrays()
    given["videos"][1][0, 0, 0] = 300
    with pytest.raises(UserError, match="Trial 1.*to 300, which uint8 cannot"):
        write_session(tmp_path / "fish", **given, video_dtype="uint8")


def test_blinks_are_interpolated_on_request_and_told(tmp_path, capsys):
    given = arrays()
    eye = given["pupil"][2]
    eye[:, 0] = np.arange(FRAMES) * 2.0
    eye[:, 1] = 5.0
    put(np.nan, slice(3, 6), 0)(given, "pupil")
    put(np.nan, slice(0, 2), 1)(given, "pupil")
    folder = write_session(tmp_path / "fish", **given, fill_gaps=True)
    stored = Recordings.open(tmp_path)[0].trial(2).pupil_t2
    np.testing.assert_allclose(stored[:, 0], np.arange(FRAMES) * 2.0)
    np.testing.assert_allclose(stored[:, 1], 5.0)
    share = 5 / (TRIALS * FRAMES * 2)
    assert f"{share:.2%} of pupil_center was NaN" in capsys.readouterr().err
    told = json.loads((folder / "config.json").read_text())[config.CHANGED]
    assert told == {"pupil_center": {"filled": share, "longest": 3}}
    assert not [f for f in check(tmp_path) if f.level == "error"]


def test_a_signal_without_any_value_cannot_be_filled(tmp_path):
    given = arrays()
    put(np.nan, slice(None), 1)(given, "behavior")
    with pytest.raises(UserError, match="Trial 2.*nothing but NaN in column 1"):
        write_session(tmp_path / "fish", **given, fill_gaps=True)
    assert not (tmp_path / "fish").exists()


def test_gaps_filled_before_a_kill_are_counted(tmp_path):
    given = arrays()
    put(np.nan, 3, 0)(given, "behavior")
    for trials in (range(3), range(3, TRIALS)):
        writer = SessionWriter(
            tmp_path / "fish", neurons=3, frame_shape=(4, 5, 1), fill_gaps=True
        )
        for i in trials:
            signals = (given[k][i] for k in ("responses", "behavior", "pupil"))
            writer.add(i, given["videos"][i][..., None], *signals)
    writer.finish(TIERS)
    told = json.loads((tmp_path / "fish/config.json").read_text())[config.CHANGED]
    assert told["behavior"] == {"filled": 1 / (TRIALS * FRAMES * 2), "longest": 1}


def test_negative_responses_are_clipped_or_kept_on_request(tmp_path, capsys):
    given = arrays()
    put(-2.0, 3, 1)(given, "responses")
    clipped = write_session(tmp_path / "a/fish", **given, negative="clip")
    assert "0.69% of the responses were negative and are 0" in capsys.readouterr().err
    assert np.load(clipped / "data/responses/2.npy")[1, 3] == 0
    assert not [f for f in check(tmp_path / "a") if "negative" in f.finding]
    kept = write_session(tmp_path / "b/fish", **given, negative="keep")
    assert np.load(kept / "data/responses/2.npy")[1, 3] == -2
    (fault,) = [f for f in check(tmp_path / "b") if "negative" in f.finding]
    assert fault.level == "warning" and "loss 'mse'" in fault.remedy


def test_hidden_and_rounded_responses_may_be_below_zero(tmp_path):
    given = arrays()
    given["responses"][0][0, 0] = -1e-8
    given["responses"][5][0, 0] = -3
    given["tiers"] = [*TIERS[:5], "secret"]
    folder = write_session(tmp_path / "fish", **given, hide=["secret"])
    assert not np.load(folder / "data/responses/5.npy").any()


def test_a_stack_of_pictures(tmp_path):
    given = pictures()
    write_session(tmp_path / "fish", **given)
    session = Recordings.open(tmp_path)[0]
    assert session.rules.kind == "pictures" and session.frame_shape == (4, 5, 1)
    trial = session.trial(3)
    np.testing.assert_array_equal(trial.video_thwc[0, ..., 0], given["videos"][3])
    np.testing.assert_allclose(trial.responses_tn[0], given["responses"][3], rtol=1e-6)
    np.testing.assert_allclose(trial.behavior_tk[0], given["behavior"][3], rtol=1e-6)


def test_pictures_of_one_neuron_and_in_color(tmp_path):
    given = pictures() | {"responses": np.ones(TRIALS)}
    given["videos"] = np.zeros((TRIALS, 4, 5, 3))
    write_session(tmp_path / "fish", **given)
    session = Recordings.open(tmp_path)[0]
    assert session.neurons == 1 and session.frame_shape == (4, 5, 3)


def unfinished(folder, trials=9):
    """A writing that was killed before its end."""
    writer = SessionWriter(folder, neurons=5, frame_shape=(4, 5, 1))
    for i in range(trials):
        frames = np.zeros((FRAMES, 4, 5, 1))
        writer.add(i, frames, np.ones((FRAMES, 5)), np.ones((FRAMES, 2)))
    return writer


def test_a_rewrite_leaves_no_stale_trials(tmp_path):
    unfinished(tmp_path / "fish")
    given = arrays()
    del given["behavior"]
    write_session(tmp_path / "fish", **given)
    session = Recordings.open(tmp_path)[0]
    assert session.trials == TRIALS and session.neurons == NEURONS
    assert not session.behaviors and not (tmp_path / "fish/data/behavior").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    file = tmp_path / "fish/data/responses/0.npy"
    file.parent.mkdir(parents=True)
    np.save(file, np.zeros(3))
    with pytest.raises(UserError, match="holds the files of something else"):
        write_session(tmp_path / "fish", **arrays())
    assert file.exists()
    (tmp_path / "note").write_text("mine")
    with pytest.raises(UserError, match="note is a file"):
        write_session(tmp_path / "note", **arrays())


def test_the_writer_refuses_what_an_earlier_writing_left(tmp_path):
    writer = unfinished(tmp_path / "fish")
    with pytest.raises(UserError, match="6.npy is there, but only 6 tiers"):
        writer.finish(TIERS)
    frames = np.zeros((FRAMES, 4, 5, 1))
    writer.add(9, frames, np.ones((FRAMES, 5)))
    with pytest.raises(UserError, match="behavior is there for 9 .* not for trial 9"):
        writer.finish(["train"] * 10)
    other = SessionWriter(tmp_path / "fish", neurons=4, frame_shape=(4, 5, 1))
    (tmp_path / "fish/data/behavior").rename(tmp_path / "away")
    with pytest.raises(UserError, match=r"shape \(5, 8\), expected \(4,\)"):
        other.finish(["train"] * 10)
    assert not (tmp_path / "fish/meta").exists()
