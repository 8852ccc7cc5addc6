"""Responses that are missing by neuron and trial, from the writer to the batch."""

import json

import numpy as np
import pytest

import sensorium_jax as sj
from sensorium_jax.data.check.check import check
from sensorium_jax.data.release import notes
from sensorium_jax.data.store.build import convert
from sensorium_jax.data.stream import pools
from sensorium_jax.errors import UserError
from sensorium_jax.rules import FILMS, own

TRIALS, FRAMES, N = 12, 9, 4
TIERS = ["train"] * 9 + ["val"] * 3


def given(seed=0):
    """Neuron 1 misses every second trial, neuron 3 all of them."""
    rng = np.random.default_rng(seed)
    responses = rng.gamma(1, 2, (TRIALS, FRAMES, N)).astype(np.float32)
    responses[::2, :, 1] = np.nan
    responses[:, :, 3] = np.nan
    videos = rng.integers(0, 256, (TRIALS, FRAMES, 4, 6)).astype(np.uint8)
    return {"videos": videos, "responses": responses, "tiers": TIERS}


def missing_rn():
    return np.isnan(given()["responses"]).all(1)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tree")
    sj.write_session(folder / "a", video_dtype=np.uint8, **given())
    rng = np.random.default_rng(9)
    whole = given() | {"responses": rng.gamma(1, 2, (TRIALS, FRAMES, 2))}
    sj.write_session(folder / "b", video_dtype=np.uint8, **whole)
    return folder


@pytest.mark.parametrize("pictures", [False, True])
def test_a_neuron_missing_in_a_part_of_a_trial_is_refused(tmp_path, pictures):
    parts = given()
    if pictures:  # one frame: a neuron is there or not
        parts = {"videos": parts["videos"][:, 0], "tiers": TIERS}
        parts["responses"] = given()["responses"][:, 0]
        session = sj.open(sj.write_session(tmp_path / "a", pictures=True, **parts))[0]
        np.testing.assert_array_equal(session.missing_rn, missing_rn())
        return
    parts["responses"][4, 3, 2] = np.nan
    words = "Trial 4: responses holds a NaN of neuron 2 in 1 of 9 frames. Expected a"
    with pytest.raises(UserError, match=words):
        sj.write_session(tmp_path / "a", **parts)
    assert not (tmp_path / "a").exists()
    writer = sj.SessionWriter(tmp_path / "b", neurons=N, frame_shape=(4, 6, 1))
    with pytest.raises(UserError, match=words):
        writer.add(4, parts["videos"][4][..., None], parts["responses"][4])


def test_missing_responses_are_zeros_in_tree_and_store(tree, tmp_path, capsys):
    convert(tree, tmp_path / "store")
    for path in (tree, tmp_path / "store"):
        first, second = sj.open(path).sessions
        np.testing.assert_array_equal(first.missing_rn, missing_rn())
        assert second.missing_rn is None
        for row in range(TRIALS):
            want = np.nan_to_num(given()["responses"][row])
            np.testing.assert_array_equal(first.read("responses", row), want)


@pytest.mark.parametrize("layout", ["per_neuron", "per_frame"])
def test_statistics_leave_out_what_is_missing(tmp_path, layout, capsys):
    parts = given()
    sj.write_session(tmp_path / "a", layout=layout, **parts)
    stats = sj.open(tmp_path)[0].statistics["responses"]
    axes = (0, 1) if layout == "per_neuron" else 0
    train = parts["responses"][:9, ..., :3].astype(np.float64)
    for name, formula in (
        ("mean", np.nanmean),
        ("std", np.nanstd),
        ("min", np.nanmin),
        ("max", np.nanmax),
        ("median", np.nanmedian),
    ):
        stored = np.asarray(getattr(stats, name))
        np.testing.assert_allclose(stored[..., :3], formula(train, axes), rtol=1e-5)
        assert not stored[..., 3].any()
    said = capsys.readouterr().err
    assert "37.50% of the responses" in said and "1 neurons miss every train" in said
    assert not sj.open(tmp_path).mouse_info().mean_rates_mn[0, 3]


def test_frames_that_a_neuron_never_reaches_have_its_usual_statistics(tmp_path):
    rng = np.random.default_rng(1)
    responses = [rng.gamma(1, 2, (n, 2)) for n in (6, 6, 9, 9)]
    for long in responses[2:]:
        long[:, 1] = np.nan
    videos = [np.full((len(r), 4, 6), 9.0 + i) for i, r in enumerate(responses)]
    tiers, parts = ["train"] * 4, {"videos": videos, "responses": responses}
    sj.write_session(tmp_path / "a", layout="per_frame", tiers=tiers, **parts)
    std_tn = sj.open(tmp_path)[0].statistics["responses"].std
    both = np.concatenate(responses[:2])[:, 1]
    np.testing.assert_allclose(std_tn[6:, 1], both.std(), rtol=1e-5)
    assert not [f for f in check(tmp_path) if f.level == "error"]


