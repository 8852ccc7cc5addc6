"""Batches hold the right frames in the right units at the right places."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from sensorium_jax.axes import Batch, MixedBatch, check
from sensorium_jax.data.session import BEHAVIOR, PUPIL, RESPONSES, VIDEO
from sensorium_jax.data.stream.stream import Stream, prefetch, whole_trials
from sensorium_jax.errors import UserError
from support.recordings import in_memory


def make(source=None, **changes):
    options = {"batch": 3, "frames": 8} | changes
    return Stream(source or in_memory.recordings(), **options)


def same(a, b):
    for name, x, y in zip(a._fields, a, b, strict=True):
        np.testing.assert_array_equal(x, y, err_msg=name)


@pytest.mark.parametrize("futures", [False, True])
def test_batch_holds_normalized_windows(futures):
    source = in_memory.recordings(futures=futures)
    batch = make(source, stride=2).batch_at(0, 5)
    sizes = check(**dict(zip(Batch._fields, batch, strict=True)))
    assert (sizes["m"], sizes["b"], sizes["t"], sizes["n"]) == (2, 3, 8, 5)
    assert batch.video_mbthwc.dtype == np.uint8
    for m, session in enumerate(source.sessions):
        n, std = session.neurons, session.statistics[RESPONSES].std
        assert batch.neurons_mn[m].sum() == n
        assert not batch.responses_mbtn[m, ..., n:].any()
        for b in range(3):
            frames = batch.frame_mbt[m, b]
            (row,) = [
                r
                for r, trial in enumerate(session.reader.trials)
                if frames[-1] < len(trial.video_thwc)
                and np.array_equal(trial.video_thwc[frames], batch.video_mbthwc[m, b])
            ]
            assert session.tiers[row] == "train"
            trial = session.reader.trials[row]
            np.testing.assert_allclose(
                batch.responses_mbtn[m, b, :, :n],
                trial.responses_tn[frames] / std[frames],
                rtol=1e-6,
            )
            np.testing.assert_allclose(
                batch.behavior_mbtk[m, b], trial.behavior_tk[frames] / [1, 2], rtol=1e-6
            )
            np.testing.assert_allclose(
                batch.pupil_mbt2[m, b],
                (trial.pupil_t2[frames] - [150, 151]) / [4, 5],
                rtol=1e-5,
                atol=1e-6,
            )
    assert batch.valid_mbt.all()


def test_batches_do_not_depend_on_order_instance_or_prefetch():
    stream, other = make(), make()
    asked = {i: stream.batch_at(1, i) for i in (4, 0, 2)}
    for i, batch in asked.items():
        same(batch, other.batch_at(1, i))
    for depth, threads in ((1, 1), (3, 2)):
        ahead = prefetch(lambda i: other.batch_at(1, i), 0, 5, depth, threads)
        for i, batch in enumerate(ahead):
            same(batch, stream.batch_at(1, i))
    assert (stream.batch_at(1, 0).frame_mbt != stream.batch_at(2, 0).frame_mbt).any()


@pytest.mark.parametrize("epochs", [False, True])
def test_a_process_reads_its_box_only(epochs):
    source = in_memory.recordings()
    stream = make(source, epochs=epochs, padded_mice=2)
    whole = stream.batch_at(0, 3)
    for session in source.sessions:
        session.reader.asked.clear()
    part = stream.batch_at(0, 3, slice(1, 2), slice(1, None))
    assert not source.sessions[0].reader.asked
    assert len(source.sessions[1].reader.asked) == 2 * 4
    assert whole.observed_mbn is None is part.observed_mbn
    for name, x, y in zip(Batch._fields[:-1], whole, part, strict=False):
        cut = x[1:2] if name == "neurons_mn" else x[1:2, 1:]
        np.testing.assert_array_equal(cut, y, err_msg=name)


def test_padded_mice_are_empty():
    stream = make(padded_mice=3)
    batch = stream.batch_at(0, 0)
    assert len(batch.video_mbthwc) == 3
    assert not batch.neurons_mn[2].any() and not batch.valid_mbt[2].any()
    assert stream.info.mice == 2
    assert stream.video_stats.std_mthwc.shape[0] == 3
    assert (stream.video_stats.std_mthwc > 0).all()
    some = make().batch_at(0, 0)
    for name, x, y in zip(Batch._fields[:-1], batch, some, strict=False):
        np.testing.assert_array_equal(x[:2], y, err_msg=name)


def test_mixed_batch():
    source = in_memory.recordings()
    stream = make(source, mixed=True, batch=40, response_scaling="none")
    batch = stream.batch_at(0, 0)
    check(**dict(zip(MixedBatch._fields, batch, strict=True)))
    assert set(batch.mouse_b) == {0, 1}
    assert batch.neurons_bn.sum(1).tolist() == [(5, 3)[m] for m in batch.mouse_b]
    raw = [t.responses_tn for t in source.sessions[1].reader.trials[:3]]
    b = int(np.flatnonzero(batch.mouse_b == 1)[0])
    cut = batch.responses_btn[b, :, :3]
    frames = batch.frame_bt[b]
    assert any(frames[-1] < len(r) and np.array_equal(r[frames], cut) for r in raw)
    part = stream.batch_at(0, 0, rows=slice(10, 20))
    same(part, MixedBatch(*(x[10:20] for x in batch[:-1])))
    partner = stream.batch_at(0, 0, draw=1)
    np.testing.assert_array_equal(partner.mouse_b, batch.mouse_b)
    assert (partner.video_bthwc != batch.video_bthwc).any()


@pytest.mark.parametrize("scaling", ["per_frame", "none"])
@pytest.mark.parametrize("inputs", [None, "normalized", "minmax", "raw"])
def test_inputs_are_given_as_asked(scaling, inputs):
    source = in_memory.recordings()
    for session in source.sessions:
        for what, low, high in ((BEHAVIOR, [1, 0], [3, 8]), (PUPIL, [140] * 2, 160)):
            stats = session.statistics[what]
            extremes = {"min": np.float32(low), "max": np.float32(high)}
            session.statistics[what] = replace(stats, **extremes)
        extremes = {"min": np.float32(10), "max": np.float32(210)}
        session.statistics[VIDEO] = replace(session.statistics[VIDEO], **extremes)
    stream = make(source, frames=20, start=3, response_scaling=scaling, inputs=inputs)
    batch = stream.batch_at(0, 0)
    raw = make(source, frames=20, start=3, response_scaling="none").batch_at(0, 0)
    inputs = inputs or ("raw" if scaling == "none" else "normalized")
    behavior, pupil, video = {
        "raw": ((0, 1), (0, 1), (0, 1)),
        "normalized": ((0, [1, 2]), ([150, 151], [4, 5]), (80, 50)),
        "minmax": (([1, 0], [2, 8]), (140, 20), (10, 200)),
    }[inputs]
    for got, given, (mean, std) in (
        (batch.behavior_mbtk, raw.behavior_mbtk, behavior),
        (batch.pupil_mbt2, raw.pupil_mbt2, pupil),
    ):
        wanted = (given - np.float32(mean)) / np.float32(std)
        np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)
    assert (stream.video_stats.mean_mthwc == video[0]).all()
    assert (stream.video_stats.std_mthwc == video[1]).all()
    same_responses = np.array_equal(batch.responses_mbtn, raw.responses_mbtn)
    assert same_responses == (scaling == "none")
    whole = next(whole_trials(source, "train", inputs=inputs))
    trial = source.sessions[0].reader.trials[0]
    wanted = (trial.pupil_t2 - np.float32(pupil[0])) / np.float32(pupil[1])
    np.testing.assert_allclose(whole.pupil_t2, wanted, rtol=1e-6, atol=1e-6)


def test_proportional_sampling_follows_the_trials():
    stream = make(mixed=True, batch=300, frames=1, sampling="proportional")
    share = np.mean(stream.batch_at(0, 0).mouse_b == 0)
    assert 0.55 < share < 0.78  # six trials of nine


def test_fixed_start_short_trials_and_their_mask():
    source = in_memory.recordings(lengths=(10, 6))
    batch = make(source, start=0, frames=8, batch=20).batch_at(0, 0)
    kept = batch.valid_mbt.sum(-1)
    assert set(kept.ravel().tolist()) == {6, 8}
    short = batch.valid_mbt[0].sum(-1) == 6
    assert not batch.video_mbthwc[0][short][:, 6:].any()
    assert not batch.responses_mbtn[0][short][:, 6:].any()
    dropped = make(source, frames=8, batch=20, drop_short=True).batch_at(0, 0)
    assert dropped.valid_mbt.all()
    with pytest.raises(UserError, match="longest has 10"):
        make(source, frames=11, drop_short=True)


def test_hidden_responses_are_never_valid():
    tiers = ("train", "train", "live_test_main")
    hidden = in_memory.Recordings((in_memory.session(tiers=tiers),))
    shown = in_memory.Recordings((in_memory.session(tiers=tiers, hidden=False),))
    for source, real in ((hidden, False), (shown, True)):
        batch = make(source, tier="live_test_main").batch_at(0, 0)
        assert batch.valid_mbt.all() == real and batch.valid_mbt.any() == real
        assert batch.video_mbthwc.any()
        (trial,) = whole_trials(source, "live_test_main")
        assert trial.labelled == real and trial.responses_tn.any() == real


def test_subsets_of_mice_neurons_and_trials():
    source = in_memory.recordings()
    chosen = [np.array([4, 1]), np.array([2])]
    stream = make(source, neurons=chosen, trials={"a": [6], "b": [1]}, batch=2)
    batch, full = stream.batch_at(0, 0), make(source, trials=[[6], [1]], batch=2)
    whole = full.batch_at(0, 0)
    for m, rows in enumerate(chosen):
        np.testing.assert_array_equal(
            batch.responses_mbtn[m, ..., : len(rows)],
            whole.responses_mbtn[m][..., rows],
        )
    assert stream.info.neurons == (2, 1)
    assert stream.info.mean_rates_mn.tolist() == [[4, 1], [2, 0]]
    assert make(source, neurons=2).info.neurons == (2, 2)
    assert len(make(source, trials=2).rows[0]) == 2
    assert make(source, mice=["b"]).batch_at(0, 0).responses_mbtn.shape[::3] == (1, 3)


def test_pictures_are_films_of_one_frame():
    source = in_memory.recordings(lengths=(1,), rules="2022", per_frame=False)
    batch = make(source, frames=1).batch_at(0, 0)
    assert batch.valid_mbt.all() and batch.video_mbthwc.shape[2] == 1


def test_mice_without_behavior_or_pupil():
    both = in_memory.session("a"), in_memory.session("b", behaviors=0, has_pupil=False)
    batch = make(in_memory.Recordings(both)).batch_at(0, 0)
    assert batch.behavior_mbtk[0].any() and not batch.behavior_mbtk[1].any()
    assert not batch.pupil_mbt2[1].any()
    alone = make(in_memory.Recordings(both[1:])).batch_at(0, 0)
    assert alone.behavior_mbtk.shape[-1] == 0


def test_clipped_responses():
    source = in_memory.recordings()
    source.sessions[0].reader.trials[0].responses_tn[:] = -1.0
    options = {"trials": [[0], [0]]}
    assert make(source, **options).batch_at(0, 0).responses_mbtn.min() < 0
    clipped = make(source, clip_responses=True, **options).batch_at(0, 0)
    assert clipped.responses_mbtn.min() == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sampling": "proportional"}, "needs mixed=True"),
        ({"sampling": "proportionl"}, "Did you mean"),
        ({"start": "rnadom"}, "expected 'random'"),
        ({"tier": "orcale"}, "Did you mean 'oracle'"),
        ({"frames": 0}, "at least 1 of each"),
        ({"trials": [[99], [0]]}, "between 0 and 7"),
        ({"neurons": 4}, "expected 1 to 3"),
        ({"trials": {"a": [0]}}, "but not b"),
        ({"inputs": "normalised"}, "Did you mean 'normalized'"),
        ({"inputs": "minmax"}, "no min and max of behavior"),
    ],
)
def test_bad_choices_are_named(options, words):
    with pytest.raises(UserError, match=words):
        make(**options)


def test_frames_of_different_size_are_refused():
    both = in_memory.session("a"), in_memory.session("b", frame_shape=(4, 7, 1))
    with pytest.raises(UserError, match="different sizes"):
        make(in_memory.Recordings(both))


def test_stored_types_that_differ_become_float():
    both = in_memory.session("a"), in_memory.session("b", video_dtype=np.float32)
    batch = make(in_memory.Recordings(both)).batch_at(0, 0)
    assert batch.video_mbthwc.dtype == np.float32 and batch.video_mbthwc[0].max() > 1


def test_whole_trials_come_in_order():
    source = in_memory.recordings()
    found = list(whole_trials(source, "oracle"))
    assert [(t.mouse, t.trial, t.file) for t in found] == [
        (0, 6, 12),
        (0, 7, 14),
        (1, 3, 6),
    ]
    std = source.sessions[1].statistics[RESPONSES].std
    raw = source.sessions[1].reader.trials[3]
    np.testing.assert_allclose(
        found[2].responses_tn, raw.responses_tn / std[:28], rtol=1e-6
    )
    np.testing.assert_array_equal(found[2].video_thwc, raw.video_thwc)


def test_prefetch_hands_errors_over_and_stays_bounded():
    begun = []

    def batch_at(i):
        begun.append(i)
        if i == 3:
            raise UserError("trial 3 is broken")
        return i

    ahead = prefetch(batch_at, 0, 10)
    assert next(ahead) == 0
    with pytest.raises(UserError, match="trial 3"):
        list(ahead)
    assert max(begun) <= 5
    before = threading.active_count()
    ahead = prefetch(lambda i: i, 0, 100)
    next(ahead)
    ahead.close()
    assert threading.active_count() <= before


def test_once_takes_every_trial_a_single_time():
    source = in_memory.recordings()
    stream = make(source, once=True, start=0, batch=2)
    seen = [[], []]
    for i in range(stream.steps_per_epoch):
        batch = stream.batch_at(0, i)
        for m, b in zip(*np.nonzero(batch.valid_mbt.any(2)), strict=True):
            seen[m].append(float(batch.video_mbthwc[m, b].sum()))
    for m, session in enumerate(source.sessions):
        rows = session.trials_of("train")
        want = [session.read("videos", r, slice(0, 8)).sum(dtype=float) for r in rows]
        assert seen[m] == want
