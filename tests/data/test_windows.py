"""Draws are pure, uniform, complete and independent of who else asks."""

import numpy as np
import pytest

from sensorium_jax.data.stream import windows


def test_draws_depend_on_seed_step_mouse_and_draw_only():
    first = windows.independent(3, 7, 1, 50, 8)
    again = windows.independent(3, 7, 1, 50, 8)
    np.testing.assert_array_equal(first.pool_b, again.pool_b)
    np.testing.assert_array_equal(first.where_b, again.where_b)
    for other in ((4, 7, 1), (3, 8, 1), (3, 7, 2)):
        assert (windows.independent(*other, 50, 8).where_b != first.where_b).all()
    assert (windows.independent(3, 7, 1, 50, 8, draw=1).where_b != first.where_b).all()


def test_negative_seeds_are_legal():
    assert windows.generator(-1, 0).random() != windows.generator(1, 0).random()


def test_trials_are_drawn_uniformly():
    drawn = [windows.independent(0, i, 0, 5, 40).pool_b for i in range(100)]
    counts = np.bincount(np.concatenate(drawn), minlength=5)
    assert abs(counts - 800).max() < 4 * np.sqrt(800)


def test_epochs_show_every_trial_once_before_any_repeats():
    pools, batch = [7, 3], 2
    steps = windows.steps_per_epoch(pools, batch)
    assert steps == 4
    for mouse, pool in enumerate(pools):
        orders = []
        for epoch in range(2):
            picks = [
                windows.permuted(0, epoch * steps + s, mouse, pool, batch, steps=steps)
                for s in range(steps)
            ]
            seen = np.concatenate([p.pool_b for p in picks])
            for turn in range(len(seen) // pool):
                part = seen[turn * pool : (turn + 1) * pool]
                assert sorted(part) == list(range(pool))
            orders.append(seen[:pool].tolist())
        if pool == 7:
            assert orders[0] != orders[1]


def test_mixed_mice_follow_their_weights():
    weights = np.array([1.0, 3.0])
    drawn = [windows.mixed_mice(0, i, weights, 50) for i in range(100)]
    share = np.mean(np.concatenate(drawn))
    assert abs(share - 0.75) < 0.03


@pytest.mark.parametrize(("frames", "stride"), [(16, 2), (10, 1), (1, 1)])
def test_random_starts_reach_both_ends_and_nothing_more(frames, stride):
    length = 33
    starts = [
        windows.place(0, 0, length, frames, stride, "random", where).start
        for where in np.linspace(0, 1, 500, endpoint=False)
    ]
    last = length - windows.span(frames, stride)
    assert sorted(set(starts)) == list(range(last + 1))
    assert np.ptp(np.bincount(starts)) <= 1 + 500 // length


def test_a_sixteen_frame_window_ends_where_dwiseneuro_indexes_it():
    window = windows.place(0, 0, 300, 16, 2, "random", 0.0)
    indexes = list(range(300))[windows.frames_of(window)]
    assert indexes == list(range(0, 31, 2))
    window = windows.place(0, 0, 300, 16, 2, "random", 1.0)
    assert list(range(300))[windows.frames_of(window)][-1] == 299


def test_short_trials_give_what_they_have():
    window = windows.place(0, 0, 5, 4, 2, "random", 0.9)
    assert (window.start, window.frames) == (0, 3)
    assert list(range(5))[windows.frames_of(window)] == [0, 2, 4]
    beyond = windows.place(0, 0, 5, 4, 1, 9, 0.5)
    assert beyond.frames == 0
    assert list(range(5))[windows.frames_of(beyond)] == []