def test_a_killed_writer_forgets_nothing(tmp_path):
    parts = given()
    videos, responses = parts["videos"][..., None], parts["responses"]

    def writer():
        return sj.SessionWriter(tmp_path / "a", neurons=N, frame_shape=(4, 6, 1))

    for i in range(6):
        writer().add(i, videos[i], np.zeros((FRAMES, N)))
        writer().add(i, videos[i], responses[i])
    with open(tmp_path / "a/.partial" / notes.FILE, "a") as file:
        file.write(json.dumps([6, {notes.MISSING: "ff"}])[:-1])  # cut by a kill
    for i in range(6, TRIALS):
        writer().add(i, videos[i], responses[i])
    writer().add(2, videos[2], np.ones((FRAMES, N)))  # another time, and whole
    writer().finish(TIERS)
    want = missing_rn()
    want[2] = False
    np.testing.assert_array_equal(sj.open(tmp_path)[0].missing_rn, want)


def test_hidden_trials_miss_nothing(tmp_path):
    tiers = TIERS[:-1] + ["secret"]
    sj.write_session(tmp_path / "a", **given() | {"tiers": tiers}, hide=["secret"])
    session = sj.open(tmp_path)[0]
    assert not session.missing_rn[-1].any() and session.missing_rn[:-1].any()
    assert session.hides("secret")


def test_a_column_may_not_pretend(tmp_path):
    columns = {"missing": missing_rn()}
    with pytest.raises(UserError, match="columns hold 'missing'.*give NaN"):
        sj.write_session(tmp_path / "a", columns=columns, **given())


def test_batches_say_what_was_observed(tree):
    recordings, pool = sj.open(tree), [np.array([0, 1]), np.array([0, 1])]
    options = {"frames": 4, "batch": 4, "trials": pool}
    known = ~missing_rn()[:2]
    once = sj.Stream(recordings, once=True, padded_mice=3, **options).batch_at(0, 0)
    assert once.observed_mbn.shape == (3, 4, N)
    np.testing.assert_array_equal(once.observed_mbn[0, :2], known)
    assert once.observed_mbn[1, :2, :2].all() and not once.observed_mbn[1, :2, 2:].any()
    assert not once.observed_mbn[2].any() and not once.observed_mbn[:, 2:].any()
    few = sj.Stream(recordings, neurons=[[3, 1], [0]], once=True, **options)
    np.testing.assert_array_equal(
        few.batch_at(0, 0).observed_mbn[0, :2], known[:, [3, 1]]
    )
    mixed = sj.Stream(recordings, mixed=True, **options).batch_at(0, 0)
    for mouse, y_tn, seen_n in zip(
        mixed.mouse_b, mixed.responses_btn, mixed.observed_bn, strict=True
    ):
        assert (y_tn.any(0) == seen_n).all() and seen_n[0]
        assert mouse == 0 or seen_n.sum() == 2
    alone = sj.Stream(recordings, mice=["b"], frames=4, batch=4).batch_at(0, 0)
    assert alone.observed_mbn is None


def spoiled(tree, tmp_path, change):
    path = tmp_path / "meta/trials/missing.npy"
    sj.write_session(tmp_path, video_dtype=np.uint8, **given())
    values = change(np.load(path))
    np.save(path, values)
    return check(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x, None),
        (lambda x: x.astype(int), "int64 of shape (12, 4), expected bool (12, 4)"),
        (lambda x: x[:, :2], "bool of shape (12, 2)"),
        (lambda x: x | (np.arange(N) == 0), "1 neurons respond that missing.npy"),
    ],
)
def test_check_looks_at_what_is_missing(tree, tmp_path, change, words, capsys):
    faults = spoiled(tree, tmp_path, change)
    errors = [f.finding for f in faults if f.level == "error"]
    if words is None:
        told = [f.finding for f in faults if f.file.endswith("missing.npy")]
        assert not errors
        assert told == [
            "37.50% of the responses are missing; 1 neurons miss every training trial"
        ]
    else:
        assert any(words in e for e in errors), errors


def test_a_trial_of_true_zeros_is_not_a_hidden_one(tmp_path):
    """Only a tier in which nobody ever responds, and that may be, is hidden."""
    parts = given()
    parts["responses"] = np.nan_to_num(parts["responses"])
    parts["responses"][[1, 9, 10, 11]] = 0
    rules = own(FILMS, hidden=("test", "live"))
    for name, zero in (("hides", True), ("shows", False)):
        tiers = ["train"] * 9 + ["test"] * 3
        parts["responses"][10] = 0 if zero else 1
        sj.write_session(tmp_path / name, rules=rules, **parts | {"tiers": tiers})
    convert(tmp_path, tmp_path / "store")
    for path in (tmp_path / "store", tmp_path / "hides", tmp_path / "shows"):
        for session in sj.open(path).sessions:
            seen = [pools.labelled(session, row) for row in range(TRIALS)]
            assert seen == [True] * 9 + [session.name == "shows"] * 3
    stream = sj.Stream(sj.open(tmp_path / "shows"), tier="test", batch=3, frames=4)
    assert stream.batch_at(0, 0).valid_mbt.all()
